"""`verify`: read everything again, hash it again, and say what each damage hurts."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from mlver.chunks import ChunkReader
from mlver.errors import IntegrityError, MlverError
from mlver.history.event import CreateArtifact
from mlver.history.index import NAMES_FOLDER, RUNS_FOLDER
from mlver.history.log import EventLog
from mlver.history.manifest import FileEntry, Manifest, manifest_name, read_manifest
from mlver.history.records import RUNS, VersionRecord
from mlver.history.run_blob import blob_name, blobs_named_by, read_blob
from mlver.ids import ChunkId, ManifestId
from mlver.ops.cache_check import check_cache, check_known
from mlver.ops.collect.clock import COLLECTED_NAME
from mlver.ops.opening import OpenRepository
from mlver.ops.parallel import run_ordered
from mlver.ops.progress import Progress, Silent
from mlver.ops.references.checking import ReferenceCheck, ReferenceUses
from mlver.ops.remotes.elsewhere import ask_anew, published
from mlver.store.pack import PACKS_FOLDER, pack_id_of, pack_name, read_pack_index
from mlver.store.storage import Storage

_BATCH_CHUNKS = 16
References = Literal["ask", "read", "skip"]


@dataclass(frozen=True, slots=True)
class Hurt:
    """A file that a damage makes unreadable.

    Attributes:
        version: As `NAME:vN`.
        path: The file; None when the whole version is hurt.
        tensors: Names of the tensors hurt.
    """

    version: str
    path: str | None
    tensors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Damage:
    """One damaged or missing thing.

    Attributes:
        kind: `chunk`, `manifest`, `pack`, `log` or `blob` (what a run left).
        name: Its id or name.
        reason: What is wrong with it.
        hurts: What cannot be restored on account of it.
    """

    kind: str
    name: str
    reason: str
    hurts: tuple[Hurt, ...]


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What was found.

    Attributes:
        checked_versions: Versions whose manifests were read.
        checked_chunks: Distinct chunks that were read and hashed.
        checked_bytes: Their raw size.
        damaged: All damage, in this order: logs, blobs, packs, manifests, chunks.
        references: How each reference stands, by URI.
    """

    checked_versions: int
    checked_chunks: int
    checked_bytes: int
    damaged: tuple[Damage, ...]
    references: tuple[ReferenceCheck, ...] = ()

    @property
    def is_damaged(self) -> bool:
        """Whether something is damaged, or a reference is gone or is not what it was."""
        return bool(self.damaged) or any(check.status in ("changed", "gone") for check in self.references)

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged, and all references are there as they were."""
        return not self.is_damaged and all(check.status == "same" for check in self.references)


def verify(
    repository: OpenRepository,
    revision: str | None = None,
    progress: Progress | None = None,
    *,
    references: References = "ask",
) -> VerifyResult:
    """Read one version, or (None) everything that any version uses, from the store.

    Versions that were removed count, since they can be restored. Damage is reported, not raised.

    Args:
        repository: The repository.
        revision: Which version.
        progress: Told of the bytes read.
        references: Whether servers are asked if references are what they were, all of them are read, or neither.

    Raises:
        NotFoundError: There is no such version.
    """
    damaged: list[Damage] = [] if revision is not None else _check_logs(repository)
    if not damaged:
        repository.index.refresh()
        if revision is None:
            check_cache(repository)
    repository.refresh_packs()
    if revision is None:
        damaged += _check_blobs(repository) + _check_packs(repository)
    versions = _versions(repository, revision)
    wanted: dict[ChunkId, int] = {}
    elsewhere = _Elsewhere(repository)
    uses = ReferenceUses()
    for sharing, manifest in _manifests(repository.storage, versions):
        if elsewhere.has(sharing[0].id, manifest):
            continue
        if isinstance(manifest, IntegrityError):
            hurts = tuple(Hurt(version.name, None, ()) for version in sharing)
            damaged.append(Damage("manifest", sharing[0].id, manifest.message, hurts))
            continue
        uses.add(manifest.references, [version.name for version in sharing])
        sizes = {chunk.id: chunk.size_bytes for file in manifest.files for chunk in file.chunks}
        if all(version.removed for version in sharing) and _is_collected(repository, sizes):
            continue
        wanted.update(elsewhere.leave_out(sharing[0].id, sizes))
    elsewhere.tell()
    reasons = _check_chunks(repository, wanted, progress or Silent())
    hurts_by_chunk = hurts_of(repository.storage, versions, reasons.keys()) if reasons else {}
    damaged += [Damage("chunk", chunk.hex(), reason, tuple(hurts_by_chunk[chunk])) for chunk, reason in reasons.items()]
    checks = () if references == "skip" else uses.check(repository, progress or Silent(), read=references == "read")
    checked = len(versions) - elsewhere.absent_versions
    return VerifyResult(checked, len(wanted), sum(wanted.values()), tuple(damaged), checks)


def _is_collected(repository: OpenRepository, chunks: Collection[ChunkId]) -> bool:
    """Tell whether a removed version is one that `gc` has deleted already, but for its manifest."""
    return repository.storage.exists(COLLECTED_NAME) and len(repository.chunk_index.find_many(chunks)) < len(chunks)


class _Elsewhere:
    """What is not here because it is at a remote: it was fetched, or pulled in part."""

    def __init__(self, repository: OpenRepository) -> None:
        self._repository = repository
        self._published = published(repository)
        self._was_asked = not repository.config.remotes
        self.absent_versions = 0
        self._partial_versions = 0

    def has(self, identity: ManifestId, manifest: Manifest | IntegrityError) -> bool:
        """Tell whether a manifest is absent here, and at a remote."""
        if isinstance(manifest, Manifest):
            return False
        if identity not in self._published and not self._was_asked:
            self._was_asked = True
            self._repository.notices += ask_anew(self._repository)
            self._published = published(self._repository)
        if identity not in self._published:
            return False
        is_absent = not self._repository.storage.exists(manifest_name(identity))
        self.absent_versions += is_absent
        return is_absent

    def leave_out(self, identity: ManifestId, sizes: Mapping[ChunkId, int]) -> Mapping[ChunkId, int]:
        """Return the chunks of a version but for those that are absent here, and at a remote."""
        if identity not in self._published:
            return sizes
        here = self._repository.chunk_index.find_many(sizes)
        self._partial_versions += len(here) < len(sizes)
        return {chunk: size_bytes for chunk, size_bytes in sizes.items() if chunk in here}

    def tell(self) -> None:
        """Say how much was not looked at."""
        for number, what in ((self.absent_versions, "not"), (self._partial_versions, "not wholly")):
            if number:
                self._repository.notices.append(
                    f"{number} of the versions are {what} here but at a remote, and were not checked as far."
                )


def _check_logs(repository: OpenRepository) -> list[Damage]:
    """Read every event from its own file, whatever the index and the segments say."""
    damaged = []
    folders = [NAMES_FOLDER, RUNS_FOLDER]
    for folder in folders:
        try:
            for event in EventLog(repository.storage, folder).single_events():
                folders += [f"log/{action.artifact}" for action in event.actions if isinstance(action, CreateArtifact)]
        except IntegrityError as error:
            hurts = () if folder in (NAMES_FOLDER, RUNS_FOLDER) else (Hurt(folder.removeprefix("log/"), None, ()),)
            damaged.append(Damage("log", folder, error.message, hurts))
    return damaged


def _check_blobs(repository: OpenRepository) -> list[Damage]:
    """Read what runs left, as far as a log names it."""
    index = repository.index
    damaged = []
    for identity in blobs_named_by(event for log in (RUNS, *index.artifacts()) for event in index.events_from(log, 0)):
        try:
            read_blob(repository.storage, identity)
        except IntegrityError as error:
            damaged.append(Damage("blob", blob_name(identity), error.message, ()))
    return damaged


def _check_packs(repository: OpenRepository) -> list[Damage]:
    """Read every pack's own index, without which a lost cache could not be rebuilt."""
    damaged = []
    for name in repository.storage.list(PACKS_FOLDER):
        pack = pack_id_of(name)
        if pack is None:
            continue
        try:
            entries = read_pack_index(repository.storage, pack_name(pack))
        except IntegrityError as error:
            damaged.append(Damage("pack", pack, error.message, ()))
            continue
        check_known(repository, pack, entries)
    return damaged


def _versions(repository: OpenRepository, revision: str | None) -> list[VersionRecord]:
    if revision is not None:
        return [repository.resolve(revision).version]
    index = repository.index
    every = [version for artifact in index.artifacts() for version in index.versions(artifact, removed=True)]
    # A removed version without a manifest is no damage: `gc` has deleted its content.
    return [v for v in every if not v.removed or repository.storage.exists(manifest_name(v.id))]


def _manifests(
    storage: Storage, versions: Iterable[VersionRecord]
) -> Iterator[tuple[list[VersionRecord], Manifest | IntegrityError]]:
    """Yield each distinct manifest, or what is wrong with it, with the versions that share it. One at a time."""
    sharing: dict[ManifestId, list[VersionRecord]] = {}
    for version in versions:
        sharing.setdefault(version.id, []).append(version)
    for identity, group in sharing.items():
        try:
            manifest: Manifest | IntegrityError = read_manifest(storage, identity)
        except IntegrityError as error:
            manifest = error
        yield group, manifest


def _check_chunks(repository: OpenRepository, wanted: Mapping[ChunkId, int], progress: Progress) -> dict[ChunkId, str]:
    """Read and hash chunks in the order they lie on disk; return what is wrong with those that are damaged."""
    reader = ChunkReader(repository.storage, repository.chunk_index)
    places = {
        chunk: (where.pack, where.entry.offset) for chunk, where in repository.chunk_index.find_many(wanted).items()
    }
    ordered = sorted(wanted, key=lambda chunk: places.get(chunk, ("", 0)))

    def check(batch: Sequence[ChunkId]) -> list[tuple[ChunkId, str]]:
        found = []
        for chunk in batch:
            try:
                reader.read(chunk, wanted[chunk])
            except MlverError as error:
                found.append((chunk, error.message))
        return found

    batches = [ordered[start : start + _BATCH_CHUNKS] for start in range(0, len(ordered), _BATCH_CHUNKS)]
    reasons: dict[ChunkId, str] = {}
    progress.start(sum(wanted.values()), "Verifying")
    try:
        for batch, found in zip(batches, run_ordered(partial(check, batch) for batch in batches), strict=True):
            reasons.update(found)
            progress.advance(sum(wanted[chunk] for chunk in batch))
    finally:
        progress.done()
    return reasons


def hurts_of(
    storage: Storage, versions: Iterable[VersionRecord], chunks: Collection[ChunkId]
) -> dict[ChunkId, list[Hurt]]:
    """Return which files and tensors of which versions use each of some damaged chunks.

    Args:
        storage: Where the versions' manifests are; those that cannot be read are left out.
        versions: Which versions.
        chunks: Which chunks.
    """
    found: dict[ChunkId, list[Hurt]] = {chunk: [] for chunk in chunks}
    for sharing, manifest in _manifests(storage, versions):
        if isinstance(manifest, IntegrityError):
            continue
        for number, file in enumerate(manifest.files):
            for chunk, start, end in _stretches(file, found):
                tensors = tuple(
                    tensor.name
                    for tensor in manifest.tensors
                    if tensor.file == number and tensor.offset < end and tensor.offset + tensor.size_bytes > start
                )
                found[chunk] += [Hurt(version.name, file.path, tensors) for version in sharing]
    return found


def _stretches(file: FileEntry, chunks: Container[ChunkId]) -> Iterator[tuple[ChunkId, int, int]]:
    """Yield where in a file those of `chunks` are that it uses: id, start, end in bytes."""
    offset = 0
    for chunk in file.chunks:
        if chunk.id in chunks:
            yield chunk.id, offset, offset + chunk.size_bytes
        offset += chunk.size_bytes
