from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from mlver import codec
from mlver.chunks import MAX_BASE_DEPTH, MAX_CHAIN, Base, ChunkReader, ChunkWriter, Piece
from mlver.digests import Buffer, chunk_id
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
            writer.append(*writer.prepare([Piece(chunk)]))
        writer.finish()
    return writer


def forge(storage: MemoryStorage, *frames: tuple[ChunkId, bytes, ChunkId | None, int]) -> PackId:
    """Write a pack that is well-formed in every way, whose frames may lie about their chunks."""
    writer = PackWriter(storage.stage())
    for chunk, payload, base, raw_size in frames:
        writer.append(build_frame(FrameHeader(chunk, raw_size, RAW, base or b""), [payload]))
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
        for prepared in list(pool.map(lambda _: writer.prepare([Piece(b"same" * 100)]), range(32))):
            writer.append(*prepared)
        writer.finish()
    assert writer.new_bytes == 400


def test_nothing_is_known_before_it_is_finished(storage: MemoryStorage, index: ChunkIndex) -> None:
    with ChunkWriter(storage, index) as writer:
        writer.append(*writer.prepare([Piece(b"one")]))
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


def store_whole(storage: MemoryStorage, *chunks: bytes) -> PackId:
    return forge(storage, *[(chunk_id(chunk), chunk, None, len(chunk)) for chunk in chunks])


def store_against(storage: MemoryStorage, chunk: bytes, base: bytes) -> PackId:
    """Write a pack with one chunk of F32 elements, stored against another one."""
    encoded = codec.encode(chunk, "F32", base)
    assert encoded.encoding in codec.BASE_ENCODINGS
    writer = PackWriter(storage.stage())
    header = FrameHeader(chunk_id(chunk), len(chunk), encoded.encoding, chunk_id(base))
    writer.append(build_frame(header, encoded.parts))
    pack, _ = writer.finish()
    writer.staged.commit(pack_name(pack))
    return pack


def similar(count: int) -> list[bytes]:
    """Return chunks each of which resembles the one before."""
    random = np.random.default_rng(0)
    values = random.normal(size=4096).astype("<f4")
    return [(values + np.float32(1e-6) * number).astype("<f4").tobytes() for number in range(count)]


def test_chunks_rest_on_bases_of_other_packs(storage: MemoryStorage, index: ChunkIndex) -> None:
    one, two, three = similar(3)
    store_whole(storage, one)
    store_against(storage, two, one)
    store_against(storage, three, two)
    index.refresh(storage)
    found = ChunkReader(storage, index).decode(chunk_id(three))
    assert (bytes(found.raw), found.depth) == (three, 2)
    assert found.root is not None
    assert (found.root.chunk, bytes(found.root.raw), found.root.depth) == (chunk_id(one), one, 0)


def test_chunks_are_located_with_all_that_they_rest_on(storage: MemoryStorage, index: ChunkIndex) -> None:
    one, two, three, four = similar(4)
    packs = [store_whole(storage, one), store_against(storage, two, one), store_against(storage, three, two)]
    store_whole(storage, four)
    index.refresh(storage)
    places = ChunkReader(storage, index).locate([chunk_id(three), chunk_id(b"nowhere")])
    assert {chunk: place.pack for chunk, place in places.items()} == dict(
        zip(map(chunk_id, [one, two, three]), packs, strict=True)
    )
    assert (
        bytes(ChunkReader(storage, ChunkIndex(open_cache(None, [tables.SCHEMA]))).decode(chunk_id(three), places).raw)
        == three
    )


class Reads(MemoryStorage):
    """Notes what is read of packs, as (start, length)."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[int, int | None]] = []

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        self.noted.append((start, length))
        return super().read(name, start, length)


def test_frames_that_lie_together_are_read_together(index: ChunkIndex) -> None:
    storage = Reads()
    pieces = [os.urandom(1 << 20) for _ in range(6)]
    write(storage, index, *pieces)
    wanted = [(chunk_id(piece), 1 << 20) for piece in pieces]
    lengths = [place.entry.frame_length for place in map(index.find, map(chunk_id, pieces)) if place is not None]
    for asked, together in (
        ([0, 1, 2], [3]),
        ([0, 2, 3], [1, 2]),
        ([0, 1, 2, 3, 4, 5], [3, 3]),
        ([4, 3], [2]),
        ([5], [1]),
    ):
        storage.noted.clear()
        read = ChunkReader(storage, index).read_many([wanted[number] for number in asked])
        assert [bytes(raw) for raw in read] == [pieces[number] for number in asked]
        assert sorted(length or 0 for _, length in storage.noted) == sorted(count * lengths[0] for count in together)


def test_frames_that_are_asked_for_in_another_order_are_not_all_held(
    index: ChunkIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlver.chunks.places._READ_BYTES", 5000)
    storage = Reads()
    pieces = [os.urandom(1000) for _ in range(4 * 40)]
    write(storage, index, *pieces)
    places = ChunkReader(storage, index).locate(map(chunk_id, pieces))
    storage.noted.clear()
    for piece in pieces[::4] + pieces[1::4] + pieces[2::4] + pieces[3::4] + pieces:
        _, payload = places.frame(chunk_id(piece), places[chunk_id(piece)])
        assert bytes(payload) == piece
        assert len(places._held) <= 16
    together = [length for _, length in storage.noted if (length or 0) > 2000]
    assert len(together) == 40
    assert len(storage.noted) > 4 * 40 + 3 * (40 - 16), "then, and once all were asked for, they are read one by one"


def test_what_lies_beside_a_damaged_frame_can_be_read(storage: MemoryStorage, index: ChunkIndex) -> None:
    pieces = [os.urandom(1000) for _ in range(3)]
    write(storage, index, *pieces)
    (pack,) = storage.list("packs")
    middle = index.find(chunk_id(pieces[1]))
    assert middle is not None
    whole = storage.read(f"packs/{pack}")
    at = middle.entry.offset + middle.entry.frame_length - 1
    spoilt = {"rot": whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], "cut": whole[:at]}
    for readable, content in ((0, 2), spoilt["rot"]), ((0,), spoilt["cut"]):
        storage.put(f"packs/{pack}", content)
        for number, piece in enumerate(pieces):
            reader = ChunkReader(storage, index)
            places = reader.locate(map(chunk_id, pieces))
            assert reader.depth(chunk_id(piece), places) == (0 if number in readable else None)


def test_copies_that_rest_on_each_other_do_not_hide_a_whole_one(storage: MemoryStorage, index: ChunkIndex) -> None:
    one, two, three = similar(3)
    store_against(storage, one, two)
    store_against(storage, two, three)
    store_against(storage, three, one)
    index.refresh(storage)
    reader = ChunkReader(storage, index)
    for chunk in (one, two, three):
        with pytest.raises(IntegrityError, match="too long a chain"):
            reader.decode(chunk_id(chunk))
    store_whole(storage, two)
    index.refresh(storage)
    assert [bytes(reader.decode(chunk_id(chunk)).raw) for chunk in (one, two, three)] == [one, two, three]


def test_a_maze_of_copies_ends(storage: MemoryStorage, index: ChunkIndex) -> None:
    """Every chunk rests on every other one: there are more ways through than anyone can try."""
    chunks = similar(12)
    for chunk in chunks:
        for base in chunks:
            if chunk != base:
                store_against(storage, chunk, base)
    index.refresh(storage)
    with pytest.raises(IntegrityError, match="chain"):
        ChunkReader(storage, index).decode(chunk_id(chunks[0]))


def test_a_copy_that_is_damaged_does_not_hide_a_sound_one(storage: MemoryStorage, index: ChunkIndex) -> None:
    whole = similar(1)[0]
    forge(storage, (chunk_id(whole), b"x" * len(whole), None, len(whole)))
    store_whole(storage, whole)
    index.refresh(storage)
    assert bytes(ChunkReader(storage, index).read(chunk_id(whole), len(whole))) == whole


def test_chunks_that_were_written_anew_meanwhile_are_found(storage: MemoryStorage, index: ChunkIndex) -> None:
    whole = similar(1)[0]
    old = store_whole(storage, whole)
    index.refresh(storage)
    store_whole(storage, whole, b"more")
    storage.delete(pack_name(old))
    assert bytes(ChunkReader(storage, index).read(chunk_id(whole), len(whole))) == whole


def test_a_cast_rests_on_two_chunks(storage: MemoryStorage, index: ChunkIndex) -> None:
    wide = np.random.default_rng(0).normal(size=1 << 19).astype("<f4")
    halves = [wide[: 1 << 18].tobytes(), wide[1 << 18 :].tobytes()]
    narrow = (wide.view("<u4") >> 16).astype("<u2").tobytes()
    write(storage, index, *halves)
    with ChunkWriter(storage, index) as writer:
        base = Base((chunk_id(halves[0]), chunk_id(halves[1])), "F32")
        writer.append(*writer.prepare([Piece(narrow, "BF16", base)]))
        writer.finish()
    assert writer.stored_bytes < 1000
    assert bytes(read(storage, index, chunk_id(narrow), len(narrow))) == narrow


def test_what_decodes_to_something_else_is_never_stored(
    storage: MemoryStorage, index: ChunkIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = np.random.default_rng(0).normal(size=1 << 18).astype("<f4").tobytes()
    encode = codec.encode

    def wrong(data: Buffer, *args: Any, **options: Any) -> codec.Encoded:
        flipped = bytearray(data)
        flipped[77] ^= 1
        return encode(flipped, *args, **options)

    monkeypatch.setattr(codec, "encode", wrong)
    with ChunkWriter(storage, index) as writer, pytest.raises(IntegrityError, match="did not come back"):
        writer.prepare([Piece(raw, "F32")])


class Lying:
    """Chunks that lie outside the store, or what is in their places now."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = {chunk_id(chunk): chunk for chunk in chunks}

    def read(self, chunks: Iterable[ChunkId]) -> dict[ChunkId, Buffer]:
        return {chunk: self.chunks[chunk] for chunk in chunks if chunk in self.chunks}


def add_against(
    storage: MemoryStorage, index: ChunkIndex, chunk: bytes, base: bytes, originals: Lying | None = None
) -> ChunkWriter:
    with ChunkWriter(storage, index, originals=originals) as writer:
        writer.append(*writer.prepare([Piece(chunk, "F32", Base((chunk_id(base),), "F32"))]))
        writer.finish()
    return writer


def test_a_base_that_lies_elsewhere_is_not_decoded(storage: MemoryStorage, index: ChunkIndex) -> None:
    base, chunk = similar(2)
    forge(storage, (chunk_id(base), bytes(len(base)), None, len(base)))  # sound, but for what it decodes to
    index.refresh(storage)
    assert add_against(storage, index, chunk, base, Lying(base)).delta_bytes == len(chunk)
    store_whole(storage, base)
    index.refresh(storage)
    assert bytes(read(storage, index, chunk_id(chunk), len(chunk))) == chunk


def test_what_lies_elsewhere_is_believed_by_its_digest_only(storage: MemoryStorage, index: ChunkIndex) -> None:
    base, chunk, other = similar(3)
    write(storage, index, base)
    originals = Lying()
    originals.chunks[chunk_id(base)] = other
    assert add_against(storage, index, chunk, base, originals).delta_bytes == len(chunk)
    assert bytes(read(storage, index, chunk_id(chunk), len(chunk))) == chunk


@pytest.mark.parametrize("step", [0, 1], ids=["base", "base of the base"])
def test_a_base_that_the_store_cannot_give_back_is_not_built_upon(
    storage: MemoryStorage, index: ChunkIndex, step: int
) -> None:
    lowest, base, chunk = similar(3)
    packs = [store_against(storage, base, lowest), store_whole(storage, lowest)]
    index.refresh(storage)
    whole = storage.read(pack_name(packs[step]))
    storage.put(pack_name(packs[step]), whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    writer = add_against(storage, index, chunk, base, Lying(lowest, base))
    assert (writer.delta_bytes, len(writer.base_problems)) == (0, 1)
    assert bytes(read(storage, index, chunk_id(chunk), len(chunk))) == chunk


def test_a_base_that_is_only_elsewhere_is_not_built_upon(storage: MemoryStorage, index: ChunkIndex) -> None:
    base, chunk = similar(2)
    assert add_against(storage, index, chunk, base, Lying(base)).delta_bytes == 0
    assert bytes(read(storage, index, chunk_id(chunk), len(chunk))) == chunk


def test_chains_are_as_short_where_bases_lie_elsewhere(storage: MemoryStorage, index: ChunkIndex) -> None:
    chunks = similar(MAX_CHAIN + 3)
    write(storage, index, chunks[0])
    for base, chunk in pairwise(chunks):
        assert add_against(storage, index, chunk, base, Lying(base)).delta_bytes == len(chunk)
    depths = [ChunkReader(storage, index).decode(chunk_id(chunk)).depth for chunk in chunks]
    assert depths == [*range(MAX_CHAIN + 1), 1, 2]
    places = ChunkReader(storage, index).locate(map(chunk_id, chunks))
    assert [ChunkReader(storage, index).depth(chunk_id(chunk), places) for chunk in chunks] == depths


def test_no_depth_is_told_of_a_chain_without_an_end(storage: MemoryStorage, index: ChunkIndex) -> None:
    one, two = chunk_id(b"1"), chunk_id(b"2")
    forge(storage, (one, b"x", two, 1), (two, b"x", one, 1))
    index.refresh(storage)
    reader = ChunkReader(storage, index)
    assert reader.depth(one, reader.locate([one])) is None
