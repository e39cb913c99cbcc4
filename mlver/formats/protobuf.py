"""The wire format of protobuf: a message is a row of fields, each a number, a kind and a value.

Fields are found, not decoded: what a field means is its reader's business, and long ones are stepped over unread.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mlver.formats.cursor import Cursor
from mlver.formats.layout import FormatError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


class Field(NamedTuple):  # a graph has a million, and a dataclass takes three times as long to make
    """One field of a message.

    Attributes:
        number: Which field of the message it is.
        kind: `VARINT`, `FIXED64`, `BYTES` or `FIXED32`.
        value: Of a varint, as an unsigned number of 64 bits; else 0.
        offset: Of the content (of all but a varint), in bytes from the start of the file.
        size_bytes: Of the content.
    """

    number: int
    kind: int
    value: int
    offset: int
    size_bytes: int

    @property
    def end(self) -> int:
        """Where the content ends, in bytes from the start of the file."""
        return self.offset + self.size_bytes


def read_fields(cursor: Cursor, begin: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message that lies at the bytes `begin` to `end`; the cursor may be moved in between.

    Raises:
        FormatError: It is malformed.
        OSError: The file cannot be read.
    """
    at = begin
    while at < end:
        cursor.step()
        cursor.seek(at)
        field = _read_field(cursor)
        at = field.end
        if at > end:
            raise FormatError("a field is longer than its message")
        yield field


def read_varints(cursor: Cursor, field: Field) -> Iterator[int]:
    """Yield the numbers of a field that is one varint, or many packed into bytes.

    Raises:
        FormatError: It is neither.
        OSError: The file cannot be read.
    """
    if field.kind == VARINT:
        yield field.value
        return
    if field.kind != BYTES:
        raise FormatError("a field is of another kind")
    cursor.seek(field.offset)
    while cursor.offset < field.end:
        cursor.step()
        yield read_varint(cursor)
    if cursor.offset != field.end:
        raise FormatError("a field is longer than its message")


def read_text(cursor: Cursor, field: Field) -> str:
    """Return the text of a field.

    Raises:
        FormatError: It is none, or too long.
        OSError: The file cannot be read.
    """
    if field.kind != BYTES:
        raise FormatError("a field is of another kind")
    cursor.seek(field.offset)
    return cursor.text(field.size_bytes)


def read_varint(cursor: Cursor) -> int:
    """Return the number that begins at the cursor, as an unsigned one of 64 bits.

    Raises:
        FormatError: It does not end.
        OSError: The file cannot be read.
    """
    value = cursor.byte()
    if value < 0x80:
        return value
    value &= 0x7F
    for position in range(1, _MAX_VARINT_BYTES):
        byte = cursor.byte()
        value |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            return value & (1 << 64) - 1
    raise FormatError("a number does not end")


def _read_field(cursor: Cursor) -> Field:
    key = read_varint(cursor)
    number, kind = key >> 3, key & 7
    if not 0 < number < 1 << 29:
        raise FormatError("a field has an impossible number")
    if kind == VARINT:
        value = read_varint(cursor)
        return Field(number, kind, value, cursor.offset, 0)
    if kind == BYTES:
        size_bytes = read_varint(cursor)
    elif kind in (FIXED32, FIXED64):
        size_bytes = 4 if kind == FIXED32 else 8
    else:
        raise FormatError("a field is of an unknown kind")
    return Field(number, kind, 0, cursor.offset, size_bytes)
