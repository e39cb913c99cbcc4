"""One tensor of an ONNX model: the message that describes it, and where that says the bytes are.

Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (`TensorProto`) and `docs/ExternalData.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlver.formats.cursor import Cursor
from mlver.formats.dtypes import BITS_BY_DTYPE, element_count
from mlver.formats.layout import FormatError
from mlver.formats.protobuf import VARINT, Field, read_fields, read_text, read_varints
from mlver.names import path_problem

_DTYPES = {
    1: "F32",
    2: "U8",
    3: "I8",
    4: "U16",
    5: "I16",
    6: "I32",
    7: "I64",
    9: "BOOL",
    10: "F16",
    11: "F64",
    12: "U32",
    13: "U64",
    14: "C64",
    15: "C128",
    16: "BF16",
    17: "F8_E4M3",
    18: "F8_E4M3FNUZ",
    19: "F8_E5M2",
    20: "F8_E5M2FNUZ",
    21: "U4",
    22: "I4",
    23: "F4",
    24: "F8_E8M0",
    25: "U2",
    26: "I2",
}
_DIMS, _DATA_TYPE, _SEGMENT, _NAME, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 1, 2, 3, 8, 9, 13, 14
_VALUE_FIELDS = (4, 5, 6, 7, _RAW_DATA, 10, 11)
"""Any of these may hold the values."""
_PACKED = {4: ("F32", "C64"), 10: ("F64", "C128")}
"""Those whose packed values are the bytes of an array of these types; in the others each number has its own length."""
_EXTERNAL = 1
_MAX_EXTERNAL_KEYS = 16
_MAX_DIGITS = 19


@dataclass(slots=True)
class TensorMessage:
    """What the message of a tensor says.

    Attributes:
        end: Where the message ends, in bytes from the start of the file.
        name: Of the tensor; empty if it has none.
        dtype: Its safetensors name, or None for texts and types unknown here.
        shape: Dimensions, outermost first.
        data: The field that holds the bytes of the array, if one does.
        external: Where else the bytes are, as text by key, if they are in another file.
    """

    end: int
    name: str = ""
    dtype: str | None = None
    shape: tuple[int, ...] = ()
    data: Field | None = None
    external: Mapping[str, str] | None = None


@dataclass(slots=True)
class _Parts:
    """The fields of a message as they come."""

    dims: list[int] = field(default_factory=list)
    values: list[Field] = field(default_factory=list)
    external: dict[str, str] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    name: str = ""


def read_tensor_message(cursor: Cursor, begin: int, end: int) -> TensorMessage:
    """Return what the message says that lies at the bytes `begin` to `end`.

    Raises:
        FormatError: It is malformed.
        OSError: The file cannot be read.
    """
    parts = _Parts()
    for part in read_fields(cursor, begin, end):
        _take(cursor, part, parts)
    dtype = _DTYPES.get(parts.numbers.get(_DATA_TYPE, 0))
    message = TensorMessage(end, parts.name, dtype, tuple(parts.dims))
    if element_count(message.shape) is None:
        raise FormatError("a tensor has an impossible shape")
    if parts.numbers.get(_DATA_LOCATION) == _EXTERNAL:
        message.external = parts.external
    elif len(parts.values) == 1 and _SEGMENT not in parts.numbers:
        message.data = _contiguous(parts.values[0], dtype)
    return message


def contiguous_bytes(dtype: str, shape: tuple[int, ...]) -> int | None:
    """Return what an array takes, or None if its last byte is not full: no other format has such arrays."""
    bits = (element_count(shape) or 0) * BITS_BY_DTYPE[dtype]
    return None if bits % 8 else bits // 8


def placed_outside(external: Mapping[str, str], size_bytes: int) -> tuple[str, int]:
    """Return the path and the offset of an array of `size_bytes` in another file.

    Raises:
        FormatError: The path leaves the model's folder, or a number is none or another.
    """
    location = external.get("location", "").removeprefix("./")
    if path_problem(location):
        raise FormatError("a tensor lies outside of the model's folder")
    offset = _natural(external.get("offset", "0"))
    if _natural(external.get("length", str(size_bytes))) != size_bytes:
        raise FormatError("a tensor's size does not fit its type and shape")
    return location, offset


def _take(cursor: Cursor, part: Field, parts: _Parts) -> None:
    if part.number == _DIMS:
        parts.dims += read_varints(cursor, part)
    elif part.number == _NAME:
        parts.name = read_text(cursor, part)
    elif part.number in _VALUE_FIELDS:
        parts.values.append(part)
        del parts.values[2:]  # more than one is as good as none
    elif part.number == _EXTERNAL_DATA:
        _take_external(cursor, part, parts.external)
    elif part.kind == VARINT or part.number == _SEGMENT:
        parts.numbers[part.number] = part.value


def _take_external(cursor: Cursor, part: Field, external: dict[str, str]) -> None:
    texts = {1: "", 2: ""}
    for inner in read_fields(cursor, part.offset, part.end):
        if inner.number in texts:
            texts[inner.number] = read_text(cursor, inner)
    if texts[1] in external or len(external) >= _MAX_EXTERNAL_KEYS:
        raise FormatError("a tensor is in two places")
    external[texts[1]] = texts[2]


def _contiguous(values: Field, dtype: str | None) -> Field | None:
    """Return the field if its content is the bytes of the array."""
    return values if values.number == _RAW_DATA or dtype in _PACKED.get(values.number, ()) else None


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise FormatError("a place in another file is no number")
    return int(text)
