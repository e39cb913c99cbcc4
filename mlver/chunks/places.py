"""Where chunks lie in packs, and their frames: those that lie together are read together.

Chunks that follow one another in a tensor follow one another in a pack as a rule, and so does what they rest on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mlver.errors import IntegrityError, NotFoundError
from mlver.ids import ChunkId
from mlver.store.chunk_index import Location
from mlver.store.pack import FrameHeader, check_frame, pack_name, read_frame
from mlver.store.storage import Storage
from mlver.store.stretches import stretches

_READ_BYTES = 4 << 20
_MOST_HELD = 16
"""Stretches that are held for the rest of their frames: who asks in another order than they lie in gets few of them."""


class Places(Mapping[ChunkId, Location]):
    """Where chunks are, and all that they rest on. Of one thread.

    Args:
        storage: Where the packs are.
        locations: Where each chunk is.
    """

    def __init__(self, storage: Storage, locations: Mapping[ChunkId, Location]) -> None:
        self._storage = storage
        self._locations = locations
        self._stretches: dict[ChunkId, _Stretch] = {}
        self._held: dict[_Stretch, memoryview] = {}
        in_order = sorted(locations.values(), key=lambda place: (place.pack, place.entry.offset))
        for places in stretches(in_order, _READ_BYTES):
            self._stretches |= dict.fromkeys((place.entry.chunk for place in places), _Stretch(places))

    def __getitem__(self, chunk: ChunkId) -> Location:
        return self._locations[chunk]

    def __iter__(self) -> Iterator[ChunkId]:
        return iter(self._locations)

    def __len__(self) -> int:
        return len(self._locations)

    def frame(self, chunk: ChunkId, location: Location) -> tuple[FrameHeader, memoryview]:
        """Read and check the frame of a chunk at `location`; see `mlver.store.pack.read_frame`."""
        stretch = self._stretches.get(chunk)
        data = self._take(stretch) if stretch is not None and self._locations[chunk] == location else None
        if stretch is None or data is None:
            return read_frame(self._storage, location.pack, location.entry)
        at = location.entry.offset - stretch.start
        return check_frame(data[at : at + location.entry.frame_length], location.pack, location.entry)

    def _take(self, stretch: _Stretch) -> memoryview | None:
        """Return the bytes of a stretch for one more of its frames; None if that is to be read by itself."""
        if not stretch.left:
            return None
        data = self._held.pop(stretch, None)
        if data is None:
            try:
                data = memoryview(self._storage.read(stretch.name, stretch.start, stretch.length))
            except (IntegrityError, NotFoundError):
                stretch.left = 0  # those that are there can be read all the same
                return None
        stretch.left -= 1
        if stretch.left:
            self._held[stretch] = data
        if len(self._held) > _MOST_HELD:
            oldest = next(iter(self._held))
            oldest.left = 0
            del self._held[oldest]
        return data


class _Stretch:
    """Frames of a pack that lie back to back: read once, and let go of when as many were asked for."""

    __slots__ = ("left", "length", "name", "start")

    def __init__(self, places: Sequence[Location]) -> None:
        first, last = places[0].entry, places[-1].entry
        self.name = pack_name(places[0].pack)
        self.start = first.offset
        self.length = last.offset + last.frame_length - first.offset
        self.left = len(places) if len(places) > 1 else 0
