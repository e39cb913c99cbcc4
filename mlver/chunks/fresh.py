"""Packs of this day: what was just written need not be read again before something is built on it.

Chunks are built on those of the version before as a rule, which was written an hour ago. A file that is as it was when
it was written, and was written within the day by the storage's own clock, is taken at its word, as it is where a chunk
is known already. All others are read.
"""

from __future__ import annotations

from contextlib import suppress

from mlver.errors import MlverError
from mlver.ids import PackId
from mlver.store.aside import AsideStorage
from mlver.store.chunk_index import ChunkIndex
from mlver.store.pack import pack_name
from mlver.store.storage import TICK_NS, Storage

_DAY_NS = 24 * 60 * 60 * 10**9
_WORTH_NOTING_BYTES = 1 << 20
"""Smaller packs are read as fast as they are asked about."""


def written_ns(storage: Storage, pack: PackId, size_bytes: int) -> int | None:
    """Return when a pack was written by the storage's clock, if a change from now on would show in that.

    Args:
        storage: Where it is.
        pack: Which one; it was published.
        size_bytes: Its size.
    """
    if size_bytes < _WORTH_NOTING_BYTES or not isinstance(storage, AsideStorage):
        return None
    with suppress(MlverError):
        written = storage.modified_ns(pack_name(pack))
        # Whole seconds are those of filesystems that know nothing finer.
        if written is not None and written % 10**9 and storage.now_ns() - written > TICK_NS:
            return written
    return None


class FreshPacks:
    """Tells which packs need not be read. Each is looked at once, so make one a command. Safe in any thread.

    Args:
        storage: Where they are.
        index: Says when they were written.
    """

    def __init__(self, storage: Storage, index: ChunkIndex) -> None:
        self._storage = storage
        self._index = index
        self._known: dict[PackId, bool] = {}

    def __contains__(self, pack: PackId) -> bool:
        if pack not in self._known:
            self._known[pack] = self._is_fresh(pack)
        return self._known[pack]

    def _is_fresh(self, pack: PackId) -> bool:
        told = self._index.written(pack)
        if told is None or not isinstance(self._storage, AsideStorage):
            return False
        size_bytes, written = told
        name = pack_name(pack)
        try:
            return (
                self._storage.modified_ns(name) == written
                and self._storage.size(name) == size_bytes
                and 0 <= self._storage.now_ns() - written < _DAY_NS
            )
        except MlverError:
            return False  # who reads it is told why
