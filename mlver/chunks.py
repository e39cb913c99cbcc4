"""Raw chunks in, raw chunks out: where codec and store meet.

add: … → identity → **known already? → encode → pack** → …
pull: … → **fetch packs' ranges → decode → verify** → …

A chunk that the repository has is never encoded again. Encoding runs in worker threads (`prepare` is pure but for
look-ups), one thread appends in order, and another one waits for the disk while the next pack is being filled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mlver import codec
from mlver.digests import Buffer, chunk_id
from mlver.errors import IntegrityError, NotFoundError
from mlver.ids import ChunkId, PackId
from mlver.store.chunk_index import ChunkIndex, Location
from mlver.store.pack import (
    PACKS_FOLDER,
    Frame,
    FrameHeader,
    PackEntry,
    PackWriter,
    build_frame,
    pack_name,
    read_frame,
)
from mlver.store.storage import StagedBlob, Storage

MAX_BASE_DEPTH = 64
"""Longest chain of bases a reader follows; a longer one is damage or malice."""
_UNCOMMITTED_PACKS = 2
_HINT = "mlver verify lists what it hurts."


@dataclass(frozen=True, slots=True)
class PreparedChunk:
    """A chunk ready to be appended.

    Attributes:
        id: Its identity.
        size_bytes: Raw length.
        frame: Its encoded frame, or None when the repository has it already. May alias the raw buffer.
    """

    id: ChunkId
    size_bytes: int
    frame: Frame | None


class ChunkReader:
    """Reads chunks back, checking the frame's checksum and the chunk's identity each time. Safe in any thread.

    Args:
        storage: Where the packs are.
        index: Which pack has which chunk.
    """

    def __init__(self, storage: Storage, index: ChunkIndex) -> None:
        self._storage = storage
        self._index = index

    def read(self, chunk: ChunkId, size_bytes: int) -> Buffer:
        """Return the raw bytes of a chunk.

        Raises:
            IntegrityError: It is missing, damaged, or not of the size it must have.
        """
        return next(self.read_many([(chunk, size_bytes)]))

    def read_many(self, chunks: Sequence[tuple[ChunkId, int]]) -> Iterator[Buffer]:
        """Yield the raw bytes of several chunks, given by id and size in bytes, with one look-up.

        Raises:
            IntegrityError: One is missing, damaged, or not of the size it must have.
        """
        locations = self._index.find_many(chunk for chunk, _ in chunks)
        for chunk, size_bytes in chunks:
            raw = self._read(chunk, locations.get(chunk), MAX_BASE_DEPTH)
            if len(raw) != size_bytes:
                raise IntegrityError(f"Chunk {chunk.hex()} has {len(raw)} bytes instead of {size_bytes}.")
            yield raw

    def _read(self, chunk: ChunkId, location: Location | None, depth: int) -> Buffer:
        if location is None:
            raise IntegrityError(f"Chunk {chunk.hex()} is missing.", _HINT)
        if depth == 0:
            raise IntegrityError(f"Chunk {chunk.hex()} rests on too long a chain of bases.", _HINT)
        header, payload = self._frame(chunk, location)
        base = None if header.base is None else self._read(header.base, self._index.find(header.base), depth - 1)
        raw = codec.decode(header.encoding, payload, header.raw_size, base)
        if chunk_id(raw) != chunk:
            raise IntegrityError(f"Chunk {chunk.hex()} is damaged: its bytes have another digest.", _HINT)
        return raw

    def _frame(self, chunk: ChunkId, location: Location) -> tuple[FrameHeader, memoryview]:
        """Read a frame; if it is not where the index says, ask the packs, since the index is only a cache."""
        try:
            return read_frame(self._storage, location.pack, location.entry)
        except (IntegrityError, NotFoundError) as first:
            with suppress(IntegrityError, NotFoundError):
                self._index.reload_pack(self._storage, location.pack)
            for again in self._index.find_all(chunk):
                with suppress(IntegrityError, NotFoundError):
                    return read_frame(self._storage, again.pack, again.entry)
            if isinstance(first, IntegrityError):
                raise IntegrityError(first.message, _HINT) from first
            raise IntegrityError(f"Pack {location.pack} is missing.", _HINT) from first


class ChunkWriter:
    """Adds chunks to the store, each once. Use as a context manager; nothing is known to others before `finish`.

    Args:
        storage: Where packs go.
        index: Which chunks are known; new ones are entered at `finish`.
    """

    def __init__(self, storage: Storage, index: ChunkIndex) -> None:
        self._storage = storage
        self._index = index
        self._pack: PackWriter | None = None
        self._written: set[ChunkId] = set()
        self._committing: deque[Future[None]] = deque()
        self._committed: list[tuple[PackId, StagedBlob, list[PackEntry]]] = []
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="mlver-commit")
        self._relied_on_known = False
        self.new_bytes = 0
        self.stored_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._committer.shutdown(wait=True, cancel_futures=True)
        for _, staged, _ in self._committed:
            staged.abort()  # does nothing where it was committed
        if self._pack is not None:
            self._pack.staged.abort()

    def prepare(self, raw: Buffer, dtype: str | None) -> PreparedChunk:
        """Identify a chunk and encode it unless it is known. Safe in any thread.

        Args:
            raw: Its bytes; a frame made from them may alias them until `append`.
            dtype: Element type if it lies in a tensor.
        """
        return self.prepare_many([(raw, dtype)])[0]

    def prepare_many(self, chunks: Sequence[tuple[Buffer, str | None]]) -> list[PreparedChunk]:
        """Prepare several chunks with one look-up: many small files are bound by the number of those."""
        ids = [chunk_id(raw) for raw, _ in chunks]
        known = self._index.find_many(ids)
        prepared = []
        for identity, (raw, dtype) in zip(ids, chunks, strict=True):
            is_new = identity not in known and identity not in self._written
            frame = _encode(identity, raw, dtype) if is_new else None
            prepared.append(PreparedChunk(identity, len(raw), frame))
        return prepared

    def append(self, chunk: PreparedChunk) -> None:
        """Write a prepared chunk, unless this writer has it. From one thread.

        Raises:
            MlverError: The disk is full, or failed.
        """
        if chunk.frame is None:
            self._relied_on_known = True
            return
        if chunk.id in self._written:
            return
        if self._pack is None:
            self._pack = PackWriter(self._storage.stage())
        self._pack.append(chunk.frame)
        self._written.add(chunk.id)
        self.new_bytes += chunk.size_bytes
        self.stored_bytes += chunk.frame.size_bytes
        if self._pack.is_full:
            self._seal()

    def finish(self) -> None:
        """Make everything appended, and everything found, durable, and enter it into the index.

        Raises:
            MlverError: The disk is full, or failed; nothing that was not durable before is relied on.
        """
        if self._pack is not None:
            self._seal()
        while self._committing:
            self._committing.popleft().result()
        if self._relied_on_known:
            # A pack that another process published may still be on its way to the disk.
            self._storage.sync(PACKS_FOLDER)
        self._index.add_packs({pack: (staged.size_bytes, entries) for pack, staged, entries in self._committed})
        self._committed.clear()

    def _seal(self) -> None:
        assert self._pack is not None
        writer, self._pack = self._pack, None
        try:
            pack, entries = writer.finish()
        except BaseException:
            writer.staged.abort()
            raise
        self._committed.append((pack, writer.staged, entries))
        self._committing.append(self._committer.submit(writer.staged.commit, pack_name(pack)))
        while len(self._committing) > _UNCOMMITTED_PACKS:
            self._committing.popleft().result()


def _encode(identity: ChunkId, raw: Buffer, dtype: str | None) -> Frame:
    encoded = codec.encode(raw, dtype)
    return build_frame(FrameHeader(identity, len(raw), encoded.encoding, None), encoded.parts)
