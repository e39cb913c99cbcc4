"""Checkpoints of Flax (and of early Orbax) in msgpack → `Layout`.

Nested maps whose leaves are arrays, each an extension of type 1 (3 for a NumPy scalar) that holds in msgpack its shape,
its dtype's name and its bytes. What else is in the maps is no weights. An array above 1 GiB is a map of flat pieces by
Flax's own doing, and its pieces are the tensors here.

Source: https://github.com/msgpack/msgpack/blob/master/spec.md; Flax `flax/serialization.py` (`_ndarray_to_bytes`).
"""

from __future__ import annotations

from dataclasses import dataclass

from mlver.formats.cursor import Cursor
from mlver.formats.dtypes import MAX_DIMENSIONS, fits
from mlver.formats.layout import ByteSource, FormatError, Layout, Tensor, checked_layout, sorted_tensors
from mlver.formats.unique_names import LONE_TENSOR_NAME, UniqueNames, joined

MAX_STEPS = 1 << 20
MAX_DEPTH = 128
_ARRAY_TYPES = (1, 3)
_DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "float16": "F16",
    "bfloat16": "BF16",
    "uint32": "U32",
    "int32": "I32",
    "float32": "F32",
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
    "complex64": "C64",
    "complex128": "C128",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
}
_NIL, _FALSE, _TRUE = 0xC0, 0xC2, 0xC3
_FIXED_BYTES = {_NIL: 0, _FALSE: 0, _TRUE: 0, 0xCA: 4, 0xCB: 8}
_FIXED_BYTES |= {code: 1 << code % 4 for code in range(0xCC, 0xD4)}
_BIN_WIDTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_EXT_WIDTHS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_EXT_FIXED_BYTES = {0xD4 + power: 1 << power for power in range(5)}
_STR_WIDTHS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_ARRAY_WIDTHS = {0xDC: 2, 0xDD: 4}
_MAP_WIDTHS = {0xDE: 2, 0xDF: 4}


@dataclass(slots=True)
class _Open:
    """A map or an array that is being walked.

    Attributes:
        prefix: What the names of its values begin with.
        remaining: How many of its values are yet to come.
        position: Of the next value, in an array; None in a map.
    """

    prefix: str
    remaining: int
    position: int | None


def parse_msgpack(source: ByteSource) -> Layout:
    """Return the layout of a msgpack file of nested maps with arrays.

    Raises:
        FormatError: It is malformed, has no array, or is larger than the limits.
        OSError: The file cannot be read.
    """
    walk = _Walk(Cursor(source, MAX_STEPS))
    walk.run()
    if not walk.tensors and walk.is_complete:
        raise FormatError("it holds no array")
    layout = Layout("msgpack", sorted_tensors(walk.tensors), is_complete=walk.is_complete)
    return checked_layout(layout, source.size_bytes)


class _Walk:
    def __init__(self, cursor: Cursor) -> None:
        self.tensors: list[Tensor] = []
        self.is_complete = True
        self._cursor = cursor
        self._names = UniqueNames()
        self._open = [_Open("", 0, None)]

    def run(self) -> None:
        """Walk the one value that is the file."""
        self._value("")
        while self._open[-1].remaining or len(self._open) > 1:
            inner = self._open[-1]
            if inner.remaining == 0:
                self._open.pop()
                continue
            inner.remaining -= 1
            self._value(self._name_of_next(inner))
        if self._cursor.offset != self._cursor.end:
            raise FormatError("something follows the checkpoint")

    def _name_of_next(self, inner: _Open) -> str:
        """Read the key of the next value, if it has one."""
        if inner.position is None:
            return joined(inner.prefix, _read_key(self._cursor))
        inner.position += 1
        return joined(inner.prefix, str(inner.position - 1))

    def _value(self, name: str) -> None:
        cursor = self._cursor
        cursor.step()
        code = cursor.number(1)
        if (entered := _read_map(cursor, code)) is not None:
            self._enter(_Open(name, entered, None))
        elif (entered := _read_array(cursor, code)) is not None:
            self._enter(_Open(name, entered, 0))
        elif (size_bytes := _read_ext(cursor, code)) is not None:
            self._extension(name, cursor.number(1), size_bytes)
        else:
            cursor.skip(_read_size(cursor, code))

    def _enter(self, inner: _Open) -> None:
        if len(self._open) > MAX_DEPTH:
            raise FormatError("the checkpoint is nested too deeply")
        self._open.append(inner)

    def _extension(self, name: str, kind: int, size_bytes: int) -> None:
        end = self._cursor.offset + size_bytes
        if kind in _ARRAY_TYPES:
            tensor = _read_tensor(self._cursor, self._names.add(name or LONE_TENSOR_NAME), end)
            if tensor is None:
                self.is_complete = False
            else:
                self.tensors.append(tensor)
        self._cursor.seek(end)


def _read_tensor(cursor: Cursor, name: str, end: int) -> Tensor | None:
    """Return the array in an extension that ends at `end`, or None if its dtype is none that is known here."""
    parts = _read_array(cursor, cursor.number(1))
    rank = _read_array(cursor, cursor.number(1))
    if parts != 3 or rank is None or rank > MAX_DIMENSIONS:
        raise FormatError("an array is malformed")
    shape = tuple(_read_integer(cursor) for _ in range(rank))
    dtype = _DTYPES.get(_read_key(cursor))
    size_bytes = _read_big(cursor, _BIN_WIDTHS, cursor.number(1))
    if size_bytes is None:
        raise FormatError("an array is malformed")
    if cursor.offset + size_bytes != end:
        raise FormatError("an array is longer or shorter than its bytes")
    if dtype is None:
        return None
    if not fits(dtype, shape, size_bytes):
        raise FormatError("an array's size does not fit its dtype and shape")
    return Tensor(name, dtype, shape, cursor.offset, size_bytes)


def _read_integer(cursor: Cursor) -> int:
    code = cursor.number(1)
    if code < 0x80:
        return code
    if 0xCC <= code <= 0xCF:
        return int.from_bytes(cursor.take(_FIXED_BYTES[code]), "big")
    raise FormatError("a dimension is no natural number")


def _read_key(cursor: Cursor) -> str:
    """Return the text that begins at the cursor; a number is taken for one."""
    code = cursor.number(1)
    if code < 0x80 or 0xCC <= code <= 0xCF:
        cursor.seek(cursor.offset - 1)
        return str(_read_integer(cursor))
    size_bytes = _read_text_size(cursor, code)
    if size_bytes is None:
        raise FormatError("a key is no text")
    return cursor.text(size_bytes)


def _read_text_size(cursor: Cursor, code: int) -> int | None:
    if 0xA0 <= code <= 0xBF:
        return code - 0xA0
    return _read_big(cursor, _STR_WIDTHS, code)


def _read_map(cursor: Cursor, code: int) -> int | None:
    return code - 0x80 if 0x80 <= code <= 0x8F else _read_big(cursor, _MAP_WIDTHS, code)


def _read_array(cursor: Cursor, code: int) -> int | None:
    return code - 0x90 if 0x90 <= code <= 0x9F else _read_big(cursor, _ARRAY_WIDTHS, code)


def _read_ext(cursor: Cursor, code: int) -> int | None:
    fixed = _EXT_FIXED_BYTES.get(code)
    return _read_big(cursor, _EXT_WIDTHS, code) if fixed is None else fixed


def _read_size(cursor: Cursor, code: int) -> int:
    """Return the bytes that follow the code of a value that holds no others."""
    if code < 0x80 or code >= 0xE0:
        return 0
    size_bytes = _FIXED_BYTES.get(code)
    if size_bytes is None:
        size_bytes = _read_text_size(cursor, code)
    if size_bytes is None:
        size_bytes = _read_big(cursor, _BIN_WIDTHS, code)
    if size_bytes is None:
        raise FormatError("a value is of an unknown type")
    return size_bytes


def _read_big(cursor: Cursor, widths: dict[int, int], code: int) -> int | None:
    """Return the big-endian number behind `code`, of the width that it has there, or None if it has none."""
    width = widths.get(code)
    return None if width is None else int.from_bytes(cursor.take(width), "big")
