"""mlver: versions of machine learning models, without a server. See `mlver.Repository`."""

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

__version__ = "0.1.0"

__all__ = [
    "ConflictError",
    "IntegrityError",
    "MlverError",
    "NotARepositoryError",
    "NotFoundError",
    "RemoteError",
    "Repository",
    "UsageError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for: `import mlver` alone costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'mlver' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("mlver.repository" if name == "Repository" else "mlver.errors"), name)
