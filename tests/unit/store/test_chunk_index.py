from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlver.errors import IntegrityError, MlverError, NotFoundError
from mlver.ids import ChunkId, PackId
from mlver.store import chunk_index
from mlver.store.chunk_index import ChunkIndex, Location
from mlver.store.frames import FrameHeader, build_frame
from mlver.store.local import LocalStorage
from mlver.store.memory import MemoryStorage
from mlver.store.pack import PackEntry, PackWriter, pack_name
from mlver.store.sqlite import CacheDamaged, open_cache
from mlver.store.tables import SCHEMA
from tests.support.faulty import FaultyStorage


def chunk(number: int) -> ChunkId:
    return ChunkId((number + 1).to_bytes(2, "big") * 16)


def write_pack(storage: MemoryStorage | LocalStorage, *chunks: ChunkId, bases: bytes = b"") -> PackId:
    writer = PackWriter(storage.stage())
    for one in chunks:
        writer.append(build_frame(FrameHeader(one, 3, 200, bases), [b"xyz"]))
    pack, _ = writer.finish()
    writer.staged.commit(pack_name(pack))
    return pack


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def index() -> ChunkIndex:
    return ChunkIndex(open_cache(None, [SCHEMA]))


def test_a_chunk_is_found_where_it_is(index: ChunkIndex) -> None:
    pack = PackId("a" * 64)
    entries = [PackEntry(chunk(1), b"", 0, 60, 4, 0), PackEntry(chunk(2), chunk(1), 60, (1 << 24) + 88, 1 << 24, 255)]
    index.add_pack(pack, 1 << 33, entries)
    for entry in entries:
        assert index.find(entry.chunk) == Location(pack, entry)
    assert index.find(chunk(3)) is None
    assert index.packs() == {pack: 1 << 33}
    assert index.entries(pack) == entries
    assert index.entries(PackId("b" * 64)) == []


def test_many_chunks_are_found_at_once(index: ChunkIndex, storage: MemoryStorage) -> None:
    write_pack(storage, *map(chunk, range(2000)))
    index.refresh(storage)
    found = index.find_many(map(chunk, range(1000, 3000)))
    assert sorted(found) == list(map(chunk, range(1000, 2000)))
    assert all(found[one] == index.find(one) for one in found)
    assert index.find_many([]) == {}


def test_a_chunk_in_two_packs_outlives_one_of_them(index: ChunkIndex, storage: MemoryStorage) -> None:
    one, two = write_pack(storage, chunk(1), chunk(2)), write_pack(storage, chunk(2), chunk(3))
    index.refresh(storage)
    assert {place.pack for place in index.find_all(chunk(2))} == {one, two}
    for gone, left in ((one, two), (two, one)):
        index.forget_pack(gone)
        found = index.find(chunk(2))
        assert found
        assert found.pack == left
        index.reload_pack(storage, gone)
    index.forget_pack(one)
    assert index.find(chunk(1)) is None


def test_a_pack_is_added_once(index: ChunkIndex) -> None:
    entry = PackEntry(chunk(1), b"", 0, 60, 4, 0)
    for _ in range(2):
        index.add_pack(PackId("a" * 64), 200, [entry])
    assert index.find_all(chunk(1)) == [Location(PackId("a" * 64), entry)]


def test_refresh_catches_up_with_what_others_did(index: ChunkIndex, storage: MemoryStorage) -> None:
    one, two = write_pack(storage, chunk(1)), write_pack(storage, chunk(2), bases=chunk(1))
    storage.put("packs/README", b"not a pack")
    first = index.refresh(storage)
    assert (first.added, first.dropped, first.damaged) == (tuple(sorted((one, two))), (), ())
    storage.delete(pack_name(one))
    three = write_pack(storage, chunk(3))
    second = index.refresh(storage)
    assert (second.added, second.dropped, second.damaged) == ((three,), (one,), ())
    assert index.find(chunk(1)) is None
    assert index.packs() == {pack: storage.size(pack_name(pack)) for pack in (two, three)}
    assert index.refresh(storage).added == ()


def test_a_refresh_in_many_transactions_is_the_same(
    index: ChunkIndex, storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_index, "_TRANSACTION_ENTRIES", 2)
    packs = [write_pack(storage, chunk(number)) for number in range(7)]
    assert index.refresh(storage).added == tuple(sorted(packs))
    assert len(index.find_many(map(chunk, range(7)))) == 7


def test_a_damaged_pack_is_told_and_hides_no_other(index: ChunkIndex, storage: MemoryStorage) -> None:
    one, two = write_pack(storage, chunk(1)), write_pack(storage, chunk(2))
    intact = storage.read(pack_name(one))
    storage.put(pack_name(one), intact[:-1])
    result = index.refresh(storage)
    assert result.added == (two,)
    assert len(result.damaged) == 1
    assert one in result.damaged[0]
    storage.put(pack_name(one), intact)
    assert index.refresh(storage).added == (one,)


def test_a_pack_that_vanishes_meanwhile_is_absent(index: ChunkIndex, storage: MemoryStorage) -> None:
    one, two = write_pack(storage, chunk(1)), write_pack(storage, chunk(2))
    racing = FaultyStorage(storage)
    racing.before("size", lambda: storage.delete(pack_name(one)), where=one)
    result = index.refresh(racing)
    assert (result.added, result.damaged) == ((two,), ())


@pytest.mark.parametrize("operation", ["list", "size", "read"])
def test_a_storage_that_fails_drops_nothing(index: ChunkIndex, storage: MemoryStorage, operation: str) -> None:
    one = write_pack(storage, chunk(1))
    index.refresh(storage)
    two = write_pack(storage, chunk(2))
    failing = FaultyStorage(storage)
    failing.fail(operation)
    with pytest.raises(MlverError, match="Injected"):
        index.refresh(failing)
    assert set(index.packs()) == {one}
    assert index.refresh(failing).added == (two,)


def test_a_pack_is_asked_again_when_the_cache_was_wrong(index: ChunkIndex, storage: MemoryStorage) -> None:
    pack = write_pack(storage, chunk(1))
    index.add_pack(pack, 1, [PackEntry(chunk(1), b"", 5, 60, 4, 0), PackEntry(chunk(9), b"", 65, 60, 4, 0)])
    index.reload_pack(storage, pack)
    assert index.find(chunk(9)) is None
    found = index.find(chunk(1))
    assert found
    assert found.entry.offset == 0
    assert index.packs() == {pack: storage.size(pack_name(pack))}
    storage.put(pack_name(pack), b"rot")
    with pytest.raises(IntegrityError):
        index.reload_pack(storage, pack)
    assert index.packs() == {}
    with pytest.raises(NotFoundError):
        index.reload_pack(storage, PackId("b" * 64))


def test_every_method_tells_of_a_damaged_cache(storage: MemoryStorage) -> None:
    connection = open_cache(None, [SCHEMA])
    connection.execute("DROP TABLE chunks")
    connection.execute("DROP TABLE packs")
    index = ChunkIndex(connection)
    pack = write_pack(storage, chunk(1))
    calls = (
        lambda: index.find(chunk(1)),
        lambda: index.find_all(chunk(1)),
        lambda: index.find_many([chunk(1)]),
        index.packs,
        lambda: index.entries(pack),
        lambda: index.add_pack(pack, 1, []),
        lambda: index.forget_pack(pack),
        lambda: index.refresh(storage),
    )
    for call in calls:
        with pytest.raises(CacheDamaged):
            call()


def test_threads_look_up_while_one_adds(tmp_path: Path) -> None:
    index = ChunkIndex(open_cache(tmp_path / "index.sqlite", [SCHEMA]))
    ids = [ChunkId(os.urandom(32)) for _ in range(2000)]

    def add() -> None:
        for start in range(0, 2000, 100):
            entries = [PackEntry(one, b"", 60 * place, 60, 4, 0) for place, one in enumerate(ids[start : start + 100])]
            index.add_pack(PackId(f"{start:064x}"), 6000, entries)

    def look(offset: int) -> None:
        for position, one in enumerate(ids[offset::4]):
            found = index.find(one)
            assert found is None or found.entry.chunk == one, position

    with ThreadPoolExecutor(5) as threads:
        jobs = [threads.submit(add), *[threads.submit(look, offset) for offset in range(4)]]
        for job in jobs:
            job.result()
    assert len(index.find_many(ids)) == 2000
