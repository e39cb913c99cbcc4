"""Zip files that lie: sizes, names, offsets, counts."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import IO, Any

import pytest

from mlver.formats.layout import FormatError
from mlver.formats.zip_directory import Member, check_disjoint, locate, read_directory
from tests.support.weight_files import BytesSource, stored_zip

CONTENTS = {"a/one": b"first", "a/zwei-ä": b"second content", "a/empty": b""}
LOCAL, ENTRY, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


def patched(raw: bytes, magic: bytes, at: int, form: str, value: int, occurrence: int = 0) -> bytes:
    """Return the zip file with one field of one of its records replaced."""
    start = -1
    for _ in range(occurrence + 1):
        start = raw.index(magic, start + 1)
    field = struct.pack(form, value)
    return raw[: start + at] + field + raw[start + at + len(field) :]


def contents(raw: bytes) -> dict[str, bytes]:
    source = BytesSource(raw)
    placed = [(member, locate(source, member)) for member in read_directory(source).values()]
    check_disjoint(placed)
    return {member.name: raw[start : start + member.size] for member, start in placed}


def test_contents_are_where_the_directory_says() -> None:
    assert contents(stored_zip(CONTENTS)) == CONTENTS


def test_a_comment_does_not_hide_the_directory() -> None:
    comment = b"almost an end: PK\x05\x07"
    assert contents(patched(stored_zip(CONTENTS), END, 20, "<H", len(comment)) + comment) == CONTENTS


def test_zip64_fields_are_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("big", "w", force_zip64=True) as member:
        member.write(b"content")
    assert contents(buffer.getvalue()) == {"big": b"content"}


def test_a_directory_of_zip64_is_found() -> None:
    raw = stored_zip(CONTENTS)
    end = raw.rindex(END)
    count, size, offset = struct.unpack_from("<HLL", raw, end + 10)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    wide = raw[:end] + end64 + locator + struct.pack("<4s4H2LH", END, 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    assert contents(wide) == CONTENTS
    for broken in (wide.replace(locator, bytes(20)), wide.replace(b"PK\x06\x06", b"PK\x06\x08")):
        with pytest.raises(FormatError):
            contents(broken)


def test_sizes_may_follow_the_content_of_a_streamed_member() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise io.UnsupportedOperation

    buffer: IO[bytes] = Pipe()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("streamed", b"content")
    raw: Any = buffer
    assert contents(raw.getvalue()) == {"streamed": b"content"}


@pytest.mark.parametrize(
    ("magic", "at", "form", "value"),
    [
        (LOCAL, 0, "<L", 0),
        (LOCAL, 6, "<H", 1),
        (LOCAL, 8, "<H", 8),
        (LOCAL, 18, "<L", 4),
        (LOCAL, 22, "<L", 4),
        (LOCAL, 22, "<L", 0xFFFFFFFF),
        (LOCAL, 26, "<H", 4),
        (LOCAL, 28, "<H", 0xFFFF),
        (LOCAL, 30, "<B", 0x62),
        (ENTRY, 0, "<L", 0),
        (ENTRY, 8, "<H", 1),
        (ENTRY, 10, "<H", 8),
        (ENTRY, 20, "<L", 4),
        (ENTRY, 24, "<L", 0x7FFFFFFF),
        (ENTRY, 24, "<L", 0xFFFFFFFF),
        (ENTRY, 28, "<H", 0xFFFF),
        (ENTRY, 30, "<H", 0xFFFF),
        (ENTRY, 32, "<H", 0xFFFF),
        (ENTRY, 42, "<L", 1),
        (ENTRY, 42, "<L", 0x7FFFFFFF),
        (ENTRY, 42, "<L", 0xFFFFFFFF),
        (END, 4, "<H", 1),
        (END, 8, "<H", 2),
        (END, 10, "<H", 0xFFFF),
        (END, 12, "<L", 0x7FFFFFFF),
        (END, 12, "<L", 10),
        (END, 16, "<L", 0x7FFFFFFF),
        (END, 16, "<L", 0),
        (END, 20, "<H", 1),
    ],
)
def test_a_lie_in_any_record_is_found(magic: bytes, at: int, form: str, value: int) -> None:
    raw = patched(stored_zip(CONTENTS), magic, at, form, value)
    with pytest.raises(FormatError):
        contents(raw)


def test_a_member_that_comes_twice_is_refused() -> None:
    raw = stored_zip({"a/one": b"1", "a/two": b"2"})
    with pytest.raises(FormatError, match="twice"):
        contents(raw.replace(b"a/two", b"a/one"))


def test_a_member_beyond_the_file_is_refused_though_both_records_agree() -> None:
    raw = stored_zip({"a/one": b"first"})
    for magic, at in ((LOCAL, 18), (LOCAL, 22), (ENTRY, 20), (ENTRY, 24)):
        raw = patched(raw, magic, at, "<L", 0x7FFFFFFF)
    with pytest.raises(FormatError, match="outside"):
        contents(raw)


def test_members_that_overlap_are_refused() -> None:
    outer = Member("outer", 0, 0, 100, 100, 0)
    inner = Member("inner", 0, 0, 10, 10, 50)
    check_disjoint([(outer, 40), (Member("next", 0, 0, 10, 10, 140), 180)])
    with pytest.raises(FormatError, match="overlap"):
        check_disjoint([(inner, 90), (outer, 40)])


def test_a_compressed_member_is_not_located() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"x" * 100)
    with pytest.raises(FormatError, match="stored"):
        contents(buffer.getvalue())


@pytest.mark.parametrize("count", [1 << 20, 1 << 40])
def test_a_directory_that_claims_too_much_is_not_read(count: int) -> None:
    class Small(BytesSource):
        def read(self, offset: int, length: int) -> bytes:
            assert length < 100_000
            return super().read(offset, length)

    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, count * 46, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    raw = end64 + locator + struct.pack("<4s4H2LH", END, 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    with pytest.raises(FormatError, match="too large"):
        read_directory(Small(raw))


def test_every_truncation_is_refused() -> None:
    raw = stored_zip(CONTENTS)
    for size in range(len(raw)):
        with pytest.raises(FormatError):
            contents(raw[:size])
