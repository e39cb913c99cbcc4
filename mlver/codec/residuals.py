"""What is left of a chunk when its base is known: differences of bit patterns, small numbers where little changed.

Both encodings against a base of the same dtype begin with the same head, which says how to undo this::

    u8           bits 0–3: element size W in bytes: 1, 2, 4 or 8; bit 4: zero; bit 5: there are factors, and neither
                 steps nor a table; bit 6: there are steps; bit 7: there is a table
    …            with factors: these, see `mlver.codec.factors`
    u8, u32, …   with a table: shift, size in bytes of a zstd frame, and the frame: 128 integers of W bytes
    u32          with steps: the number of columns, from 1 to the number of elements
    u8, u16      with steps: shift and mask of the exponent
    i16          with steps: unit
    u32, …       with steps: size in bytes of a zstd frame, and the frame: the step of each column, i16

An element and its base element are taken as unsigned integers b and a of W bytes, little-endian. The residual is
``b - a - t - s``, modulo 2 ** (8 W), or with factors ``b`` less what they let one expect; it is stored in zigzag
order as ``2 r`` for r from 0 up and ``-2 r - 1`` below, r being the residual as a signed integer. A base that is
shorter than the chunk is followed by zeros; what is longer is not used.

t is 0, or ``table[a >> shift & 127]``. s is 0, or that of column i modulo the number of columns for element i: with
``k = max(1, a >> shift & mask) - unit``, moved into 0 … 31, s is ``step * 2 ** 14 / 2 ** k``, rounded to the nearest
and ties up; with the highest bit of a set, it is the negative of that.

The table is for weight decay. A row of an embedding whose word did not come up was multiplied by the same number just
below one, time and again; how many units of the last place that takes is a function of the mantissa's highest bits
alone, and a step function of few steps. The differences of such rows, which look like ten bits of noise, become zeros.

The steps are for rows that go the same way, as those of an embedding that is the last layer too do for all words that
do not come up, and second moments do. A step in units of the last place depends on the exponent of what steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mlver.codec import factors, frames, loops, planes
from mlver.codec.frames import Buffer
from mlver.codec.shapes import STEP_BITS, TABLE_ENTRIES, Elements, Expectation, Exponent
from mlver.errors import IntegrityError

_TABLE = 0x80
_INDEX_BITS = 7
_MANTISSA_BITS = {"F32": 23, "C64": 23, "F64": 52, "C128": 52}
"""Decay moves narrower floats by less than a unit."""
_EXPONENTS = {
    **dict.fromkeys(("F32", "C64"), Exponent(23, 255)),
    **dict.fromkeys(("F64", "C128"), Exponent(52, 2047)),
    "F16": Exponent(10, 31),
    "BF16": Exponent(7, 255),
    "F8_E4M3": Exponent(3, 15),
    "F8_E5M2": Exponent(2, 31),
}
_STEPS, _FACTORS = 0x40, 0x20
_STEPPING = frozenset({"F32", "F16", "BF16"})
_MIN_COLUMNS, _MIN_ROWS, _MAX_ROWS = 16, 9, 32
"""Of how many columns steps are worth their bytes, and how many rows tell them."""
_STEP_SAMPLE = 1 << 15
_LOOKED_AT = 512
_AGREED = 0.45
"""How much the rows of a sample must agree on the sign of their step; of nine rows, chance makes 0.27 of it."""
_STORED_BITS = 15
_MOST_STEP = (1 << _STORED_BITS) - 1


class View(NamedTuple):
    """A chunk, or a sample of one, and what is expected of it.

    Attributes:
        values: Its elements, shape (n,).
        base: Those of the base, shape (n,).
        expectation: What is expected of them.
        expected: The elements that are expected by it, shape (n,).
        exponent: By which exponent of the base their residuals are sorted, if they are.
        tail: The bytes after the last element.
    """

    values: Elements
    base: Elements
    expectation: Expectation
    expected: Elements
    exponent: Exponent
    tail: Buffer

    def expecting(self, expectation: Expectation) -> View:
        """Return the same with something else expected of it."""
        return self._replace(expectation=expectation, expected=expected(self.base, expectation))


def aligned(base: Buffer, size_bytes: int) -> Buffer:
    """Return `base` cut, or filled with zeros, to `size_bytes`."""
    if len(base) >= size_bytes:
        return memoryview(base)[:size_bytes]
    return bytes(base) + bytes(size_bytes - len(base))


def elements(data: Buffer, element_bytes: int) -> Elements:
    """Return the whole elements of `data` as unsigned integers, without a copy."""
    return np.frombuffer(data, f"<u{element_bytes}", count=len(data) // element_bytes)


def exponent_of(dtype: str) -> Exponent:
    """Return where the exponent is, by the elements' safetensors name; other elements than floats have none."""
    return _EXPONENTS.get(dtype, Exponent())


def table_of(values: Elements, base: Elements, dtype: str) -> Expectation:
    """Return what the table lets one expect of a chunk's elements, if anything, both of shape (n,)."""
    mantissa_bits = _MANTISSA_BITS.get(dtype)
    if mantissa_bits is None or not values.size:
        return Expectation()
    shift = mantissa_bits - _INDEX_BITS
    return Expectation(loops.current.learn(values, base, shift), shift)


def steps_of(values: Elements, base: Elements, dtype: str, columns: int) -> Expectation | None:
    """Return the steps of a chunk's columns if its rows went the same way, else None."""
    rows = values.size // max(columns, 1)
    if dtype not in _STEPPING or columns < _MIN_COLUMNS or rows < _MIN_ROWS:
        return None
    row_step, column_step = rows // _MIN_ROWS, columns // _LOOKED_AT + 1
    seen = -(-rows // row_step) * -(-columns // column_step)
    if loops.current.agreement(values, base, columns, row_step, column_step) < _AGREED * seen:
        return None
    old, new = (each[: rows * columns].reshape(rows, columns) for each in (base, values))
    some = slice(None, None, max(rows // _MAX_ROWS, rows * columns // _STEP_SAMPLE, 1))
    old, moved = old[some], _moved(new[some], old[some])
    exponent = exponent_of(dtype)
    fields = np.maximum(old >> exponent.shift & exponent.mask, 1).astype(np.int64)
    steps = np.median(np.ldexp(moved.astype(np.float64), fields), axis=0)
    if not steps.any():
        return None
    scale = int(np.frexp(np.abs(steps).max())[1]) - _STORED_BITS
    stored = np.clip(np.rint(np.ldexp(steps, -scale)), -_MOST_STEP, _MOST_STEP).astype("<i2")
    return Expectation(None, 0, stored, scale - STEP_BITS, exponent)


def _moved(new: Elements, old: Elements) -> npt.NDArray[np.int64]:
    """Return by how many units of the last place elements moved upwards, rows of them."""
    moved = (new - old).view(f"<i{old.itemsize}").astype(np.int64)
    moved[old >> (8 * old.itemsize - 1) != 0] *= -1
    return moved


def expected(base: Elements, expectation: Expectation) -> Elements:
    """Return the elements that are expected where the base has these, shape (n,)."""
    if expectation.factors is not None:
        return factors.expected(base, expectation.factors)
    if expectation.table is None and expectation.steps is None:
        return base
    return loops.current.expect(base, expectation)


def write_head(expectation: Expectation, element_bytes: int) -> bytes:
    """Return the head of a payload."""
    if expectation.factors is not None:
        return bytes([element_bytes | _FACTORS]) + factors.write(expectation.factors)
    flags, told = element_bytes, b""
    if expectation.table is not None:
        flags |= _TABLE
        told += bytes([expectation.table_shift]) + _framed(expectation.table)
    if expectation.steps is not None:
        flags |= _STEPS
        told += expectation.steps.size.to_bytes(planes.LENGTH_BYTES, "little") + write_exponent(expectation.exponent)
        told += expectation.unit.to_bytes(2, "little", signed=True) + _framed(expectation.steps)
    return bytes([flags]) + told


def read_head(reader: planes.Reader, raw_size: int) -> tuple[int, Expectation]:
    """Read the head of a payload: the element size in bytes, and what is expected.

    Raises:
        IntegrityError: It is not one of a chunk of `raw_size` bytes.
    """
    flags = reader.byte()
    if flags & _FACTORS:
        element_bytes = flags & ~_FACTORS
        return element_bytes, Expectation(factors=factors.read(reader, raw_size, element_bytes))
    element_bytes, has_table = planes.flagged(flags & ~_STEPS)
    table, shift = None, 0
    if has_table:
        shift = reader.byte()
        if shift >= 8 * element_bytes:
            raise IntegrityError(f"A chunk's table is shifted by {shift} bits, and its elements have fewer.")
        content = frames.decompress(reader.take(reader.length()), TABLE_ENTRIES * element_bytes)
        table = np.frombuffer(content, f"<u{element_bytes}")
    if not flags & _STEPS:
        return element_bytes, Expectation(table, shift)
    columns = reader.length()
    exponent = read_exponent(reader, element_bytes)
    unit = int.from_bytes(reader.take(2), "little", signed=True)
    if not 0 < columns <= raw_size // element_bytes:
        raise IntegrityError(f"A chunk of {raw_size} bytes claims {columns} columns.")
    steps = np.frombuffer(frames.decompress(reader.take(reader.length()), 2 * columns), "<i2")
    return element_bytes, Expectation(table, shift, steps, unit, exponent)


def read_exponent(reader: planes.Reader, element_bytes: int) -> Exponent:
    """Read where the exponent is.

    Raises:
        IntegrityError: It is beyond the element.
    """
    shift, mask = reader.byte(), int.from_bytes(reader.take(2), "little")
    if shift >= 8 * element_bytes:
        raise IntegrityError(f"A chunk's exponents begin at bit {shift}, and its elements have fewer.")
    return Exponent(shift, mask)


def write_exponent(exponent: Exponent) -> bytes:
    """Return what `read_exponent` reads."""
    return bytes([exponent.shift]) + exponent.mask.to_bytes(2, "little")


def _framed(values: npt.NDArray[np.integer[Any]]) -> bytes:
    frame = frames.compress_always(values.tobytes())
    return len(frame).to_bytes(planes.LENGTH_BYTES, "little") + frame
