"""The Python API: everything that the command line does, for scripts, notebooks and training loops.

    import mlver

    repository = mlver.Repository.open()
    version = repository.add("model/", name="resnet50_attn", type="resnet50", metrics={"val_acc": 0.913}).version
    repository.alias("best")
    weight = repository.tensor("best", "layer4.2.conv3.weight")

Paths are `str` or `Path`; revisions are text, as on the command line. Errors are `mlver.MlverError` and its subclasses.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

from mlver.ops import version_files
from mlver.ops.init import init_repository
from mlver.ops.opening import REPOSITORY_FOLDER, find_repository, open_repository
from mlver.ops.remotes.clone import clone
from mlver.repository.automation import Automation
from mlver.repository.comparisons import Comparisons
from mlver.repository.copies import Copies
from mlver.repository.labels import Labels
from mlver.repository.opened import AnyPath
from mlver.repository.sharing import Sharing
from mlver.repository.signatures import Signatures
from mlver.repository.tracing import Tracing
from mlver.repository.upkeep import Upkeep
from mlver.repository.versions import Versions


class _Open:
    """`Repository.open(folder)` opens a repository, `repository.open(revision, path)` a file of a version."""

    @overload
    def __get__(self, instance: None, owner: type[Repository]) -> Callable[..., Repository]: ...

    @overload
    def __get__(self, instance: Repository, owner: type[Repository]) -> Callable[[str, str], io.BufferedReader]: ...

    def __get__(self, instance: Repository | None, owner: type[Repository]) -> Callable[..., Any]:
        if instance is None:
            return partial(_open_repository, owner)
        return partial(_open_file, instance)


class Repository(Versions, Labels, Copies, Comparisons, Upkeep, Signatures, Sharing, Tracing, Automation):
    """A repository, opened. Use one from one thread at a time; any number of processes may have it open.

    Args:
        opened: What `open` and `init` make; do not make one yourself.
    """

    open = _Open()
    """On the class, `open(folder=".")`: open the repository a folder is in. On a repository, `open(revision, path)`:
    open one file of a version for reading in binary."""

    @classmethod
    def init(cls, folder: AnyPath = ".", *, trust_hooks: bool = False) -> Self:
        """Make a folder a repository, or open the one it is.

        Args:
            folder: The folder.
            trust_hooks: Run the hooks of a repository that was copied or unpacked here.

        Raises:
            MlverError: It cannot be made.
            NotARepositoryError: There is one of a layout that is not known.
        """
        return cls(open_repository(Path(init_repository(Path(folder), trust_hooks=trust_hooks).path)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the repository's cache."""
        self._opened.close()

    @property
    def path(self) -> Path:
        """The `.mlver` folder."""
        return self._opened.root

    @classmethod
    def clone(cls, url: str, folder: AnyPath | None = None, **options: str) -> Self:
        """Make a repository that knows what a remote has.

        Raises:
            UsageError: The URL is not allowed.
            ConflictError: There is a repository already.
            RemoteError: The remote cannot be reached, or is none; nothing is left here.
        """
        settings = {key.replace("_", "-"): value for key, value in options.items()}
        made = clone(url, None if folder is None else Path(folder), settings)
        return cls(open_repository(Path(made.path) / REPOSITORY_FOLDER))


def _open_repository(kind: type[Repository], folder: AnyPath = ".") -> Repository:
    """Open the repository that a folder is in.

    Raises:
        NotARepositoryError: It is in none, or in one of a layout that is not known.
    """
    return kind(open_repository(find_repository(Path(folder))))


def _open_file(repository: Repository, revision: str, path: str) -> io.BufferedReader:
    """Open one file of a version for reading; only the chunks read are fetched.

    Raises:
        NotFoundError: There is no such version or file.
        IntegrityError: It is damaged.
    """
    return repository._run(lambda: version_files.open_file(repository._opened, revision, path))
