"""Raw chunks → packs, each chunk once: identity → **known already? → encode → pack**.

A chunk that the repository has is never encoded again. Encoding runs in worker threads (`prepare` is pure but for
look-ups), one thread appends in order, and another one waits for the disk while the next pack is being filled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple, Self

from mlver.chunks.encoding import Level, Originals, Piece, encode_chunk
from mlver.chunks.fresh import times_written
from mlver.chunks.reader import ChunkReader
from mlver.digests import chunk_id
from mlver.ids import ChunkId, PackId
from mlver.store.chunk_index import ChunkIndex
from mlver.store.pack import PACKS_FOLDER, Frame, PackEntry, PackWriter, pack_name
from mlver.store.storage import StagedBlob, Storage

_UNCOMMITTED_PACKS = 2


class PreparedChunk(NamedTuple):
    """A chunk ready to be appended.

    Attributes:
        id: Its identity.
        size_bytes: Raw length.
        frame: Its encoded frame, or None when the repository has it already. May alias the raw buffer.
        base_was_tried: Whether it was compared with a base.
        base_problem: Why its base could not be read, if so.
    """

    id: ChunkId
    size_bytes: int
    frame: Frame | None
    base_was_tried: bool = False
    base_problem: str | None = None

    @property
    def base_helped(self) -> bool:
        """Whether it is stored against its base."""
        return self.frame is not None and bool(self.frame.header.bases)


class ChunkWriter:
    """Adds chunks to the store, each once. Use as a context manager; nothing is known to others before `finish`.

    Args:
        storage: Where packs go.
        index: Which chunks are known; new ones are entered at `finish`.
        level: How much time smaller packs are worth.
        lost: Chunks to write even if they seem to be known: what they rest on is gone.
        originals: Where bases may lie as they are; reading one from there saves decoding it.

    Attributes:
        new_bytes: Raw bytes that the store did not have.
        stored_bytes: What they take in packs.
        delta_bytes: How many of the raw bytes are stored against a base.
        base_problems: What is wrong with bases that could not be read, each said once.
    """

    def __init__(
        self,
        storage: Storage,
        index: ChunkIndex,
        level: Level = "balanced",
        lost: Collection[ChunkId] = (),
        originals: Originals | None = None,
    ) -> None:
        self._storage = storage
        self._lost = frozenset(lost)
        self._index = index
        self._level = level
        self._originals = originals
        self._reader = ChunkReader(storage, index)
        self._pack: PackWriter | None = None
        self._written: set[ChunkId] = set()
        self._committing: deque[Future[None]] = deque()
        self._committed: list[tuple[PackId, StagedBlob, list[PackEntry]]] = []
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="mlver-commit")
        self._relied_on_known = False
        self.new_bytes = 0
        self.stored_bytes = 0
        self.delta_bytes = 0
        self.base_problems: dict[str, None] = {}

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

    def prepare(self, pieces: Sequence[Piece]) -> list[PreparedChunk]:
        """Identify chunks, and encode those that are not known. Safe in any thread; one look-up for all of them.

        Args:
            pieces: The chunks; frames made from them may alias their bytes until `append`.

        Raises:
            IntegrityError: What was encoded does not decode to what it was.
        """
        ids = [chunk_id(piece.raw) for piece in pieces]
        likely = [chunk for piece in pieces if piece.base is not None for chunk in piece.base.chunks]
        known = self._index.find_many([*ids, *likely])
        is_new = [
            (identity not in known or identity in self._lost) and identity not in self._written for identity in ids
        ]
        bases = [piece.base for piece, new in zip(pieces, is_new, strict=True) if new and piece.base is not None]
        needed = [chunk for base in bases for chunk in base.chunks]
        places = self._reader.locate(needed, known)
        originals = self._originals.read(needed) if self._originals is not None else {}
        prepared = []
        for identity, piece, new in zip(ids, pieces, is_new, strict=True):
            if not new:
                prepared.append(PreparedChunk(identity, len(piece.raw), None))
                continue
            frame, problem = encode_chunk(identity, piece, self._reader, places, self._level, originals)
            tried = piece.base is not None and problem is None
            prepared.append(PreparedChunk(identity, len(piece.raw), frame, tried, problem))
        return prepared

    def append(self, chunk: PreparedChunk) -> None:
        """Write a prepared chunk, unless this writer has it. From one thread.

        Raises:
            MlverError: The disk is full, or failed.
        """
        if chunk.base_problem is not None:
            self.base_problems[chunk.base_problem] = None
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
        if chunk.base_helped:
            self.delta_bytes += chunk.size_bytes
            self._relied_on_known = True
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
        self._index.add_packs(
            {pack: (staged.size_bytes, entries) for pack, staged, entries in self._committed},
            times_written(self._storage, {pack: staged.size_bytes for pack, staged, _ in self._committed}),
        )
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
