"""The heap that holds the links of a large group in an HDF5 file: a tree of records says where in it they are.

Source: HDF5 File Format Specification 3.0, sections III.A.2 (version 2 B-trees) and III.G (fractal heap).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from mlver.formats.cursor import Cursor
from mlver.formats.layout import FormatError

_HEAP = struct.Struct("<4sBHHBI12QHQQHHQH")
_TREE = struct.Struct("<4sBBIHHBBQHQ")
_BLOCK_HEAD_BYTES = 13
_NODE_HEAD_BYTES = 6
_NODE_FRAME_BYTES = 10  # with the checksum
_BY_NAME = 5
_MANAGED = 0
_MAX_ROWS = 64
_MAX_TREE_DEPTH = 16


@dataclass(frozen=True, slots=True)
class _Heap:
    """A heap: rows of blocks, and those of a row are twice as large as those of the row before, but for the second.

    Attributes:
        id_bytes: Size of what stands for an object.
        width: Blocks in a row.
        first_block_bytes: Size of a block of the first two rows.
        max_direct_bytes: Blocks above this size consist of blocks.
        offset_bytes: Size of an offset in the heap.
        root: Address of the only block, or of that which consists of all others.
        rows: Of the root; 0 if that is the only block.
    """

    id_bytes: int
    width: int
    first_block_bytes: int
    max_direct_bytes: int
    offset_bytes: int
    root: int
    rows: int


@dataclass(frozen=True, slots=True)
class _Tree:
    """A tree of records.

    Attributes:
        record_bytes: Size of a record.
        pointer_bytes: Sizes of what follows a child's address in a node of each depth, from 1 on: how many records
            the child has, and how many there are below it.
        count_bytes: Size of the first of these.
    """

    record_bytes: int
    pointer_bytes: list[int]
    count_bytes: int


def read_heap_objects(cursor: Cursor, heap_address: int, tree_address: int) -> Iterator[tuple[int, int]]:
    """Yield where the objects in a heap begin and end, in the order of the tree.

    Raises:
        FormatError: Heap or tree are malformed.
        OSError: The file cannot be read.
    """
    heap = _read_heap(cursor, heap_address)
    for record in _read_records(cursor, tree_address):
        if len(record) != 4 + heap.id_bytes or record[4] >> 4:
            raise FormatError("a link is not where links are")
        split = 5 + heap.offset_bytes
        offset = int.from_bytes(record[5:split], "little")
        begin = _locate(cursor, heap, offset)
        yield begin, begin + int.from_bytes(record[split:], "little")


def _read_heap(cursor: Cursor, address: int) -> _Heap:
    cursor.seek(address)
    magic, version, id_bytes, filter_bytes, _, *numbers = _HEAP.unpack(cursor.take(_HEAP.size))
    width, first, largest, offset_bits, _, root, rows = numbers[-7:]
    if (magic, version, filter_bytes) != (b"FRHP", 0, 0):
        raise FormatError("a heap is damaged, or compressed")
    powers = all(number and number & (number - 1) == 0 for number in (width, first, largest))
    if not powers or rows > _MAX_ROWS or first > largest:
        raise FormatError("a heap has impossible measures")
    return _Heap(id_bytes, width, first, largest, -(-offset_bits // 8), root, rows)


def _locate(cursor: Cursor, heap: _Heap, offset: int) -> int:
    """Return where in the file that is which has `offset` in the heap."""
    address, rows = heap.root, heap.rows
    if rows == 0 and offset >= heap.first_block_bytes:
        raise FormatError("a link lies outside of its heap")
    while rows:
        cursor.step()
        row, within, block_bytes = _row_of(heap, offset, rows)
        column, offset = divmod(within, block_bytes)
        cursor.seek(address + _BLOCK_HEAD_BYTES + heap.offset_bytes + 8 * (row * heap.width + column))
        address = cursor.number(8)
        # A block of blocks has as many rows as it takes to fill its size.
        ratio = block_bytes // (heap.first_block_bytes * heap.width)
        rows = ratio.bit_length() if block_bytes > heap.max_direct_bytes else 0
        if block_bytes > heap.max_direct_bytes and not rows:
            raise FormatError("a heap has impossible measures")
    return address + offset


def _row_of(heap: _Heap, offset: int, rows: int) -> tuple[int, int, int]:
    """Return the row in which `offset` lies, how far in it, and the size of its blocks."""
    for row in range(rows):
        block_bytes = heap.first_block_bytes << max(row - 1, 0)
        if offset < block_bytes * heap.width:
            return row, offset, block_bytes
        offset -= block_bytes * heap.width
    raise FormatError("a link lies outside of its heap")


def _read_records(cursor: Cursor, address: int) -> Iterator[bytes]:
    cursor.seek(address)
    head = _TREE.unpack(cursor.take(_TREE.size))
    magic, version, kind, node_bytes, record_bytes, depth, _, _, root, count, _ = head
    if (magic, version, kind) != (b"BTHD", 0, _BY_NAME) or depth > _MAX_TREE_DEPTH or record_bytes == 0:
        raise FormatError("a tree of links is damaged")
    if count:
        tree = _measure(node_bytes, record_bytes, depth)
        yield from _read_node(cursor, tree, root, count, depth)


def _measure(node_bytes: int, record_bytes: int, depth: int) -> _Tree:
    """Return how long the numbers are that stand by the addresses of nodes: as long as the largest possible one."""
    at_most = (node_bytes - _NODE_FRAME_BYTES) // record_bytes
    if at_most < 1:
        raise FormatError("a tree of links is damaged")
    count_bytes = _bytes_of(at_most)
    pointers = [count_bytes]
    below = at_most
    for _ in range(depth):
        pointer = 8 + pointers[-1]
        here = max((node_bytes - _NODE_FRAME_BYTES - pointer) // (record_bytes + pointer), 0)
        below = (here + 1) * below + here
        pointers.append(count_bytes + _bytes_of(below))
    return _Tree(record_bytes, pointers, count_bytes)


def _bytes_of(number: int) -> int:
    return -(-number.bit_length() // 8)


def _read_node(cursor: Cursor, tree: _Tree, address: int, count: int, depth: int) -> Iterator[bytes]:
    cursor.step(count + 1)
    cursor.seek(address)
    magic, version, kind = cursor.take(4), cursor.number(1), cursor.number(1)
    if (magic, version, kind) != (b"BTIN" if depth else b"BTLF", 0, _BY_NAME):
        raise FormatError("a tree of links is damaged")
    records = [cursor.take(tree.record_bytes) for _ in range(count)]
    children: list[tuple[int, int]] = []
    for _ in range(count + 1 if depth else 0):
        children.append((cursor.number(8), cursor.number(tree.count_bytes)))
        cursor.skip(tree.pointer_bytes[depth - 1] - tree.count_bytes)
    yield from records
    for child, child_count in children:
        yield from _read_node(cursor, tree, child, child_count, depth - 1)
