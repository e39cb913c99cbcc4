"""mlver: versions of machine learning models, without a server. See `mlver.Repository` and `mlver.run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlver.errors import (
        ConflictError,
        IntegrityError,
        MlverError,
        NotARepositoryError,
        NotFoundError,
        RemoteError,
        UsageError,
    )
    from mlver.repository import Repository
    from mlver.repository.run import Run, run

__version__ = "0.1.0"

__all__ = [
    "ConflictError",
    "IntegrityError",
    "MlverError",
    "NotARepositoryError",
    "NotFoundError",
    "RemoteError",
    "Repository",
    "Run",
    "SignatureError",
    "UsageError",
    "__version__",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for: `import mlver` alone costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'mlver' has no attribute {name!r}")
    from importlib import import_module

    modules = {"Repository": "mlver.repository", "Run": "mlver.repository.run", "run": "mlver.repository.run"}
    return getattr(import_module(modules.get(name, "mlver.errors")), name)
