"""`gc --repack`: packs → chunks → bases chosen anew → encode → packs. What is stored, stored smaller.

Every chunk of the packs that were there is written again, whether a version uses it or not, so nobody who relies on
one loses it: not a writer that found it, not a reader that looks for it where it was. What is written rests only on
what was written in the same run, in the order of the versions. So an old pack may go as soon as all its chunks are in
new packs, a kill at any instant leaves everything readable, and even two of these at once cannot leave chunks that rest
on each other in a circle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from mlver import codec
from mlver.chunks import MAX_CHAIN, Base, BaseBytes, ChunkReader, Level, Piece, encode_against, joined
from mlver.errors import ConflictError, IntegrityError
from mlver.formats import NO_ROWS, Rows, rows_at
from mlver.history.manifest import Manifest, TensorEntry, manifest_name, read_manifest
from mlver.history.records import VersionRecord
from mlver.ids import ChunkId, ManifestId, PackId
from mlver.ops.bases import base_number, base_number_for
from mlver.ops.opening import OpenRepository
from mlver.ops.parallel import run_ordered
from mlver.ops.progress import Progress, Silent
from mlver.ops.twins import StoredTensors, Twin
from mlver.store.aside import put_all_back, put_back
from mlver.store.chunk_index import Location
from mlver.store.pack import PACKS_FOLDER, Frame, PackEntry, PackWriter, build_frame, pack_name, split_bases
from mlver.store.storage import StagedBlob

_BATCH_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class RepackResult:
    """What `repack` did. Sizes are bytes.

    Attributes:
        chunks: How many chunks were written anew.
        packs_before: How many packs there were.
        packs_after: How many there are of those and the new ones.
        bytes_before: Size of all packs before.
        bytes_after: Size of all packs after.
        damaged: What is wrong with chunks that could not be read; their packs were left alone.
    """

    chunks: int
    packs_before: int
    packs_after: int
    bytes_before: int
    bytes_after: int
    damaged: tuple[str, ...]


class _Job(NamedTuple):
    """A chunk to be written anew: what its elements are, and what it may resemble."""

    chunk: ChunkId
    location: Location
    dtype: str | None
    rows: Rows
    candidates: tuple[Base, ...]


class _Placed(NamedTuple):
    """A chunk that was written anew: how deep it lies, and the lower end of its chain."""

    depth: int
    root: ChunkId | None


def repack(repository: OpenRepository, level: Level, progress: Progress | None = None) -> RepackResult:
    """Write all packs anew, each chunk against what it resembles most.

    Needs room for the new packs while old ones are still there; those go as they become superfluous.

    Args:
        repository: The repository.
        level: How much time smaller packs are worth.
        progress: Told of the bytes written anew.

    Raises:
        ConflictError: What was written was collected at once; nothing was lost.
        MlverError: The disk is full, or failed; nothing was lost.
    """
    repository.storage.sweep()
    put_all_back(repository.storage, PACKS_FOLDER)
    repository.index.refresh()
    repository.refresh_packs()
    return _Repacking(repository, level, progress or Silent()).run()


class _Repacking:
    def __init__(self, repository: OpenRepository, level: Level, progress: Progress) -> None:
        self._repository = repository
        self._level = level
        self._progress = progress
        self._reader = ChunkReader(repository.storage, repository.chunk_index)
        self._packs = repository.chunk_index.packs()
        self._left: dict[PackId, int] = {}
        """How many chunks of each old pack are not in new packs yet."""
        self._locations: dict[ChunkId, Location] = {}
        self._copies: dict[ChunkId, list[PackId]] = {}
        """Other packs that hold a chunk too."""
        for pack in self._packs:
            self._look_into(pack)
        self._placed: dict[ChunkId, _Placed] = {}
        self._failed: set[ChunkId] = set()
        self._writer: PackWriter | None = None
        self._written: list[ChunkId] = []
        self._new_packs: set[PackId] = set()
        self._new_bytes = 0
        self._damaged: list[str] = []

    def run(self) -> RepackResult:
        """Write every chunk anew, those of versions first."""
        self._progress.start(sum(where.entry.raw_size for where in self._locations.values()), "Repacking")
        try:
            for manifest, before in self._manifests():
                self._write(list(self._jobs(manifest, before)))
            for rank in self._others():
                self._write([self._unknown(chunk) for chunk in rank])
            self._seal()
        finally:
            self._progress.done()
            if self._writer is not None:
                self._writer.staged.abort()
        kept = [pack for pack, left in self._left.items() if left and pack not in self._new_packs]
        return RepackResult(
            chunks=len(self._placed),
            packs_before=len(self._packs),
            packs_after=len(kept) + len(self._new_packs),
            bytes_before=sum(self._packs.values()),
            bytes_after=sum(self._packs[pack] for pack in kept) + self._new_bytes,
            damaged=tuple(self._damaged),
        )

    # What there is to do

    def _look_into(self, pack: PackId) -> None:
        entries = {entry.chunk: entry for entry in self._repository.chunk_index.entries(pack)}
        self._left[pack] = len(entries)
        for chunk, entry in entries.items():
            if chunk in self._locations:
                self._copies.setdefault(chunk, []).append(pack)
            else:
                self._locations[chunk] = Location(pack, entry)

    def _manifests(self) -> Iterator[tuple[Manifest, StoredTensors | None]]:
        """Yield the manifest of each version, oldest first, with the tensors of the version it is to rest on."""
        index = self._repository.index
        versions = [v for artifact in index.artifacts() for v in index.versions(artifact, removed=True)]
        earlier: dict[str, dict[int, StoredTensors]] = {}
        seen: set[ManifestId] = set()
        for version in sorted(versions, key=_age):
            if version.id in seen:
                continue
            seen.add(version.id)
            if version.removed and not self._repository.storage.exists(manifest_name(version.id)):
                continue  # `gc` has deleted it
            try:
                manifest = read_manifest(self._repository.storage, version.id)
            except IntegrityError as error:
                self._damaged.append(error.message)
                continue
            stored = earlier.setdefault(version.artifact, {})
            yield manifest, self._before(version, stored)
            stored[version.number] = StoredTensors(manifest)
            _forget(version.number, stored)

    def _before(self, version: VersionRecord, stored: Mapping[int, StoredTensors]) -> StoredTensors | None:
        """Return what a version is to rest on: the one before where size is all, else one that keeps chains short."""
        number = base_number_for(version.number, version.logical_bytes)
        chosen = None if self._level == "max" else stored.get(number)
        return chosen or (stored[max(stored)] if stored else None)

    def _jobs(self, manifest: Manifest, before: StoredTensors | None) -> Iterator[_Job]:
        """Yield what is to be written anew of a version, each chunk once."""
        found: set[ChunkId] = set()
        for tensor, chunk, start, size_bytes, twin in _tensor_chunks(manifest, before):
            if self._is_new(chunk, found):
                bases = [twin.base(start, size_bytes)] if twin is not None else []
                candidates = [base for base in bases if base is not None]
                rows = rows_at(tensor.shape, tensor.order, tensor.size_bytes, start)
                yield self._job(chunk, tensor.dtype, rows, candidates)
        for file in manifest.files:
            for ref in file.chunks:
                if self._is_new(ref.id, found):
                    yield self._job(ref.id, None, NO_ROWS, [])

    def _is_new(self, chunk: ChunkId, found: set[ChunkId]) -> bool:
        if chunk in found or chunk in self._placed or chunk in self._failed or chunk not in self._locations:
            return False
        found.add(chunk)
        return True

    def _job(self, chunk: ChunkId, dtype: str | None, rows: Rows, candidates: Sequence[Base]) -> _Job:
        """Return a job whose candidates are written anew already: the twin, and what the chunk rests on today."""
        entry = self._locations[chunk].entry
        today = split_bases(entry.bases)
        if dtype is not None and len(today) == 1 and entry.encoding != codec.CAST:
            candidates = [*candidates, Base((today[0],), dtype)]
        fit = (base for base in candidates if all(one in self._placed for one in base.chunks))
        return _Job(chunk, self._locations[chunk], dtype, rows, tuple(dict.fromkeys(fit)))

    def _unknown(self, chunk: ChunkId) -> _Job:
        return self._job(chunk, None, NO_ROWS, [])

    def _others(self) -> Iterator[list[ChunkId]]:
        """Yield the chunks that no version uses, those first that others of them rest on."""
        left = self._locations.keys() - self._placed.keys() - self._failed
        while left:
            rank = [chunk for chunk in left if not left.intersection(split_bases(self._locations[chunk].entry.bases))]
            if not rank:
                rank = list(left)  # they rest on each other: each is tried, and found to be damaged or not
            left.difference_update(rank)
            yield rank

    # Doing it

    def _write(self, jobs: Sequence[_Job]) -> None:
        """Write chunks anew that do not rest on each other."""
        batches = _batches(jobs)
        encoded = run_ordered(partial(self._encode_all, batch) for batch in batches)
        for batch, frames in zip(batches, encoded, strict=True):
            for job, frame in zip(batch, frames, strict=True):
                if isinstance(frame, Frame):
                    self._append(job, frame)
                else:
                    self._failed.add(job.chunk)
                    self._damaged.append(frame)
            self._progress.advance(sum(job.location.entry.raw_size for job in batch))

    def _encode_all(self, batch: Sequence[_Job]) -> list[Frame | str]:
        """Return the smallest frame of each chunk, or what is wrong with it."""
        frames: list[Frame | str] = []
        for job in batch:
            try:
                frames.append(self._encode(job))
            except IntegrityError as error:
                frames.append(error.message)
        return frames

    def _encode(self, job: _Job) -> Frame:
        raw = self._reader.decode(job.chunk).raw
        best = self._kept(job)
        for base in job.candidates or (None,):
            piece = Piece(raw, job.dtype, base, job.rows)
            again = encode_against(job.chunk, piece, self._bytes(base), self._level)
            if best is None or again.size_bytes < best.size_bytes:
                best = again
        assert best is not None
        return best

    def _kept(self, job: _Job) -> Frame | None:
        """Return the frame a chunk has today, if that may stay as it is."""
        bases = split_bases(job.location.entry.bases)
        depths = [self._placed[base].depth for base in bases if base in self._placed]
        if len(depths) < len(bases) or max(depths, default=-1) >= MAX_CHAIN:
            return None
        header, payload = next(self._reader.frames(job.chunk, job.location))
        return build_frame(header, [payload]) if header.bases == job.location.entry.bases else None

    def _bytes(self, base: Base | None) -> BaseBytes | None:
        """Return the bytes of a base, or of the lower end of its chain if that is long enough."""
        if base is None:
            return None
        chunks = base.chunks
        if max(self._placed[chunk].depth for chunk in chunks) >= MAX_CHAIN:
            root = self._placed[chunks[0]].root if len(chunks) == 1 and not base.skip_bytes else None
            if root is None or self._placed[root].depth >= MAX_CHAIN:
                return None
            chunks = (root,)
        return BaseBytes(joined([self._reader.decode(chunk).raw for chunk in chunks]), b"".join(chunks))

    # Packs

    def _append(self, job: _Job, frame: Frame) -> None:
        if self._writer is None:
            self._writer = PackWriter(self._repository.storage.stage())
        self._writer.append(frame)
        self._written.append(job.chunk)
        self._placed[job.chunk] = self._place(frame)
        if self._writer.is_full:
            self._seal()

    def _place(self, frame: Frame) -> _Placed:
        bases = split_bases(frame.header.bases)
        if not bases:
            return _Placed(0, None)
        depth = max(self._placed[base].depth for base in bases) + 1
        if len(bases) > 1 or frame.header.encoding == codec.CAST:
            return _Placed(depth, None)
        return _Placed(depth, self._placed[bases[0]].root or bases[0])

    def _seal(self) -> None:
        """Publish the pack that is being written, and then delete those that nobody needs any more."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        staged: StagedBlob = writer.staged
        try:
            pack, entries = writer.finish()
            size_bytes = staged.size_bytes
            staged.commit(pack_name(pack))
        except BaseException:
            staged.abort()
            raise
        self._publish(pack, size_bytes, entries)

    def _publish(self, pack: PackId, size_bytes: int, entries: Sequence[PackEntry]) -> None:
        self._repository.chunk_index.add_pack(pack, size_bytes, entries)
        self._new_packs.add(pack)
        self._new_bytes += size_bytes
        for chunk in self._written:
            for holder in (self._locations[chunk].pack, *self._copies.get(chunk, ())):
                self._left[holder] -= 1
        self._written.clear()
        self._check_in_place()
        superfluous = [old for old, left in self._left.items() if not left and old not in self._new_packs]
        for old in superfluous:
            del self._left[old]
            self._repository.storage.delete(pack_name(old))
            self._repository.chunk_index.forget_pack(old)

    def _check_in_place(self) -> None:
        """Make sure, after publishing, that no collector takes away what was written: then old packs may go.

        Raises:
            ConflictError: One did, with `--grace 0`.
        """
        storage = self._repository.storage
        here = set(storage.list(PACKS_FOLDER))
        missing = [name for name in map(pack_name, self._new_packs) if name.rpartition("/")[2] not in here]
        if not all([put_back(storage, name) for name in missing]):  # noqa: C419 - all of them, whatever becomes of one
            raise ConflictError(
                "mlver gc --grace 0 deleted what was being repacked.",
                "Nothing is lost; run this again when it is done.",
            )


def _tensor_chunks(
    manifest: Manifest, before: StoredTensors | None
) -> Iterator[tuple[TensorEntry, ChunkId, int, int, Twin | None]]:
    """Yield the chunks of all tensors: tensor, id, place in the tensor, size in bytes, the tensor's twin."""
    stored = StoredTensors(manifest)
    sizes: Mapping[ChunkId, int] = {ref.id: ref.size_bytes for file in manifest.files for ref in file.chunks}
    for number, file in enumerate(manifest.files):
        tensors = [tensor for tensor in manifest.tensors if tensor.file == number]
        twins = before.twins(file.path, tensors) if before is not None else [None] * len(tensors)
        for tensor, twin in zip(tensors, twins, strict=True):
            start = 0
            for chunk in stored.chunks(tensor) or ():
                yield tensor, chunk, start, sizes[chunk], twin
                start += sizes[chunk]


def _batches(jobs: Sequence[_Job]) -> list[list[_Job]]:
    """Return jobs in batches of some MiB: one is a task for a thread."""
    batches: list[list[_Job]] = [[]]
    size_bytes = 0
    for job in jobs:
        batches[-1].append(job)
        size_bytes += job.location.entry.raw_size
        if size_bytes >= _BATCH_BYTES:
            batches.append([])
            size_bytes = 0
    return batches


def _forget(number: int, stored: dict[int, StoredTensors]) -> None:
    """Forget all but the newest version and those that later ones may rest on."""
    needed = {number}
    while number:
        number = base_number(number)
        needed.add(number)
    for other in stored.keys() - needed:
        del stored[other]


def _age(version: VersionRecord) -> tuple[str, str, int]:
    return version.created_at, version.artifact, version.number
