"""A version that a run uses, to be read as files, as one file or as one tensor."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlver.history.records import VersionRecord
from mlver.repository import Repository
from mlver.repository.opened import AnyPath

if TYPE_CHECKING:
    import numpy as np


class UsedVersion:
    """A version, whatever its aliases do meanwhile.

    Args:
        root: The `.mlver` folder.
        version: The version.
    """

    def __init__(self, root: Path, version: VersionRecord) -> None:
        self._root = root
        self.version = version

    def __repr__(self) -> str:
        return f"<version {self.name}>"

    @property
    def name(self) -> str:
        """Such as `inat:v3`."""
        return self.version.name

    def pull(self, folder: AnyPath | None = None, paths: Sequence[str] = (), *, force: bool = False) -> Path:
        """Write its files into a folder, by default one of the artifact's name, and return the folder.

        Raises:
            MlverError: As `Repository.pull`.
        """
        place = Path(self.version.artifact if folder is None else folder)
        with Repository.open(self._root.parent) as repository:
            repository.pull(self.name, place, paths, force=force)
        return place

    def open(self, path: str) -> io.BufferedReader:
        """Open one of its files for reading in binary; only the chunks read are fetched.

        Raises:
            NotFoundError: It has no such file.
            IntegrityError: It is damaged.
        """
        return Repository.open(self._root.parent).open(self.name, path)

    def tensor(self, name: str) -> np.ndarray[Any, Any]:
        """Return one of its tensors, reading only its chunks.

        Raises:
            NotFoundError: It has no such tensor.
            IntegrityError: A chunk is missing or damaged.
        """
        with Repository.open(self._root.parent) as repository:
            return repository.tensor(self.name, name)
