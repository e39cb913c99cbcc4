"""What was written within the day is not read again before something is built on it; all else is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from mlver.chunks import Base, ChunkReader, ChunkWriter, Piece
from mlver.chunks.fresh import FreshPacks, times_written
from mlver.digests import Buffer, chunk_id
from mlver.ids import ChunkId, PackId
from mlver.store import tables
from mlver.store.chunk_index import ChunkIndex
from mlver.store.local import LocalStorage
from mlver.store.memory import MemoryStorage
from mlver.store.pack import pack_name
from mlver.store.sqlite import open_cache
from tests.support.faulty import FaultyStorage

DAY_NS = 24 * 3600 * 10**9
TICK_SECONDS = 0.05
_RANDOM = np.random.default_rng(0)
BASE = _RANDOM.normal(size=1 << 19).astype("<f4")
NEXT = (BASE + _RANDOM.normal(scale=1e-6, size=BASE.size).astype("<f4")).tobytes()
CHUNKS = [half.tobytes() for half in np.split(BASE, 2)]


class Elsewhere:
    """The base's chunks, where they need not be decoded."""

    def read(self, chunks: Iterable[ChunkId]) -> dict[ChunkId, Buffer]:
        return {chunk_id(chunk): chunk for chunk in CHUNKS if chunk_id(chunk) in chunks}


@pytest.fixture
def storage(tmp_path: Path) -> FaultyStorage:
    return FaultyStorage(LocalStorage(tmp_path))


@pytest.fixture
def index() -> ChunkIndex:
    return ChunkIndex(open_cache(None, [tables.SCHEMA]))


@pytest.fixture
def pack(storage: FaultyStorage, index: ChunkIndex) -> PackId:
    """A pack with the base's chunks, that was written a tick ago."""
    storage.before("modified", lambda: time.sleep(TICK_SECONDS))
    with ChunkWriter(storage, index) as writer:
        for chunk in writer.prepare([Piece(chunk, "F32") for chunk in CHUNKS]):
            writer.append(chunk)
        writer.finish()
    (found,) = index.packs()
    return found


@pytest.fixture
def path(tmp_path: Path, pack: PackId) -> Path:
    return tmp_path / pack_name(pack)


def add_next(storage: FaultyStorage, index: ChunkIndex) -> ChunkWriter:
    half = len(NEXT) // 2
    with ChunkWriter(storage, index, originals=Elsewhere()) as writer:
        pieces = [
            Piece(NEXT[at : at + half], "F32", Base((chunk_id(base),), "F32"))
            for at, base in zip((0, half), CHUNKS, strict=True)
        ]
        for chunk in writer.prepare(pieces):
            writer.append(chunk)
        writer.finish()
    return writer


def was_read(storage: FaultyStorage, pack: PackId) -> bool:
    return ("read", pack_name(pack)) in storage.calls


def test_a_pack_of_this_day_is_built_upon_without_reading_it(
    storage: FaultyStorage, index: ChunkIndex, pack: PackId
) -> None:
    assert add_next(storage, index).delta_bytes == len(NEXT)
    assert not was_read(storage, pack)
    again = ChunkReader(storage, index)
    half = len(NEXT) // 2
    for raw in (NEXT[:half], NEXT[half:]):
        assert bytes(again.read(chunk_id(raw), half)) == raw
        assert again.depth(chunk_id(raw), again.locate([chunk_id(raw)])) == 1


def damage(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 4] ^= 1
    path.write_bytes(whole)


def cut_short(path: Path) -> None:
    status = path.stat()
    path.write_bytes(path.read_bytes()[: status.st_size // 4])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(("change", "lost"), [(damage, 1), (cut_short, 2), (Path.unlink, 2)])
def test_a_pack_that_was_changed_since_is_not_built_upon(
    storage: FaultyStorage, index: ChunkIndex, path: Path, change: Callable[[Path], None], lost: int
) -> None:
    change(path)
    writer = add_next(storage, index)
    assert writer.delta_bytes == len(NEXT) // 2 * (2 - lost)
    assert writer.base_problems


def age(path: Path, index: ChunkIndex, pack: PackId, by_ns: int) -> None:
    """Have the storage and the index say that a pack is so old."""
    written = time.time_ns() - by_ns
    os.utime(path, ns=(written, written))
    size_bytes, entries = path.stat().st_size, index.entries(pack)
    index.forget_pack(pack)
    index.add_packs({pack: (size_bytes, entries)}, {pack: path.stat().st_mtime_ns})


@pytest.mark.parametrize(("by_ns", "is_read"), [(DAY_NS - 10**12, False), (DAY_NS + 10**9, True), (-(10**12), True)])
def test_a_pack_of_another_day_is_read(
    storage: FaultyStorage, index: ChunkIndex, pack: PackId, path: Path, by_ns: int, is_read: bool
) -> None:
    age(path, index, pack, by_ns)
    assert add_next(storage, index).delta_bytes == len(NEXT)
    assert was_read(storage, pack) == is_read


def test_a_pack_that_the_cache_learned_of_from_the_folder_is_read(storage: FaultyStorage, pack: PackId) -> None:
    other = ChunkIndex(open_cache(None, [tables.SCHEMA]))
    other.refresh(storage)
    assert add_next(storage, other).delta_bytes == len(NEXT)
    assert was_read(storage, pack)


def test_a_storage_that_cannot_tell_is_read(storage: FaultyStorage, index: ChunkIndex, pack: PackId) -> None:
    storage.fail("modified", where=pack_name(pack))
    assert add_next(storage, index).delta_bytes == len(NEXT)
    assert was_read(storage, pack)


def test_each_pack_is_looked_at_once(storage: FaultyStorage, index: ChunkIndex, pack: PackId) -> None:
    storage.calls.clear()
    fresh = FreshPacks(storage, index)
    assert [pack in fresh, pack in fresh] == [True, True]
    assert storage.calls.count(("modified", pack_name(pack))) == 1


def test_the_time_is_asked_for_once(storage: FaultyStorage, tmp_path: Path, index: ChunkIndex, pack: PackId) -> None:
    other = PackId("0" * 64)
    (tmp_path / pack_name(other)).write_bytes(bytes(1 << 21))
    time.sleep(TICK_SECONDS)
    storage.calls.clear()
    assert times_written(storage, {pack: 1 << 21, other: 1 << 21}).keys() == {pack, other}
    assert [kind for kind, _ in storage.calls].count("now") == 1
    index.add_packs({other: (1 << 21, [])}, times_written(storage, {other: 1 << 21}))
    storage.calls.clear()
    fresh = FreshPacks(storage, index)
    assert [pack in fresh, other in fresh] == [True, True]
    assert [kind for kind, _ in storage.calls].count("now") == 1


def test_it_is_not_noted_where_a_change_might_not_show(storage: FaultyStorage, pack: PackId, path: Path) -> None:
    packs = {pack: path.stat().st_size}
    assert times_written(storage, packs) == {pack: path.stat().st_mtime_ns}
    assert times_written(storage, {pack: 1 << 19}) == {}, "not worth it"
    assert times_written(MemoryStorage(), packs) == {}
    storage.fail("modified", where=pack_name(pack))
    assert times_written(storage, packs) == {}
    os.utime(path, (0, 10**9))
    assert times_written(storage, packs) == {}, "whole seconds"
    path.write_bytes(path.read_bytes())
    assert times_written(storage, packs) == {}, "just now"
    path.unlink()
    assert times_written(storage, packs) == {}
