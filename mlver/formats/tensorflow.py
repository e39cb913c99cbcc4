"""TensorFlow's checkpoints: `NAME.index` tells what lies where in `NAME.data-00000-of-00001` and its like → `Layout`.

The index is a table of LevelDB's: blocks of entries that are sorted by their keys, each key without what it shares with
the one before, and an index of the blocks. The first entry, without a key, describes the checkpoint; each other one is
a tensor, or, where a variable was divided, a part of one.

Source: TensorFlow `core/util/tensor_bundle/tensor_bundle.cc`, `core/protobuf/tensor_bundle.proto`,
`core/framework/types.proto` and `core/lib/io/format.cc`; LevelDB `doc/table_format.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mlver.formats.cursor import Cursor, decoded
from mlver.formats.layout import (
    ByteSource,
    ExternalTensor,
    FormatError,
    Layout,
    checked_layout,
    checked_name,
    read_exactly,
)
from mlver.formats.onnx_tensor import contiguous_bytes
from mlver.formats.protobuf import Field, read_fields, read_varint
from mlver.formats.unique_names import UniqueNames

MAX_STEPS = 1 << 21
"""Entries and fields of them; a tensor takes some ten."""
_FOOTER_BYTES = 48
_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_MAX_KEY_BYTES = 1 << 13
_BYTES_OF_A_STEP = 16
_MAX_FILES = 99_999
_STRING = 7
_DTYPES = {
    1: "F32", 2: "F64", 3: "I32", 4: "U8", 5: "I16", 6: "I8", 8: "C64", 9: "I64", 10: "BOOL",
    11: "I8", 12: "U8", 13: "I32", 14: "BF16", 15: "I16", 16: "U16", 17: "U16", 18: "C128", 19: "F16",
    22: "U32", 23: "U64", 24: "F8_E5M2", 25: "F8_E4M3",
}  # fmt: skip
"""By the numbers of `DataType`; those of quantized values (11 to 13, 15, 16) are integers."""


def parse_tensorflow(source: ByteSource) -> Layout:
    """Return the layout of a checkpoint's index: no tensors, and where its other files have them.

    Raises:
        FormatError: It is malformed, big-endian, compressed, or larger than the limits.
        OSError: The file cannot be read.
    """
    footer_at = source.size_bytes - _FOOTER_BYTES
    if not read_exactly(source, footer_at, _FOOTER_BYTES).endswith(_MAGIC):
        raise FormatError("the index of the checkpoint does not end as one")
    cursor = Cursor(source, MAX_STEPS)
    entries = _all_entries(cursor, footer_at)
    files = _read_header(cursor, next(entries, None))
    names = UniqueNames()
    external: list[ExternalTensor] = []
    is_complete = True
    for entry in entries:
        tensor = _read_tensor(cursor, entry)
        if tensor.is_divided or tensor.kind == _STRING:
            continue  # its parts are entries of their own; and texts are no weights
        dtype = _DTYPES.get(tensor.kind)
        if dtype is None:
            is_complete = False
            continue
        if contiguous_bytes(dtype, tensor.shape) != tensor.size_bytes or tensor.file >= files:
            raise FormatError("a tensor's place does not fit its type and shape, or the checkpoint")
        location = f"*.data-{tensor.file:05}-of-{files:05}"
        name = checked_name(names.add(_name(entry.key)))
        external.append(
            ExternalTensor(
                name, dtype, tensor.shape, location, tensor.offset, tensor.size_bytes, format="tensorflow-data"
            )
        )
    layout = Layout("tensorflow", (), is_complete=is_complete, external=tuple(external))
    return checked_layout(layout, source.size_bytes)


class _Entry(NamedTuple):
    """A key, and where its value lies in the file."""

    key: bytes
    begin: int
    end: int


class _Described(NamedTuple):
    """What an entry says of a tensor; `kind` is the number of its type."""

    kind: int
    shape: tuple[int, ...]
    file: int
    offset: int
    size_bytes: int
    is_divided: bool


def _all_entries(cursor: Cursor, footer_at: int) -> Iterator[_Entry]:
    """Yield the entries of all blocks but those of the indices."""
    cursor.seek(footer_at)
    _, _, offset, size_bytes = (read_varint(cursor) for _ in range(4))
    for block in _entries(cursor, offset, size_bytes):
        cursor.seek(block.begin)
        yield from _entries(cursor, read_varint(cursor), read_varint(cursor))


def _entries(cursor: Cursor, offset: int, size_bytes: int) -> Iterator[_Entry]:
    """Yield the entries of a block; the cursor may be moved in between."""
    end = offset + size_bytes
    cursor.seek(end)
    if cursor.byte():
        raise FormatError("the index of the checkpoint is compressed")
    cursor.seek(end - 4)
    end -= 4 + 4 * cursor.number(4)
    key, at = b"", offset
    while at < end:
        cursor.seek(at)
        shared, rest, value_bytes = (read_varint(cursor) for _ in range(3))
        if shared > len(key) or shared + rest > _MAX_KEY_BYTES:
            raise FormatError("an entry of the index has no sound key")
        cursor.step(1 + (shared + rest) // _BYTES_OF_A_STEP)
        key = key[:shared] + cursor.take(rest)
        at = cursor.offset + value_bytes
        yield _Entry(key, cursor.offset, at)
    if at != end:
        raise FormatError("the entries of the index do not end where they should")


def _read_header(cursor: Cursor, entry: _Entry | None) -> int:
    """Return how many files the checkpoint has."""
    if entry is None or entry.key:
        raise FormatError("the index does not describe the checkpoint")
    fields = {field.number: field.value for field in read_fields(cursor, entry.begin, entry.end)}
    if fields.get(2):
        raise FormatError("the tensors are big-endian")
    files = fields.get(1, 0)
    if not 0 < files <= _MAX_FILES:
        raise FormatError("the checkpoint has an impossible number of files")
    return files


def _read_tensor(cursor: Cursor, entry: _Entry) -> _Described:
    numbers = dict.fromkeys((1, 3, 4, 5), 0)
    shape: tuple[int, ...] = ()
    is_divided = False
    for field in read_fields(cursor, entry.begin, entry.end):
        if field.number in numbers:
            numbers[field.number] = field.value
        elif field.number == 2:
            shape = _read_shape(cursor, field)
        elif field.number == 7:
            is_divided = True
    if max(numbers.values()) >= 1 << 63:
        raise FormatError("a tensor has a negative place")
    return _Described(numbers[1], shape, numbers[3], numbers[4], numbers[5], is_divided)


def _read_shape(cursor: Cursor, shape: Field) -> tuple[int, ...]:
    dimensions: list[int] = []
    for field in read_fields(cursor, shape.offset, shape.end):
        if field.number == 2:
            sizes = [part.value for part in read_fields(cursor, field.offset, field.end) if part.number == 1]
            dimensions.append(sizes[-1] if sizes else 0)
    return tuple(dimensions)


def _name(key: bytes) -> str:
    """Return the name of a tensor; a part has a key of numbers around the name, which ends with a zero and a one."""
    if key.startswith(b"\0"):
        key = key[1:].partition(b"\0\1")[0]
    return decoded(key)
