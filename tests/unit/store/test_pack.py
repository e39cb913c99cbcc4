from __future__ import annotations

import struct

import blake3
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from mlver.digests import chunk_id
from mlver.errors import IntegrityError, MlverError, NotFoundError
from mlver.ids import ChunkId, PackId
from mlver.store import pack as pack_module
from mlver.store.frames import MAX_CHUNK_BYTES, Frame, FrameHeader, build_frame, parse_frame
from mlver.store.memory import MemoryStorage
from mlver.store.pack import (
    PackEntry,
    PackWriter,
    check_frame,
    pack_id_of,
    pack_name,
    read_frame,
    read_pack_index,
    split_bases,
)
from mlver.store.rescan import rescan

BASE = ChunkId(b"B" * 32)


def frame(raw: bytes, bases: bytes = b"", encoding: int = 7) -> Frame:
    return build_frame(FrameHeader(chunk_id(raw), len(raw), encoding, bases), [raw[:3], memoryview(raw)[3:]])


def write_pack(storage: MemoryStorage, *frames: Frame) -> tuple[PackId, list[PackEntry]]:
    writer = PackWriter(storage.stage())
    for one in frames:
        writer.append(one)
    pack, entries = writer.finish()
    writer.staged.commit(pack_name(pack))
    return pack, entries


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def small(storage: MemoryStorage) -> PackId:
    return write_pack(storage, frame(b"first"), frame(b"second", BASE), frame(b"", encoding=255))[0]


def test_small_frames_are_gathered_but_never_more_of_them_than_a_mib(storage: MemoryStorage) -> None:
    frames = [frame(number.to_bytes(2, "little") * 30_000) for number in range(40)]
    writer = PackWriter(storage.stage())
    written = []
    for one in frames:
        writer.append(one)
        written.append(writer.staged.size_bytes)
    total = sum(one.size_bytes for one in frames)
    steps = sorted(set(written))
    assert steps[0] == 0
    assert len(steps) == total // (1 << 20) + 1
    assert total - steps[-1] < 1 << 20


def test_what_was_written_is_read(storage: MemoryStorage) -> None:
    raws = [b"", b"a", b"hello world" * 100, bytes(1 << 20)]
    frames = [frame(raw, BASE if index % 2 else b"", index) for index, raw in enumerate(raws)]
    pack, entries = write_pack(storage, *frames)
    assert read_pack_index(storage, pack_name(pack)) == entries
    for raw, entry, written in zip(raws, entries, frames, strict=True):
        header, payload = read_frame(storage, pack, entry)
        assert header == written.header
        assert payload == raw


def test_a_frame_may_have_two_bases(storage: MemoryStorage) -> None:
    two = BASE + chunk_id(b"another")
    frames = [frame(b"first", two), frame(b"second", BASE), frame(b"third")]
    pack, entries = write_pack(storage, *frames)
    assert [split_bases(entry.bases) for entry in entries] == [[BASE, chunk_id(b"another")], [BASE], []]
    assert read_pack_index(storage, pack_name(pack)) == entries
    assert [read_frame(storage, pack, entry)[0] for entry in entries] == [one.header for one in frames]
    for wrong in (BASE + b"x", two + BASE, chunk_id(b"first") + BASE, BASE + chunk_id(b"first")):
        with pytest.raises(ValueError, match="cannot be"):
            frame(b"first", wrong)


def test_the_layout_is_the_documented_one(storage: MemoryStorage) -> None:
    """Written out by hand from the module's docstring, so that neither can change alone."""
    pack, _ = write_pack(storage, frame(b"abcdef"), frame(b"xyz", BASE, 9))
    first = struct.pack("<4sIIBBH32s", b"\x89ML1", 6, 6, 7, 0, 0, chunk_id(b"abcdef"))
    second = struct.pack("<4sIIBBH32s", b"\x89ML1", 3, 3, 9, 1, 0, chunk_id(b"xyz")) + BASE
    first_sum, second_sum = xxhash.xxh3_64_intdigest(first + b"abcdef"), xxhash.xxh3_64_intdigest(second + b"xyz")
    frames = first + struct.pack("<Q", first_sum) + b"abcdef" + second + struct.pack("<Q", second_sum) + b"xyz"
    index = struct.pack("<32s32sQQIIB3x", chunk_id(b"abcdef"), bytes(32), 0, first_sum, 62, 6, 7)
    index += struct.pack("<32s32sQQIIB3x", chunk_id(b"xyz"), BASE, 62, second_sum, 91, 3, 9)
    trailer = struct.pack("<QII32s", len(frames), 2, 1, blake3.blake3(index).digest())
    trailer += struct.pack("<Q", xxhash.xxh3_64_intdigest(trailer)) + b"\x89MLVPACK"
    assert storage.read(pack_name(pack)) == frames + index + trailer
    assert pack == blake3.blake3(index).hexdigest()
    assert len(index) == 2 * 92
    assert len(trailer) == 64


def read_everything(storage: MemoryStorage, pack: PackId) -> None:
    for entry in read_pack_index(storage, pack_name(pack)):
        read_frame(storage, pack, entry)


def test_every_changed_byte_is_found(storage: MemoryStorage, small: PackId) -> None:
    intact = storage.read(pack_name(small))
    read_everything(storage, small)
    for position in range(len(intact)):
        for mask in (0x01, 0xFF):
            rotten = bytearray(intact)
            rotten[position] ^= mask
            storage.put(pack_name(small), rotten)
            with pytest.raises(IntegrityError, match=small):
                read_everything(storage, small)


def test_every_truncation_and_every_growth_is_found(storage: MemoryStorage, small: PackId) -> None:
    intact = storage.read(pack_name(small))
    for damaged in [intact[:size] for size in range(len(intact))] + [intact + b"\0", b"\0" + intact, intact + intact]:
        storage.put(pack_name(small), damaged)
        with pytest.raises(IntegrityError, match=small):
            read_everything(storage, small)


def test_a_pack_under_another_name_is_refused(storage: MemoryStorage, small: PackId) -> None:
    other = pack_name(PackId("0" * 64))
    storage.put(other, storage.read(pack_name(small)))
    with pytest.raises(IntegrityError, match="it is the pack " + small):
        read_pack_index(storage, other)


def test_an_absent_pack_is_not_found(storage: MemoryStorage, small: PackId) -> None:
    (entry, *_) = read_pack_index(storage, pack_name(small))
    storage.delete(pack_name(small))
    with pytest.raises(NotFoundError):
        read_pack_index(storage, pack_name(small))
    with pytest.raises(NotFoundError):
        read_frame(storage, small, entry)


ENTRY = struct.Struct("<32s32sQQIIB3x")


def forge(
    storage: MemoryStorage, frames: bytes, entries: list[bytes], version: int = 1, count: int | None = None
) -> str:
    """Write a pack that says of itself what an attacker wants, with all digests right."""
    index = b"".join(entries)
    digest = blake3.blake3(index).digest()
    trailer = struct.pack("<QII32s", len(frames), len(entries) if count is None else count, version, digest)
    name = pack_name(PackId(digest.hex()))
    storage.put(name, frames + index + trailer + xxhash.xxh3_64(trailer).digest()[::-1] + b"\x89MLVPACK")
    return name


def test_forged_packs_are_refused(storage: MemoryStorage) -> None:
    a, b = b"a" * 32, b"b" * 32
    none = bytes(32)
    good = [ENTRY.pack(a, none, 0, 0, 60, 4, 0), ENTRY.pack(b, none, 60, 0, 60, 4, 0)]
    assert len(read_pack_index(storage, forge(storage, bytes(120), good))) == 2
    forgeries = {
        "overlap": [good[0], ENTRY.pack(b, none, 59, 0, 61, 4, 0)],
        "gap": [ENTRY.pack(a, none, 0, 0, 59, 4, 0), good[1]],
        "past the end": [good[0], ENTRY.pack(b, none, 60, 0, 61, 4, 0)],
        "short of the end": [good[0], ENTRY.pack(b, none, 60, 0, 59, 4, 0)],
        "same frame twice": [ENTRY.pack(a, none, 0, 0, 120, 4, 0), ENTRY.pack(b, none, 0, 0, 120, 4, 0)],
        "far offset": [ENTRY.pack(a, none, (1 << 64) - 60, 0, 60, 4, 0), good[1]],
        "no room for a header": [ENTRY.pack(a, none, 0, 0, 55, 4, 0), ENTRY.pack(b, none, 55, 0, 65, 4, 0)],
        "no room for a base": [ENTRY.pack(a, b, 0, 0, 60, 4, 0), good[1]],
        "its own base": [ENTRY.pack(a, a, 0, 0, 60 + 60, 4, 0)],
        "a bomb": [ENTRY.pack(a, none, 0, 0, 60, MAX_CHUNK_BYTES + 1, 0), good[1]],
        "nothing": [],
    }
    for what, entries in forgeries.items():
        with pytest.raises(IntegrityError):
            pytest.fail(f"{what}: {read_pack_index(storage, forge(storage, bytes(120), entries))}")
    for count in (0, 1, 3, 1 << 20, (1 << 32) - 1):
        with pytest.raises(IntegrityError):
            read_pack_index(storage, forge(storage, bytes(120), good, count=count))


def test_a_format_of_the_future_is_refused_with_a_hint(storage: MemoryStorage) -> None:
    name = forge(storage, bytes(60), [ENTRY.pack(b"a" * 32, bytes(32), 0, 0, 60, 4, 0)], version=3)
    with pytest.raises(IntegrityError, match="format 3") as caught:
        read_pack_index(storage, name)
    assert caught.value.hint == "Upgrade mlver."


@given(st.binary(max_size=400))
def test_bytes_that_are_no_pack_raise_only_integrity_errors(data: bytes) -> None:
    storage = MemoryStorage()
    name = pack_name(PackId("0" * 64))
    storage.put(name, data)
    with pytest.raises(IntegrityError):
        read_pack_index(storage, name)
    list(rescan(storage, name))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_frame_raise_only_integrity_errors(data: bytes) -> None:
    for candidate in (data, b"\x89ML1" + data):
        with pytest.raises(IntegrityError):
            parse_frame(candidate, "x")


@pytest.mark.parametrize("position", [13, 14, 15])
def test_reserved_bits_are_refused_even_with_a_matching_checksum(position: int) -> None:
    intact = frame(b"raw")
    fixed = bytearray(intact.head[:-8])
    fixed[position] |= 0x80
    with pytest.raises(IntegrityError):
        parse_frame(bytes(fixed) + struct.pack("<Q", xxhash.xxh3_64_intdigest(bytes(fixed) + b"raw")) + b"raw", "x")


def test_an_intact_frame_that_is_not_the_indexed_one_is_refused(storage: MemoryStorage, small: PackId) -> None:
    entry = read_pack_index(storage, pack_name(small))[1]
    data = storage.read(pack_name(small), entry.offset, entry.frame_length)
    check_frame(data, small, entry)
    wrong = [
        entry._replace(chunk=BASE),
        entry._replace(bases=b""),
        entry._replace(raw_size=entry.raw_size + 1),
        entry._replace(encoding=entry.encoding + 1),
    ]
    for other in wrong:
        with pytest.raises(IntegrityError, match="not the one"):
            check_frame(data, small, other)
    for piece in (data[:-1], data + b"\0"):
        with pytest.raises(IntegrityError):
            check_frame(piece, small, entry)


def test_the_index_is_read_in_two_requests_when_it_is_long(storage: MemoryStorage) -> None:
    from tests.support.faulty import FaultyStorage

    for count, requests in ((10, 1), (800, 2)):
        pack, entries = write_pack(storage, *[frame(b"%d" % number) for number in range(count)])
        watched = FaultyStorage(storage)
        assert read_pack_index(watched, pack_name(pack)) == entries
        assert [call for call, _ in watched.calls] == ["size"] + ["read"] * requests


def test_equal_frames_make_equal_packs_and_other_payloads_other_names(storage: MemoryStorage) -> None:
    header = FrameHeader(chunk_id(b"raw"), 3, 1)
    one = write_pack(storage, build_frame(header, [b"abc"]))[0]
    same = write_pack(storage, build_frame(header, [b"a", b"", b"bc"]))[0]
    other = write_pack(storage, build_frame(header, [b"abd"]))[0]
    assert one == same != other


def test_what_no_frame_can_hold_is_a_bug_of_the_caller() -> None:
    large = bytes(MAX_CHUNK_BYTES + 1)
    build_frame(FrameHeader(BASE, MAX_CHUNK_BYTES, 1), [large[1:]])
    for header, payload in (
        (FrameHeader(BASE, 1, 1), large),
        (FrameHeader(BASE, len(large), 1), b""),
        (FrameHeader(BASE, 1, 1, BASE), b"x"),
    ):
        with pytest.raises(ValueError, match="No frame can hold"):
            build_frame(header, [payload])


def test_an_empty_pack_is_a_bug_of_the_caller(storage: MemoryStorage) -> None:
    with pytest.raises(ValueError, match="at least one"):
        PackWriter(storage.stage()).finish()


def test_a_pack_is_full_by_size_or_by_count(storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_module, "PACK_TARGET_BYTES", 1000)
    monkeypatch.setattr(pack_module, "PACK_MAX_ENTRIES", 4)

    def fullness(frames: list[Frame]) -> list[bool]:
        writer = PackWriter(storage.stage())
        full = []
        for one in frames:
            writer.append(one)
            full.append(writer.is_full)
        return full

    assert fullness([frame(bytes(943)), frame(b"")]) == [False, True]
    assert fullness([frame(b"%d" % number) for number in range(4)]) == [False, False, False, True]


def test_names() -> None:
    pack = PackId("0123456789abcdef" * 4)
    assert pack_id_of(pack_name(pack)) == pack
    assert pack_id_of(f"{pack}.pack") == pack
    for name in (
        pack,
        f"{pack[:-1]}.pack",
        f"{pack.upper()}.pack",
        f"{pack}.pack.pack",
        f"other/{pack}.pack",
        "x.pack",
        "",
    ):
        assert pack_id_of(name) is None


class TestRescan:
    def payloads(self, storage: MemoryStorage, pack: PackId) -> list[bytes]:
        return [bytes(payload) for _, payload in rescan(storage, pack_name(pack))]

    def test_an_intact_pack_gives_what_its_index_says(self, storage: MemoryStorage, small: PackId) -> None:
        found = list(rescan(storage, pack_name(small)))
        assert [entry for entry, _ in found] == read_pack_index(storage, pack_name(small))
        assert [bytes(payload) for _, payload in found] == [b"first", b"second", b""]

    def test_a_lost_index_loses_nothing(self, storage: MemoryStorage, small: PackId) -> None:
        last = read_pack_index(storage, pack_name(small))[-1]
        storage.put(pack_name(small), storage.read(pack_name(small), 0, last.offset + last.frame_length))
        assert self.payloads(storage, small) == [b"first", b"second", b""]

    def test_any_one_changed_byte_loses_at_most_its_frame(self, storage: MemoryStorage, small: PackId) -> None:
        intact = storage.read(pack_name(small))
        entries = read_pack_index(storage, pack_name(small))
        for position in range(len(intact)):
            rotten = bytearray(intact)
            rotten[position] ^= 0xFF
            storage.put(pack_name(small), rotten)
            hit = [entry.offset <= position < entry.offset + entry.frame_length for entry in entries]
            expected = [raw for raw, lost in zip((b"first", b"second", b""), hit, strict=True) if not lost]
            assert self.payloads(storage, small) == expected

    def test_garbage_in_front_and_between_is_passed_over(self, storage: MemoryStorage) -> None:
        def whole(one: Frame) -> bytes:
            return one.head + b"".join(one.parts)

        name = pack_name(PackId("0" * 64))
        garbage = b"\x89ML1" * 1000 + bytes((1 << 20) + 1) + b"\x89ML"
        storage.put(name, garbage + whole(frame(b"one")) + garbage + whole(frame(b"two", BASE)) + garbage)
        assert [bytes(payload) for _, payload in rescan(storage, name)] == [b"one", b"two"]

    def test_a_frame_across_the_edge_of_a_window_is_found(
        self, storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mlver.store.rescan._WINDOW_BYTES", 16)
        one = frame(b"one")
        for offset in range(40):
            name = pack_name(PackId("0" * 64))
            storage.put(name, bytes(offset) + one.head + b"one")
            assert [entry.offset for entry, _ in rescan(storage, name)] == [offset]

    def test_a_pack_kept_as_a_users_file_is_not_mistaken_for_our_frames(self, storage: MemoryStorage) -> None:
        inner = write_pack(storage, frame(b"inner"))[0]
        outer = write_pack(storage, frame(storage.read(pack_name(inner))), frame(b"outer"))[0]
        assert self.payloads(storage, outer) == [storage.read(pack_name(inner)), b"outer"]

    def test_an_absent_pack_is_not_found(self, storage: MemoryStorage) -> None:
        with pytest.raises(MlverError):
            list(rescan(storage, pack_name(PackId("0" * 64))))
