"""Groups of an HDF5 file → the names of what is in them, and where that is.

A group of the old kind keeps its links in a B-tree of symbol tables, one of the new kind in its own messages while
they are few, and in a heap (`hdf5_heap`) when they are many. Only hard links are followed: the others lead to other
names, or to other files.

Source: HDF5 File Format Specification 3.0, sections III.A.1 (B-trees), III.B to III.D (symbol tables and local heaps),
IV.A.2.c (link info message) and IV.A.2.g (link message).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlver.formats.cursor import Cursor, decoded
from mlver.formats.hdf5_heap import read_heap_objects
from mlver.formats.hdf5_objects import LINK, LINK_INFO, SYMBOL_TABLE, UNDEFINED, Message
from mlver.formats.layout import MAX_NAME_CHARACTERS, FormatError

_HARD = 0
_TYPED, _ORDERED, _CHARSET = 1 << 3, 1 << 2, 1 << 4
_ENTRY_BYTES = 40
_NAME_PIECE_BYTES = 256

Link = tuple[str, int]
"""A name in a group, and the address of the object that bears it."""


def is_group(messages: Sequence[Message]) -> bool:
    """Tell whether an object with these messages is a group."""
    return any(message.kind in (LINK_INFO, LINK, SYMBOL_TABLE) for message in messages)


def read_links(cursor: Cursor, messages: Sequence[Message]) -> Iterator[Link]:
    """Yield the hard links of a group.

    Raises:
        FormatError: It is malformed.
        OSError: The file cannot be read.
    """
    for message in messages:
        if message.kind == SYMBOL_TABLE:
            cursor.seek(message.offset)
            tree, heap = cursor.number(8), cursor.number(8)
            yield from _read_tree(cursor, tree, _read_local_heap(cursor, heap), None)
        elif message.kind == LINK:
            yield from _read_link(cursor, message.offset, message.end)
        elif message.kind == LINK_INFO:
            yield from _read_dense(cursor, message)


def _read_local_heap(cursor: Cursor, address: int) -> tuple[int, int]:
    """Return where the names of a group begin and end."""
    cursor.seek(address)
    if cursor.take(4) != b"HEAP":
        raise FormatError("a group has no names")
    cursor.skip(4)
    size_bytes = cursor.number(8)
    cursor.skip(8)
    begin = cursor.number(8)
    return begin, begin + size_bytes


def _read_tree(cursor: Cursor, address: int, names: tuple[int, int], level: int | None) -> Iterator[Link]:
    """Yield the links below the node at `address`, which must be of `level` unless that is None."""
    cursor.seek(address)
    magic, kind, own_level, count = cursor.take(4), cursor.number(1), cursor.number(1), cursor.number(2)
    if magic != b"TREE" or kind != 0 or level not in (None, own_level):
        raise FormatError("a group's tree is damaged")
    cursor.step(count + 1)
    cursor.skip(16)
    children = [cursor.number(16) >> 64 for _ in range(count)]  # each behind a key
    for child in children:
        if own_level:
            yield from _read_tree(cursor, child, names, own_level - 1)
        else:
            yield from _read_symbols(cursor, child, names)


def _read_symbols(cursor: Cursor, address: int, names: tuple[int, int]) -> Iterator[Link]:
    cursor.seek(address)
    if cursor.take(4) != b"SNOD":
        raise FormatError("a group's table is damaged")
    cursor.skip(2)
    count = cursor.number(2)
    cursor.step(count + 1)
    entries = [cursor.take(_ENTRY_BYTES) for _ in range(count)]
    for entry in entries:
        name_offset, target = int.from_bytes(entry[:8], "little"), int.from_bytes(entry[8:16], "little")
        if target != UNDEFINED:  # that of a symbolic link
            yield _read_name(cursor, names[0] + name_offset, names[1]), target


def _read_name(cursor: Cursor, begin: int, end: int) -> str:
    """Return the text from `begin` to the next zero byte, which must come before `end`."""
    cursor.seek(begin)
    name = b""
    while b"\0" not in name:
        room = min(end - cursor.offset, _NAME_PIECE_BYTES)
        if room <= 0 or len(name) > 4 * MAX_NAME_CHARACTERS:
            raise FormatError("a name does not end")
        name += cursor.take(room)
    return decoded(name.partition(b"\0")[0])


def _read_link(cursor: Cursor, begin: int, end: int) -> Iterator[Link]:
    """Yield the link in the message at `begin` to `end`, if it is a hard one."""
    cursor.step()
    cursor.seek(begin)
    version, flags = cursor.number(1), cursor.number(1)
    if version != 1:
        raise FormatError("a link is of an unknown version")
    kind = cursor.number(1) if flags & _TYPED else _HARD
    cursor.skip((8 if flags & _ORDERED else 0) + (1 if flags & _CHARSET else 0))
    name = cursor.text(cursor.number(1 << (flags & 3)))
    if kind == _HARD:
        target = cursor.number(8)
        if cursor.offset > end:
            raise FormatError("a link is longer than its message")
        yield name, target


def _read_dense(cursor: Cursor, message: Message) -> Iterator[Link]:
    """Yield the links that a group keeps in a heap."""
    cursor.seek(message.offset)
    version, flags = cursor.number(1), cursor.number(1)
    if version != 0:
        raise FormatError("a group is of an unknown version")
    cursor.skip(8 if flags & 1 else 0)
    heap, tree = cursor.number(8), cursor.number(8)
    if heap != UNDEFINED:
        for begin, end in read_heap_objects(cursor, heap, tree):
            yield from _read_link(cursor, begin, end)
