"""Where good copies may come from: remotes, opened as they are asked, and folders that still hold the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mlver.digests import manifest_id
from mlver.errors import IntegrityError, MlverError, NotFoundError
from mlver.history.manifest import Manifest, encode_manifest
from mlver.ids import ManifestId
from mlver.ops.diff.folder import DiskChunks, read_folder
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress
from mlver.ops.remotes.opening import OpenRemote, open_remote

T = TypeVar("T")


@dataclass(slots=True)
class Sources:
    """What may help. Used from one thread.

    Attributes:
        repository: The repository that is mended.
        folders: Folders and files on disk.
        progress: Told of the bytes read.
        remotes: Those that answered so far.
        told: What could not be asked, and why.
    """

    repository: OpenRepository
    folders: Sequence[Path]
    progress: Progress
    remotes: list[OpenRemote] = field(default_factory=list)
    told: dict[str, None] = field(default_factory=dict)
    _read: dict[Path, tuple[Manifest, DiskChunks] | None] = field(default_factory=dict)

    def ask_each(self, question: Callable[[OpenRemote], T | None]) -> Iterator[tuple[OpenRemote, T]]:
        """Ask the remotes one after another; yield the answers of those that have one. One that fails is left out."""
        for remote in list(self.remotes):
            try:
                answer = question(remote)
            except (NotFoundError, IntegrityError):
                continue  # it does not have it, or has it damaged too
            except MlverError as error:
                self.told[f"{remote.name} could not be asked: {error.message}"] = None
                self.remotes.remove(remote)
                continue
            if answer is not None:
                yield remote, answer

    def read(self, folder: Path) -> tuple[Manifest, DiskChunks] | None:
        """Return what a version made from a folder would hold, None if it cannot be read; each is read once."""
        if folder not in self._read:
            try:
                self._read[folder] = read_folder(self.repository, folder, self.progress)
            except MlverError as error:
                self.told[error.message] = None
                self._read[folder] = None
        return self._read[folder]

    def made_of_folders(self) -> dict[ManifestId, Manifest]:
        """Return the manifests that adding the folders would make."""
        found = [made[0] for folder in self.folders if (made := self.read(folder)) is not None]
        return {manifest_id(encode_manifest(manifest)): manifest for manifest in found}


@contextmanager
def open_sources(repository: OpenRepository, folders: Sequence[Path], progress: Progress) -> Iterator[Sources]:
    """Open what may help; a remote that does not answer is told of, and left out."""
    sources = Sources(repository, folders, progress)
    with ExitStack() as stack:
        for name in sorted(repository.config.remotes, key=lambda name: (name != "origin", name)):
            try:
                sources.remotes.append(stack.enter_context(open_remote(repository, name)))
            except MlverError as error:
                sources.told[f"{name} could not be asked: {error.message}"] = None
        yield sources
