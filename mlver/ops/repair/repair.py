"""`verify --repair`: **logs → manifests → packs → chunks → look again**. What is sound stays readable all the while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlver.errors import IntegrityError, MlverError
from mlver.history.manifest import Manifest, read_manifest
from mlver.history.manifest_blob import MANIFESTS_FOLDER
from mlver.ids import ChunkId, ManifestId, PackId
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress, Silent
from mlver.ops.repair.blobs import mend_blobs
from mlver.ops.repair.chunks import recover, wanted_of
from mlver.ops.repair.logs import mend_logs
from mlver.ops.repair.manifests import mend_manifests
from mlver.ops.repair.packs import Salvage, salvage_packs
from mlver.ops.repair.sources import Sources, open_sources
from mlver.ops.verify import References, VerifyResult, verify
from mlver.store.aside import put_all_back
from mlver.store.pack import PACKS_FOLDER


@dataclass(frozen=True, slots=True)
class RepairResult:
    """What was mended, and what is left.

    Attributes:
        events: Events that were written anew, by the names of their files.
        manifests: Manifests that were written anew.
        blobs: What runs left and was written anew, by the names of the files.
        rebuilt: Packs whose index was written anew.
        quarantined: Where damaged packs are now.
        salvaged_frames: Sound frames that were copied from those.
        recovered: How many chunks came anew from which remote or folder.
        unasked: What could not be asked for good copies, and why.
        left: How the repository is now: its damage is beyond help, from here.
    """

    events: tuple[str, ...]
    manifests: tuple[ManifestId, ...]
    blobs: tuple[str, ...]
    rebuilt: tuple[PackId, ...]
    quarantined: tuple[str, ...]
    salvaged_frames: int
    recovered: Mapping[str, int]
    unasked: tuple[str, ...]
    left: VerifyResult

    @property
    def is_needless(self) -> bool:
        """Whether there was nothing to mend."""
        mended = (self.events, self.manifests, self.blobs, self.rebuilt, self.quarantined, self.recovered)
        return not any(mended)


def repair(
    repository: OpenRepository,
    folders: Sequence[Path] = (),
    progress: Progress | None = None,
    *,
    references: References = "skip",
) -> RepairResult:
    """Mend what is damaged from its remotes, and from folders that hold the files; damaged files are kept.

    Args:
        repository: The repository.
        folders: Folders and files on disk that versions were made of.
        progress: Told of the bytes read.
        references: What `verify` does with references at the end.

    Raises:
        MlverError: Something here cannot be listed, read or written; nothing was lost, and the next one goes on.
    """
    progress = progress or Silent()
    storage = repository.storage
    storage.sweep()
    for folder in (MANIFESTS_FOLDER, PACKS_FOLDER):
        put_all_back(storage, folder)
    with open_sources(repository, folders, progress) as sources:
        events = mend_logs(sources)
        with suppress(IntegrityError):  # what is beyond help `verify` tells in the end
            repository.index.refresh()
        manifests = mend_manifests(sources)
        salvage = salvage_packs(repository, progress)
        repository.refresh_packs()
        left = verify(repository, progress=progress, references="skip")
        recovered = _recover(sources, salvage, left)
        blobs = mend_blobs(sources, [damage.name for damage in left.damaged if damage.kind == "blob"])
    if recovered or blobs or references != "skip":
        left = verify(repository, progress=progress, references=references)
    return RepairResult(
        tuple(events),
        tuple(manifests),
        tuple(blobs),
        tuple(salvage.rebuilt),
        tuple(salvage.quarantined),
        salvage.frames,
        recovered,
        tuple(sources.told),
        left,
    )


def _recover(sources: Sources, salvage: Salvage, found: VerifyResult) -> dict[str, int]:
    """Get chunks anew that cannot be read, and those of damaged frames that versions use."""
    repository = sources.repository
    unreadable = {ChunkId(bytes.fromhex(damage.name)) for damage in found.damaged if damage.kind == "chunk"}
    unreadable |= salvage.lost - repository.chunk_index.find_many(salvage.lost).keys()
    wanted = wanted_of(_manifests(repository), unreadable) if unreadable else {}
    return recover(sources, wanted) if wanted else {}


def _manifests(repository: OpenRepository) -> Iterator[tuple[ManifestId, Manifest]]:
    """Yield all manifests of versions that are here and sound."""
    for identity in map(ManifestId, repository.index.all_manifests()):
        with suppress(MlverError):
            yield identity, read_manifest(repository.storage, identity)
