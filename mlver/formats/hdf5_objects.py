"""Objects of an HDF5 file (groups, datasets) → the messages that they consist of.

Source: HDF5 File Format Specification 3.0, sections IV.A.1 (object header prefix) and IV.A.2 (messages).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlver.formats.cursor import Cursor
from mlver.formats.layout import FormatError

UNDEFINED = (1 << 64) - 1
"""The address of what is not there."""
DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL_FILES, DATA_LAYOUT = 0x01, 0x02, 0x03, 0x06, 0x07, 0x08
FILTERS, ATTRIBUTE, CONTINUATION, SYMBOL_TABLE = 0x0B, 0x0C, 0x10, 0x11
_MAX_BLOCKS = 1 << 10
_SHARED, _CREATION_ORDER, _PHASE_CHANGE, _TIMES = 1 << 1, 1 << 2, 1 << 4, 1 << 5


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an object.

    Attributes:
        kind: What it tells of.
        is_shared: It only says where the message is; whoever needs it gives up.
        offset: Of its content, in bytes from the start of the file.
        size_bytes: Of its content.
    """

    kind: int
    is_shared: bool
    offset: int
    size_bytes: int

    @property
    def end(self) -> int:
        """Where the content ends, in bytes from the start of the file."""
        return self.offset + self.size_bytes


def read_messages(cursor: Cursor, address: int) -> list[Message]:
    """Return the messages of the object at `address`, without those that only say where others are.

    Raises:
        FormatError: It is malformed.
        OSError: The file cannot be read.
    """
    cursor.seek(address)
    head = cursor.take(4)
    if head == b"OHDR":
        header_bytes, blocks = _read_prefix_2(cursor)
    elif head[0] == 1:
        header_bytes, blocks = 8, _read_prefix_1(cursor)
    else:
        raise FormatError("an object has no header")
    is_new = head == b"OHDR"
    messages: list[Message] = []
    for number, (begin, end) in enumerate(blocks):
        for message in _read_block(cursor, begin, end, header_bytes, is_new):
            if message.kind == CONTINUATION:
                blocks.append(_read_continuation(cursor, message, is_new))
            else:
                messages.append(message)
        if number >= _MAX_BLOCKS:
            raise FormatError("an object has too many parts")
    return messages


def _read_prefix_1(cursor: Cursor) -> list[tuple[int, int]]:
    """Return where the first block of messages begins and ends."""
    cursor.skip(4)
    size_bytes = cursor.number(4)
    cursor.skip(4)
    return [(cursor.offset, cursor.offset + size_bytes)]


def _read_prefix_2(cursor: Cursor) -> tuple[int, list[tuple[int, int]]]:
    """Return the size of a message's header, and where the first block of messages begins and ends."""
    version, flags = cursor.number(1), cursor.number(1)
    if version != 2:
        raise FormatError("an object's header is of an unknown version")
    cursor.skip((16 if flags & _TIMES else 0) + (4 if flags & _PHASE_CHANGE else 0))
    size_bytes = cursor.number(1 << (flags & 3))
    return 6 if flags & _CREATION_ORDER else 4, [(cursor.offset, cursor.offset + size_bytes)]


def _read_block(cursor: Cursor, begin: int, end: int, header_bytes: int, is_new: bool) -> Iterator[Message]:
    at = begin
    while at + header_bytes <= end:
        cursor.step()
        cursor.seek(at)
        kind, size_bytes, flags = cursor.number(1 if is_new else 2), cursor.number(2), cursor.number(1)
        message = Message(kind, bool(flags & _SHARED), at + header_bytes, size_bytes)
        at = message.end
        if at > end:
            raise FormatError("a message is longer than its object")
        yield message


def _read_continuation(cursor: Cursor, message: Message, is_new: bool) -> tuple[int, int]:
    """Return where the messages of the next block begin and end."""
    cursor.seek(message.offset)
    begin, size_bytes = cursor.number(8), cursor.number(8)
    cursor.seek(begin)
    if not is_new:
        return begin, begin + size_bytes
    if cursor.take(4) != b"OCHK":
        raise FormatError("an object goes on nowhere")
    return begin + 4, begin + size_bytes - 4  # a checksum ends it
