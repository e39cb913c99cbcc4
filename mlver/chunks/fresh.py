"""Packs of this day: what was just written need not be read again before something is built on it.

Chunks are built on those of the version before as a rule, which was written an hour ago. A file that is as it was when
it was written, and was written within the day by the storage's own clock, is taken at its word, as it is where a chunk
is known already. All others are read.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def times_written(storage: Storage, packs: Mapping[PackId, int]) -> dict[PackId, int]:
    """Return when packs were written by the storage's clock, of those of which a change from now on would show in that.

    Args:
        storage: Where they are.
        packs: The size in bytes of each; they were published.
    """
    if not isinstance(storage, AsideStorage):
        return {}
    large = [pack for pack, size_bytes in packs.items() if size_bytes >= _WORTH_NOTING_BYTES]
    written = {pack: time_ns for pack in large if (time_ns := _modified_ns(storage, pack)) is not None}
    if not written:
        return {}
    with suppress(MlverError):
        before_ns = storage.now_ns() - TICK_NS
        # Whole seconds are those of filesystems that know nothing finer.
        return {pack: time_ns for pack, time_ns in written.items() if time_ns % 10**9 and time_ns < before_ns}
    return {}


def _modified_ns(storage: AsideStorage, pack: PackId) -> int | None:
    with suppress(MlverError):
        return storage.modified_ns(pack_name(pack))
    return None


class FreshPacks:
    """Tells which packs need not be read. Each is looked at once, and the time too: make one a command.

    Safe in any thread.

    Args:
        storage: Where they are.
        index: Says when they were written.
    """

    def __init__(self, storage: Storage, index: ChunkIndex) -> None:
        self._storage = storage
        self._index = index
        self._known: dict[PackId, bool] = {}
        self._began_ns: int | None = None

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
            if self._began_ns is None:
                self._began_ns = self._storage.now_ns()
            return (
                self._storage.modified_ns(name) == written
                and self._storage.size(name) == size_bytes
                and 0 <= self._began_ns - written < _DAY_NS
            )
        except MlverError:
            return False  # who reads it is told why
