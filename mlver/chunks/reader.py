"""Packs → frames → raw chunks, with every check on the way.

A chunk that rests on others is decoded after them. It may lie in several packs, against a different base in each, since
two writers stored it at once or one wrote it anew: a copy that cannot be decoded is no reason to give up on the others.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from mlver import codec
from mlver.chunks.fresh import FreshPacks
from mlver.chunks.places import Places
from mlver.digests import Buffer, chunk_id
from mlver.errors import IntegrityError, NotFoundError
from mlver.ids import ChunkId, PackId
from mlver.store.aside import AsideStorage, put_all_back
from mlver.store.chunk_index import ChunkIndex, Location
from mlver.store.pack import PACKS_FOLDER, FrameHeader, read_frame, split_bases
from mlver.store.storage import Storage

MAX_BASE_DEPTH = 64
"""Longest chain of bases a reader follows; a longer one is damage or malice."""
_MAX_FRAMES = 4 * MAX_BASE_DEPTH
"""Frames that are decoded for one chunk at most: copies against different bases could make a maze of chains."""
_RECENT_CHUNKS = 8
"""Chunks kept for those after them in the same request: two versions are read side by side when they are compared."""
_LOOKS_ASIDE = 16
"""Times that a reader looks for what it misses among what is set aside: where much is missing, it is not there."""
_HINT = "mlver verify lists what it hurts."


class Root(NamedTuple):
    """The chunk at the lower end of a chain whose elements are at the same places all along: id, bytes, own depth.

    Whether the bytes are those of the id was not checked.
    """

    chunk: ChunkId
    raw: Buffer
    depth: int


class Decoded(NamedTuple):
    """A chunk that was read, and what it rests on.

    Attributes:
        raw: Its bytes.
        depth: How many chunks were decoded one after another before it; 0 for one without a base.
        root: The lower end of its chain.
    """

    raw: Buffer
    depth: int
    root: Root | None


class ChunkReader:
    """Reads chunks back, checking the frame's checksum and the chunk's identity each time. Safe in any thread.

    Args:
        storage: Where the packs are.
        index: Which pack has which chunk.
    """

    def __init__(self, storage: Storage, index: ChunkIndex) -> None:
        self._storage = storage
        self._index = index
        self._missing: set[PackId] = set()
        self._fresh = FreshPacks(storage, index)
        self._looks_left = _LOOKS_ASIDE
        self._looking_aside = threading.Lock()

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
        places = self.locate(chunk for chunk, _ in chunks)
        recent: dict[ChunkId, Decoded] = {}
        for chunk, size_bytes in chunks:
            found = self._decode(chunk, places, recent)
            raw = found.raw
            recent[chunk] = found
            if len(recent) > _RECENT_CHUNKS:
                del recent[next(iter(recent))]
            if len(raw) != size_bytes:
                raise IntegrityError(f"Chunk {chunk.hex()} has {len(raw)} bytes instead of {size_bytes}.")
            yield raw

    def decode(self, chunk: ChunkId, places: Places | None = None) -> Decoded:
        """Return a chunk with what it rests on.

        Args:
            chunk: Its id.
            places: What `locate` said; what is not in it is looked up.

        Raises:
            IntegrityError: It is missing or damaged.
        """
        return self._decode(chunk, places or Places(self._storage, {}), {})

    def locate(self, chunks: Iterable[ChunkId], known: Mapping[ChunkId, Location] | None = None) -> Places:
        """Return where chunks are that are known, and all that they rest on: by a look-up a step, not a chunk.

        Args:
            chunks: Their ids.
            known: What a look-up of all of them found, if there was one.
        """
        wanted = set(chunks)
        found = self._index.find_many(wanted) if known is None else {one: known[one] for one in wanted & known.keys()}
        places = dict(found)
        for _ in range(1, MAX_BASE_DEPTH):
            wanted = {base for place in found.values() for base in split_bases(place.entry.bases)} - places.keys()
            if not wanted:
                break
            found = self._index.find_many(wanted)
            places |= found
        return Places(self._storage, places)

    def depth(self, chunk: ChunkId, places: Places) -> int | None:
        """Return how many chunks are decoded one after another before a chunk, as `Decoded.depth`, without decoding.

        What is read of each is its frame, whose checksum is compared; nothing of those in packs of this day.

        Args:
            chunk: Its id.
            places: What `locate` said of it.

        Returns:
            None if a frame is not where it should be, or not sound: `decode` finds out what is left.
        """
        step = [chunk]
        for depth in range(MAX_BASE_DEPTH):
            bases: list[ChunkId] = []
            for one in step:
                if one not in places:
                    return None
                place = places[one]
                if place.pack in self._fresh:
                    bases += split_bases(place.entry.bases)
                    continue
                try:
                    header, _ = places.frame(one, place)
                except (IntegrityError, NotFoundError):
                    return None
                bases += split_bases(header.bases)
            if not bases:
                return depth
            step = bases
        return None

    def find(self, chunk: ChunkId) -> Location | None:
        """Return a place where the chunk should be."""
        return self._index.find(chunk) or self._find_aside(chunk)

    def frames(
        self, chunk: ChunkId, location: Location, places: Places | None = None
    ) -> Iterator[tuple[FrameHeader, memoryview]]:
        """Yield the sound frames of a chunk: the one at `location`, and then those that lie elsewhere.

        Args:
            chunk: Its id.
            location: Where to look first.
            places: What `locate` said of it and others that are read with it.

        Raises:
            IntegrityError: There is none.
        """
        failure: IntegrityError | NotFoundError | None = None
        try:
            first = (places or Places(self._storage, {})).frame(chunk, location)
        except (IntegrityError, NotFoundError) as error:
            failure = error
            self._ask_packs(location.pack)
        else:
            yield first
        for again in self._index.find_all(chunk) or self._put_back(chunk):
            if failure is None and again == location:
                continue
            with suppress(IntegrityError, NotFoundError):
                found = read_frame(self._storage, again.pack, again.entry)
                failure = None
                yield found
        if isinstance(failure, IntegrityError):
            raise IntegrityError(failure.message, _HINT) from failure
        if failure is not None:
            raise IntegrityError(f"Pack {location.pack} is missing.", _HINT) from failure

    def _decode(self, chunk: ChunkId, places: Places, recent: Mapping[ChunkId, Decoded]) -> Decoded:
        """Read a chunk; whatever was wrong on the way shows in its own digest, so its bases are not hashed at first."""
        if chunk in recent:
            return recent[chunk]
        location = places.get(chunk) or self.find(chunk)
        if location is None:
            raise IntegrityError(f"Chunk {chunk.hex()} is missing.", _HINT)
        with suppress(IntegrityError):
            found = _Walk(self, chunk, places, recent).read(location)
            if chunk_id(found.raw) == chunk:
                return found
        return _Walk(self, chunk, places, None).read(location)

    def _find_aside(self, chunk: ChunkId) -> Location | None:
        return next(iter(self._put_back(chunk)), None)

    def _put_back(self, chunk: ChunkId) -> list[Location]:
        """Return where a chunk is that was nowhere, once what a collector has set aside is back in its place."""
        with self._looking_aside:
            if self._looks_left and isinstance(self._storage, AsideStorage):
                self._looks_left -= 1
                put_all_back(self._storage, PACKS_FOLDER)
                self._index.refresh(self._storage)  # in any case: the collector may have put it back itself
        return self._index.find_all(chunk)

    def _ask_packs(self, pack: PackId) -> None:
        """Ask the packs themselves where chunks are, since the index is only a cache."""
        with suppress(IntegrityError, NotFoundError):
            self._index.reload_pack(self._storage, pack)
            return
        if pack not in self._missing:  # its chunks were written anew, into packs that are not known yet
            self._missing.add(pack)
            self._index.refresh(self._storage)


class _Walk:
    """The reading of one chunk: the chain of bases down to one that needs none, and back up.

    Args:
        reader: Where from.
        chunk: What is to be read.
        places: Where chunks are; others are looked up.
        recent: Chunks that were read already; None to read and hash all of the chain. Otherwise nothing is hashed.
    """

    def __init__(
        self,
        reader: ChunkReader,
        chunk: ChunkId,
        places: Places,
        recent: Mapping[ChunkId, Decoded] | None,
    ) -> None:
        self._reader = reader
        self._places = places
        self._recent = recent
        self._path = [chunk]
        self._frames_left = _MAX_FRAMES

    def read(self, location: Location | None) -> Decoded:
        """Decode the last chunk of the path, from any of its frames.

        Raises:
            IntegrityError: None can be decoded.
        """
        chunk = self._path[-1]
        if location is None:
            raise IntegrityError(f"Chunk {chunk.hex()} is missing.", _HINT)
        failure: IntegrityError | None = None
        for header, payload in self._reader.frames(chunk, location, self._places):
            self._frames_left -= 1
            try:
                return self._decode(header, payload)
            except IntegrityError as error:
                failure = failure or error
            if self._frames_left <= 0:
                break
        assert failure is not None
        raise failure

    def _decode(self, header: FrameHeader, payload: memoryview) -> Decoded:
        bases = [self._base(base) for base in split_bases(header.bases)]
        if not bases:
            found = Decoded(codec.decode(header.encoding, payload, header.raw_size), 0, None)
        elif len(bases) == 1:
            raw = codec.decode(header.encoding, payload, header.raw_size, bases[0].raw)
            found = Decoded(raw, bases[0].depth + 1, _root(header, bases[0]))
        else:
            joined = b"".join(base.raw for base in bases)
            raw = codec.decode(header.encoding, payload, header.raw_size, joined)
            found = Decoded(raw, max(base.depth for base in bases) + 1, None)
        if self._recent is None and chunk_id(found.raw) != header.chunk:
            raise IntegrityError(f"Chunk {header.chunk.hex()} is damaged: its bytes have another digest.", _HINT)
        return found

    def _base(self, base: ChunkId) -> Decoded:
        if base in self._path or len(self._path) > MAX_BASE_DEPTH:
            raise IntegrityError(f"Chunk {self._path[0].hex()} rests on too long a chain of bases.", _HINT)
        if self._recent and base in self._recent:
            return self._recent[base]
        self._path.append(base)
        try:
            return self.read(self._places.get(base) or self._reader.find(base))
        finally:
            self._path.pop()


def _root(header: FrameHeader, base: Decoded) -> Root | None:
    """Return the root of a chunk with one base; elements of another type are not at the same places."""
    if header.encoding == codec.CAST:
        return None
    return base.root or Root(ChunkId(header.bases), base.raw, base.depth)
