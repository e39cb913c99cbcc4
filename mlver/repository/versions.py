"""Adding versions, listing them, and what is in them: a part of the Python API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat

from mlver.history.manifest import Manifest, read_manifest
from mlver.history.records import ArtifactRecord, VersionRecord
from mlver.ops import version_files
from mlver.ops.add import AddRequest, AddResult, add
from mlver.ops.progress import Progress
from mlver.ops.references.found import DEFAULT_MAX_FILES
from mlver.ops.status import StatusResult, status
from mlver.repository import surroundings
from mlver.repository.opened import AnyPath, Opened
from mlver.repository.plain import plain_metrics

if TYPE_CHECKING:
    import numpy as np


class Versions(Opened):
    """Adding versions, listing them, and what is in them."""

    def add(
        self,
        *paths: AnyPath,
        name: str | None = None,
        type: str | None = None,  # noqa: A002 - the word of the command line and of every record
        message: str | None = None,
        aliases: Sequence[str] = (),
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        metrics: Mapping[str, SupportsFloat] | None = None,
        exclude: Sequence[str] = (),
        rehash: bool = False,
        base: str | None = None,
        compression: str | None = None,
        references: Sequence[str] = (),
        digest: bool = False,
        max_files: int = DEFAULT_MAX_FILES,
        reference_options: Mapping[str, str] | None = None,
        keep_if_best: str | None = None,
        uses: Sequence[str] = (),
        provenance: bool = True,
        progress: Progress | None = None,
    ) -> AddResult:
        """Make the content of files and folders, and references to objects, a version, unless there is one with it.

        See `mlver.ops.add.AddRequest` for the arguments. With `provenance`, the commit of the code and the command line
        of this process are recorded, where the version is not part of a run, which has recorded them.

        Raises:
            NotFoundError: A path or a referenced object does not exist.
            UsageError: A name, type, metric, metadata value, level or URI is not allowed.
            ConflictError: A file keeps changing while it is read.
            RemoteError: A server of references failed or refused.
            MlverError: A file cannot be read or kept, or the store cannot be written.
        """
        request = AddRequest(
            paths=[Path(path) for path in paths],
            name=name,
            type=type,
            message=message,
            aliases=aliases,
            tags=tags,
            metadata=metadata or {},
            metrics=plain_metrics(metrics or {}),
            exclude=exclude,
            rehash=rehash,
            base=base,
            compression=compression,
            references=references,
            digest=digest,
            max_files=max_files,
            reference_options=reference_options or {},
            keep_if_best=keep_if_best,
            uses=uses,
            caller=surroundings.caller() if provenance else None,
        )
        return self._run(lambda: add(self._opened, request, progress))

    def artifacts(self) -> list[ArtifactRecord]:
        """Return all artifacts, by name."""

        def list_all() -> list[ArtifactRecord]:
            self._opened.index.refresh()
            return self._opened.index.artifacts()

        return self._run(list_all)

    def log(self, name: str | None = None, limit: int | None = None, *, removed: bool = False) -> list[VersionRecord]:
        """Return an artifact's versions, newest first; None is the current artifact.

        Raises:
            NotFoundError: There is no such artifact.
        """
        return self._run(lambda: self._opened.index.versions(self._opened.artifact(name), limit, removed=removed))

    def resolve(self, revision: str) -> VersionRecord:
        """Return the version that a revision names.

        Raises:
            NotFoundError: There is none.
            UsageError: It is no revision.
        """
        return self._run(lambda: self._opened.resolve(revision).version)

    def manifest(self, revision: str) -> Manifest:
        """Return the files and tensors of a version.

        Raises:
            NotFoundError: There is no such version.
            IntegrityError: Its manifest is missing or damaged.
        """
        return self._run(lambda: read_manifest(self._opened.storage, self._opened.resolve(revision).version.id))

    def tensor(self, revision: str, name: str) -> np.ndarray[Any, Any]:
        """Return one tensor, reading only its chunks; see `mlver.ops.version_files.read_tensor`.

        Raises:
            NotFoundError: There is no such version or tensor.
            IntegrityError: A chunk is missing or damaged.
        """
        return self._run(lambda: version_files.read_tensor(self._opened, revision, name))

    def status(self, folder: AnyPath = ".") -> StatusResult:
        """Compare a folder with the version it came from.

        Raises:
            NotFoundError: It does not exist, or nothing is known of where it came from.
        """
        return self._run(lambda: status(self._opened, Path(folder)))
