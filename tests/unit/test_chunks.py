from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlver import codec
from mlver.chunks import MAX_BASE_DEPTH, ChunkReader, ChunkWriter
from mlver.digests import chunk_id
from mlver.errors import IntegrityError, MlverError
from mlver.ids import ChunkId, PackId
from mlver.store import tables
from mlver.store.chunk_index import ChunkIndex
from mlver.store.memory import MemoryStorage
from mlver.store.pack import PACK_TARGET_BYTES, FrameHeader, PackWriter, build_frame, pack_name
from mlver.store.sqlite import open_cache
from tests.support.faulty import FaultyStorage

RAW = codec.encode(b"", None).encoding
"""Number of the encoding that stores bytes as they are."""


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def index() -> ChunkIndex:
    return ChunkIndex(open_cache(None, [tables.SCHEMA]))


def write(storage: MemoryStorage | FaultyStorage, index: ChunkIndex, *chunks: bytes) -> ChunkWriter:
    with ChunkWriter(storage, index) as writer:
        for chunk in chunks:
            writer.append(writer.prepare(chunk, None))
        writer.finish()
    return writer


def forge(storage: MemoryStorage, *frames: tuple[ChunkId, bytes, ChunkId | None, int]) -> PackId:
    """Write a pack that is well-formed in every way, whose frames may lie about their chunks."""
    writer = PackWriter(storage.stage())
    for chunk, payload, base, raw_size in frames:
        writer.append(build_frame(FrameHeader(chunk, raw_size, RAW, base), [payload]))
    pack, _ = writer.finish()
    writer.staged.commit(pack_name(pack))
    return pack


def test_chunks_come_back(storage: MemoryStorage, index: ChunkIndex) -> None:
    pieces = [b"one", os.urandom(1 << 20), bytes(1 << 20), b"x"]
    write(storage, index, *pieces)
    reader = ChunkReader(storage, index)
    assert [bytes(reader.read(chunk_id(piece), len(piece))) for piece in pieces] == pieces
    wanted = [(chunk_id(piece), len(piece)) for piece in pieces]
    assert [bytes(raw) for raw in reader.read_many(wanted)] == pieces


def test_each_chunk_is_stored_once(storage: MemoryStorage, index: ChunkIndex) -> None:
    first = write(storage, index, b"one" * 100, b"two" * 100, b"one" * 100)
    assert (first.new_bytes, len(storage.list("packs"))) == (600, 1)
    second = write(storage, index, b"two" * 100, b"three" * 100)
    assert second.new_bytes == 500
    assert write(storage, index, b"one" * 100).new_bytes == 0
    assert len(storage.list("packs")) == 2


def test_equal_chunks_under_way_at_once_are_stored_once(storage: MemoryStorage, index: ChunkIndex) -> None:
    with ChunkWriter(storage, index) as writer, ThreadPoolExecutor(8) as pool:
        for prepared in list(pool.map(lambda _: writer.prepare(b"same" * 100, None), range(32))):
            writer.append(prepared)
        writer.finish()
    assert writer.new_bytes == 400


def test_nothing_is_known_before_it_is_finished(storage: MemoryStorage, index: ChunkIndex) -> None:
    with ChunkWriter(storage, index) as writer:
        writer.append(writer.prepare(b"one", None))
        assert index.find(chunk_id(b"one")) is None
    assert storage.list("packs") == []
    assert index.find(chunk_id(b"one")) is None


def test_full_packs_are_committed_while_the_next_is_filled(storage: MemoryStorage, index: ChunkIndex) -> None:
    count = PACK_TARGET_BYTES // (1 << 20) + 3
    pieces = [os.urandom(1 << 20) for _ in range(count)]
    writer = write(storage, index, *pieces)
    assert len(storage.list("packs")) == 2
    assert writer.stored_bytes >= writer.new_bytes == count << 20
    reader = ChunkReader(storage, index)
    assert all(bytes(reader.read(chunk_id(piece), 1 << 20)) == piece for piece in pieces)


@pytest.mark.parametrize("operation", ["write", "commit", "stage"])
def test_pack_that_cannot_be_written_leaves_nothing(storage: MemoryStorage, index: ChunkIndex, operation: str) -> None:
    faulty = FaultyStorage(storage)
    faulty.fail(operation)
    with pytest.raises(MlverError, match="Injected"):
        write(faulty, index, b"one")
    assert storage.list("packs") == []
    assert index.find(chunk_id(b"one")) is None
    write(faulty, index, b"one")
    assert ChunkReader(storage, index).read(chunk_id(b"one"), 3) == b"one"


def test_what_is_relied_on_is_made_durable(storage: MemoryStorage, index: ChunkIndex) -> None:
    write(storage, index, b"one")
    faulty = FaultyStorage(storage)
    write(faulty, index, b"one")
    assert ("sync", "packs") in faulty.calls


def read(storage: MemoryStorage, index: ChunkIndex, chunk: ChunkId, size: int) -> bytes:
    index.refresh(storage)
    return bytes(ChunkReader(storage, index).read(chunk, size))


def test_bytes_of_another_chunk_are_refused_though_every_checksum_is_right(
    storage: MemoryStorage, index: ChunkIndex
) -> None:
    forge(storage, (chunk_id(b"good"), b"evil", None, 4))
    with pytest.raises(IntegrityError, match="another digest"):
        read(storage, index, chunk_id(b"good"), 4)


def test_chunk_of_another_size_is_refused(storage: MemoryStorage, index: ChunkIndex) -> None:
    write(storage, index, b"good")
    with pytest.raises(IntegrityError, match="has 4 bytes instead of 5"):
        read(storage, index, chunk_id(b"good"), 5)


def test_frame_that_declares_another_size_is_refused(storage: MemoryStorage, index: ChunkIndex) -> None:
    forge(storage, (chunk_id(b"good"), b"good", None, 5))
    with pytest.raises(IntegrityError):
        read(storage, index, chunk_id(b"good"), 5)


def test_missing_chunk_and_missing_pack(storage: MemoryStorage, index: ChunkIndex) -> None:
    with pytest.raises(IntegrityError, match="is missing"):
        read(storage, index, chunk_id(b"none"), 4)
    write(storage, index, b"good")
    storage.delete("packs/" + storage.list("packs")[0])
    with pytest.raises(IntegrityError, match="is missing"):
        ChunkReader(storage, index).read(chunk_id(b"good"), 4)


def test_index_that_has_a_wrong_place_asks_the_pack(storage: MemoryStorage, index: ChunkIndex) -> None:
    write(storage, index, b"good", b"other")
    index._connection.execute("UPDATE chunks SET offset = offset + 1")
    assert ChunkReader(storage, index).read(chunk_id(b"good"), 4) == b"good"


def test_second_copy_is_read_where_the_first_is_damaged(storage: MemoryStorage, index: ChunkIndex) -> None:
    other = ChunkIndex(open_cache(None, [tables.SCHEMA]))
    write(storage, index, b"good")
    write(storage, other, b"more", b"good")  # by a writer who did not know of the first
    index.refresh(storage)
    for name in storage.list("packs"):
        whole = storage.read("packs/" + name)
        storage.put("packs/" + name, b"\0" * 60 + whole[60:])
        for reader in (ChunkReader(storage, index), ChunkReader(storage, other)):
            if len(storage.list("packs")) == 2:
                assert bytes(reader.read(chunk_id(b"good"), 4)) == b"good"
        storage.put("packs/" + name, whole)


def chain(length: int) -> Sequence[tuple[ChunkId, bytes, ChunkId | None, int]]:
    """Return frames each of which names the next as its base."""
    ids = [chunk_id(b"%d" % number) for number in range(length)]
    return [(one, b"x", base, 1) for one, base in zip(ids, [*ids[1:], None], strict=True)]


@pytest.mark.parametrize("length", [MAX_BASE_DEPTH + 2, 2000])
def test_chain_of_bases_that_is_too_long_is_refused(storage: MemoryStorage, index: ChunkIndex, length: int) -> None:
    frames = chain(length)
    forge(storage, *frames)
    with pytest.raises(IntegrityError, match="too long a chain"):
        read(storage, index, frames[0][0], 1)


def test_chain_of_bases_that_bites_its_tail_is_refused(storage: MemoryStorage, index: ChunkIndex) -> None:
    one, two = chunk_id(b"1"), chunk_id(b"2")
    forge(storage, (one, b"x", two, 1), (two, b"x", one, 1))
    with pytest.raises(IntegrityError, match="too long a chain"):
        read(storage, index, one, 1)


def test_base_that_is_missing_is_refused(storage: MemoryStorage, index: ChunkIndex) -> None:
    forge(storage, (chunk_id(b"1"), b"x", chunk_id(b"2"), 1))
    with pytest.raises(IntegrityError, match="is missing"):
        read(storage, index, chunk_id(b"1"), 1)
