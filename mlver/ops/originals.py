"""The files that stored versions were added from, as far as they still lie there: bases that need not be decoded.

A training that keeps its last checkpoints side by side has the one before at hand when the next is added. Reading it is
several times as fast as decoding what it rests on. Nothing is believed: what is read is compared with its digest.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from mlver.digests import Buffer
from mlver.history.manifest import Manifest
from mlver.ids import ChunkId, ManifestId
from mlver.ops.stat_cache import Stamp, StatCache

_WORTH_READING_BYTES = 1 << 20
"""Smaller files are decoded as fast as they are found."""
_READ_BYTES = 5 << 20
"""What lies within so many bytes is read at once."""


class _Place(NamedTuple):
    location: str
    stamp: str
    offset: int
    size_bytes: int


_Stretch = Sequence[tuple[ChunkId, _Place]]
"""Chunks of a file that are read together."""


class OriginalFiles:
    """Finds chunks of stored versions in the files that these were added from. Safe in any thread.

    Args:
        seen: Which files those are.
    """

    def __init__(self, seen: StatCache) -> None:
        self._seen = seen
        self._places: dict[ChunkId, _Place] = {}
        self._changed: set[str] = set()

    def look_for(self, identity: ManifestId, manifest: Manifest) -> None:
        """Look also for the chunks of a version."""
        entries = {entry.path: entry for entry in manifest.files if entry.size_bytes >= _WORTH_READING_BYTES}
        if not entries:
            return
        for location, stamp, path in self._seen.files_of(identity):
            offset = 0
            for chunk in entries[path].chunks if path in entries else ():
                self._places[chunk.id] = _Place(location, stamp, offset, chunk.size_bytes)
                offset += chunk.size_bytes

    def read(self, chunks: Iterable[ChunkId]) -> dict[ChunkId, Buffer]:
        """Return what is where chunks were when their versions were added, of files that look as they did then."""
        found: dict[ChunkId, Buffer] = {}
        placed = [(chunk, self._places[chunk]) for chunk in chunks if chunk in self._places]
        for location, group in groupby(placed, key=lambda one: one[1].location):
            together = list(group)
            start, end = _span(together)
            for stretch in [together] if end - start <= _READ_BYTES else [[one] for one in together]:
                found |= self._read(location, stretch)
        return found

    def _read(self, location: str, stretch: _Stretch) -> dict[ChunkId, Buffer]:
        if location in self._changed:
            return {}
        start, end = _span(stretch)
        try:
            descriptor = os.open(location, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                stamp = Stamp.of(os.fstat(descriptor)).text()
                if all(place.stamp == stamp for _, place in stretch):
                    data = memoryview(os.pread(descriptor, end - start, start))
                    return {
                        chunk: data[place.offset - start : place.offset - start + place.size_bytes]
                        for chunk, place in stretch
                    }
            finally:
                os.close(descriptor)
        except OSError:
            pass  # the store has it, too
        self._changed.add(location)
        return {}


def _span(stretch: _Stretch) -> tuple[int, int]:
    """Return where in their file the first byte of chunks is, and where the last one ends."""
    return min(place.offset for _, place in stretch), max(place.offset + place.size_bytes for _, place in stretch)
