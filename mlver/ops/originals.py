"""The files that stored versions were added from, as far as they still lie there: bases that need not be decoded.

A training that keeps its last checkpoints side by side has the one before at hand when the next is added. Reading it is
several times as fast as decoding what it rests on. Nothing is believed: what is read is compared with its digest.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from mlver.history.manifest import Manifest
from mlver.ids import ChunkId, ManifestId
from mlver.ops.stat_cache import Stamp, StatCache

_WORTH_READING_BYTES = 1 << 20
"""Smaller files are decoded as fast as they are found."""


class _Place(NamedTuple):
    location: str
    stamp: str
    offset: int
    size_bytes: int


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

    def read(self, chunk: ChunkId) -> bytes | None:
        """Return what is where a chunk was when its version was added, if the file looks as it did then."""
        place = self._places.get(chunk)
        if place is None or place.location in self._changed:
            return None
        try:
            descriptor = os.open(place.location, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                if Stamp.of(os.fstat(descriptor)).text() == place.stamp:
                    return os.pread(descriptor, place.size_bytes, place.offset)
            finally:
                os.close(descriptor)
        except OSError:
            pass  # the store has it, too
        self._changed.add(place.location)
        return None
