"""One dataset of an HDF5 file: its element type, its shape, and where its bytes are if they lie in one piece.

Source: HDF5 File Format Specification 3.0, sections IV.A.2.b (dataspace), IV.A.2.d (datatype), IV.A.2.i (data layout),
IV.A.2.m (attribute) and III.E (global heap); Keras `saving_lib.py` (`H5Entry`) for BF16.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from mlver.formats.cursor import Cursor
from mlver.formats.dtypes import MAX_DIMENSIONS, fits
from mlver.formats.hdf5_objects import (
    ATTRIBUTE,
    DATA_LAYOUT,
    DATASPACE,
    DATATYPE,
    EXTERNAL_FILES,
    FILTERS,
    UNDEFINED,
    Message,
)
from mlver.formats.layout import FormatError, Tensor

_FIXED_POINT, _FLOAT, _OPAQUE, _ENUM = 0, 1, 5, 8
_BIG_ENDIAN, _SIGNED = 1, 1 << 3
_FLOAT_BYTE_ORDERS = 0x41
_MAX_TYPE_BYTES = 4096
_COMPACT, _CONTIGUOUS = 0, 1

_FLOATS = {
    (2, 16, 10, 5, 0, 10, 15): "F16",
    (2, 16, 7, 8, 0, 7, 127): "BF16",
    (4, 32, 23, 8, 0, 23, 127): "F32",
    (8, 64, 52, 11, 0, 52, 1023): "F64",
}
"""By size in bytes, precision in bits, place and size of the exponent and of the mantissa, and the exponent's bias."""
_KERAS_DTYPE_ATTRIBUTE = b"dtype"
_ATTRIBUTE_HEAD = struct.Struct("<BBHHH")
_REFERENCE = struct.Struct("<LQL")


def is_dataset(messages: Sequence[Message]) -> bool:
    """Tell whether an object with these messages is a dataset."""
    return any(message.kind == DATA_LAYOUT for message in messages)


def read_dataset(cursor: Cursor, messages: Sequence[Message], name: str) -> Tensor | None:
    """Return a dataset as a tensor; None if it is no plain array, or does not lie in one piece.

    Raises:
        FormatError: It is malformed.
        OSError: The file cannot be read.
    """
    by_kind = {message.kind: message for message in messages}
    parts = [by_kind.get(kind) for kind in (DATATYPE, DATASPACE, DATA_LAYOUT)]
    datatype, dataspace, layout = parts
    if datatype is None or dataspace is None or layout is None:
        raise FormatError("a dataset is not described")
    if by_kind.keys() & {EXTERNAL_FILES, FILTERS} or any(part.is_shared for part in (datatype, dataspace, layout)):
        return None
    dtype = _read_dtype(cursor, datatype, messages)
    shape = _read_shape(cursor, dataspace)
    place = _read_place(cursor, layout)
    if dtype is None or shape is None or place is None:
        return None
    address, size_bytes = (0, 0) if 0 in shape else place
    if address == UNDEFINED:
        return None  # never written: all its elements are a value that is said elsewhere
    if not fits(dtype, shape, size_bytes):
        raise FormatError("a dataset's size does not fit its type and shape")
    return Tensor(name, dtype, shape, address, size_bytes)


def _read_dtype(cursor: Cursor, message: Message, messages: Sequence[Message]) -> str | None:
    """Return the safetensors name of a datatype, or None if it has none."""
    if not 8 <= message.size_bytes <= _MAX_TYPE_BYTES:
        return None
    cursor.seek(message.offset)
    raw = cursor.take(message.size_bytes)
    kind, flags, size = raw[0] & 15, raw[1], int.from_bytes(raw[4:8], "little")
    if kind == _FIXED_POINT and len(raw) >= 12:
        return _integer(flags, size, raw)
    if kind == _FLOAT and len(raw) >= 20:
        return _float(flags, size, raw)
    if kind == _ENUM and size == 1 and raw[1:3] == b"\2\0":
        return "BOOL" if b"FALSE\0" in raw and raw.rstrip(b"\0").endswith(b"\1") else None
    if kind == _OPAQUE and size == 2 and _keras_dtype(cursor, messages) == b"bfloat16":
        return "BF16"
    return None


def _integer(flags: int, size: int, raw: bytes) -> str | None:
    bit_offset, precision = struct.unpack_from("<HH", raw, 8)
    if flags & _BIG_ENDIAN or bit_offset or precision != 8 * size or size not in (1, 2, 4, 8):
        return None
    return f"{'I' if flags & _SIGNED else 'U'}{precision}"


def _float(flags: int, size: int, raw: bytes) -> str | None:
    bit_offset, precision, exponent_at, exponent, mantissa_at, mantissa, bias = struct.unpack_from("<HHBBBBL", raw, 8)
    if flags & _FLOAT_BYTE_ORDERS or bit_offset:
        return None
    return _FLOATS.get((size, precision, exponent_at, exponent, mantissa_at, mantissa, bias))


def _read_shape(cursor: Cursor, message: Message) -> tuple[int, ...] | None:
    """Return the dimensions, or None if there is not even a scalar."""
    cursor.seek(message.offset)
    version, rank, _, kind = cursor.take(4)
    if version not in (1, 2) or rank > MAX_DIMENSIONS:
        raise FormatError("a dataset's shape is impossible")
    if version == 1:
        cursor.skip(4)
    elif kind == 2:
        return None
    return tuple(cursor.number(8) for _ in range(rank))


def _read_place(cursor: Cursor, message: Message) -> tuple[int, int] | None:
    """Return the address and the size in bytes of what lies in one piece, or None if it does not."""
    cursor.seek(message.offset)
    version, kind = cursor.take(2)
    if version not in (3, 4):
        return None
    if kind == _CONTIGUOUS:
        return cursor.number(8), cursor.number(8)
    if kind == _COMPACT:
        size_bytes = cursor.number(2)
        return cursor.offset, size_bytes
    return None


def _keras_dtype(cursor: Cursor, messages: Sequence[Message]) -> bytes:
    """Return the text of the attribute in which Keras says what type it is that HDF5 has no name for; or nothing."""
    for message in messages:
        if message.kind == ATTRIBUTE and not message.is_shared and message.size_bytes <= _MAX_TYPE_BYTES:
            cursor.seek(message.offset)
            name, content = _split_attribute(cursor.take(message.size_bytes))
            if name == _KERAS_DTYPE_ATTRIBUTE:
                return _read_global(cursor, content)
    return b""


def _split_attribute(raw: bytes) -> tuple[bytes, bytes]:
    """Return the name and the content of an attribute."""
    if len(raw) < _ATTRIBUTE_HEAD.size:
        raise FormatError("an attribute is malformed")
    version, _, *sizes = _ATTRIBUTE_HEAD.unpack_from(raw)
    begin = _ATTRIBUTE_HEAD.size + (1 if version == 3 else 0)
    padded = [-(-size // 8) * 8 for size in sizes] if version == 1 else sizes
    return raw[begin : begin + sizes[0]].rstrip(b"\0"), raw[begin + sum(padded) :]


def _read_global(cursor: Cursor, content: bytes) -> bytes:
    """Return the text that the content of an attribute refers to."""
    if len(content) < _REFERENCE.size:
        return b""
    size_bytes, collection, wanted = _REFERENCE.unpack_from(content)
    cursor.seek(collection)
    if cursor.take(4) != b"GCOL":
        raise FormatError("a text is nowhere")
    cursor.skip(4)
    end = collection + cursor.number(8)
    while cursor.offset + 16 <= end:
        cursor.step()
        index = cursor.number(2)
        cursor.skip(6)
        length = cursor.number(8)
        if index == wanted:
            return cursor.take(min(size_bytes, length, _MAX_TYPE_BYTES))
        cursor.skip(-(-length // 8) * 8)
    return b""
