"""Encoding GRID: elements as places on a grid as fine as the step, for those that a step moves to other exponents.

Where a step is small against an element, differences of bit patterns are what is small. Where it is not, as in weights
that were zero a short while ago, patterns jump between exponents and signs. So floats are rounded towards zero to a
grid that begins, for each block of elements, at an exponent near the step's: larger elements are on it what they are as
bit patterns, smaller ones multiples of one unit, and zero is in the middle. Places are subtracted and entropy-coded;
what is below the grid is noise, and is stored bit by bit.

Layout of the payload, in this order::

    …          the head, see `mlver.codec.residuals`; W is at most 4
    u8         M: how many bits the mantissa has; the sign is the highest bit, and the exponent is between them
    i16        origin
    u32        C: the number of columns that have offsets; 0 if there are none
    u32, …     with C: size in bytes of a zstd frame, and the frame: an offset of each column, i8
    u32, …     size in bytes of a zstd frame, and the frame: the level of each block of 128 elements, u8
    u32, u32   number of depths and of escapes
    u32        size in bytes of the low bits
    …          if a level is not zero: the symbols, then the depths, see `mlver.codec.entropy`; tables may be known
    …          the low bits
    …          if there are escapes, these as a payload of `mlver.codec.planes`, not moved
    …          the raw size modulo W last bytes of the chunk, as they are

Elements of a block of level 0 are as expected. For element i of the others the step is ``s = origin + level +
offset[i % C]``, in quarters of a power of two, moved into 4 … 4 F + 3, F being the highest exponent that there is; the
grid begins at ``k = s // 4``. Let p be the bits below the sign, and ``f = max(1, p >> M)``. If f is k or more, the
place is ``p - (k - 1 << M)``, else the significand (the mantissa, and above it 1 unless p >> M is zero) shifted down by
k - f; it is negative if the sign is set. The symbol is the residual of the place against that of the expected element,
modulo 2 ** (8 W) and in zigzag order, at most 63: then the element is an escape. Its class is ``s - 4 max(k, f) + 40``,
moved into 0 … 43, f being that of the expected element.

Where an element's place is 0 and it is no escape, ``k - f - M - 1`` is its depth, at most 63: then it is an escape,
too, as all with p >> M = 0 are. Depths are of class 44. Low bits are end to end in the order of the elements, the
lowest bit first: of escapes none; of elements with a depth the mantissa, then the sign; of the others the bits of the
significand that were shifted out.

The known table of a class below 44 is a bell curve, as wide as the class says; of the others, that of depths among
them, 2 ** -j for symbol j. `known_shares` says how they are rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mlver.codec import entropy, frames, loops, planes, residuals
from mlver.codec.frames import Buffer
from mlver.codec.residuals import View
from mlver.codec.shapes import (
    BLOCK,
    DEPTH_CLASS,
    MAX_CLASSES,
    MOST_LEVEL,
    QUARTERS,
    SLOTS,
    SYMBOLS,
    Elements,
    Grid,
    OnGrid,
    Plane,
    Shares,
)
from mlver.errors import IntegrityError

MANTISSAS = {"F32": 23, "BF16": 7, "F16": 10}
"""Bits of the mantissa, of the types that this encoding is for."""
_UNIT_BITS = 2
"""A step is on average four to eight units of the grid."""
_MOST_OFFSET = 40
_TABLES = (MAX_CLASSES, MAX_CLASSES)
_WORTH = 4.5
"""How many times the variance of columns' steps must be that of one row's guess, to be worth offsets."""
_MOST_MOVED = 2.0**100
"""Sums of steps below this are finite."""
_WEIGHT_BITS = 30
_RATIOS = (
    2105376,
    2505587,
    2982296,
    3550299,
    4227329,
    5034671,
    5997908,
    7147862,
    8521752,
    10164648,
    12131315,
    14488561,
    17318269,
    20721354,
    24822998,
    29779665,
    35788655,
    43101326,
    52041685,
    63032964,
    76636137,
    93606159,
    114973549,
    142157697,
    177102339,
    222354954,
    280807034,
    354493847,
    442293456,
    538676327,
    635734317,
    726241901,
    805352683,
    870954883,
    923147008,
    963374119,
    993651337,
    1016044113,
    1032395669,
    1044226294,
    1052729500,
    1058812301,
    1063149017,
    1066233466,
)
"""By class: how often a difference of one comes for each of zero, in units of 2 ** -30. In a bell curve as wide as that
the mean difference, without its sign, is ``2 ** (class / 4 - 8)``."""


def encode(view: View, dtype: str, columns: int) -> tuple[Buffer, ...]:
    """Return the payload's parts for a chunk of one of the types of `MANTISSAS`.

    Args:
        view: The chunk.
        dtype: Its type.
        columns: Elements in a row of the tensor; 0 if it has no rows.
    """
    grid = fit(view, dtype, columns)
    found = loops.current.place(view.values, view.expected, grid)
    header = bytearray(residuals.write_head(view.expectation, view.values.itemsize)) + bytes([grid.mantissa])
    header += grid.origin.to_bytes(2, "little", signed=True) + _length(grid.offsets.size)
    if grid.offsets.size:
        header += _framed(grid.offsets.tobytes())
    header += _framed(grid.levels.data)
    header += _length(found.depths.size) + _length(found.escapes.size) + _length(found.low.size)
    stored: list[Buffer] = []
    if found.symbols.size:
        classes, symbols = _with_depths(found.classes, found.depths.size), np.append(found.symbols, found.depths)
        stored += entropy.encode(classes, symbols, _TABLES, known_shares())
    stored.append(found.low.data)
    if found.escapes.size:
        stored += planes.encode(found.escapes.view(np.uint8).data, view.values.itemsize, move_sign=False)
    return (bytes(header), *stored, view.tail)


def decode(payload: Buffer, raw_size: int, base: Buffer) -> memoryview:
    """Give back the `raw_size` bytes of a chunk.

    Raises:
        IntegrityError: `payload` is not the elements of `raw_size` bytes on a grid.
    """
    read = _read(planes.Reader(memoryview(payload)), raw_size, base)
    out = np.empty(raw_size, np.uint8)
    values = out[: read.expected.nbytes].view(read.expected.dtype)
    if not loops.current.displace(read.parts, read.expected, read.grid, values):
        raise IntegrityError("A chunk's elements are not on their grid.")
    out[values.nbytes :] = read.tail
    return out.data


def decodes_to(parts: Sequence[Buffer], raw: Buffer, base: Buffer) -> bool:
    """Tell whether a payload in parts gives back a chunk.

    Raises:
        IntegrityError: The payload is not the elements of a chunk of this size on a grid.
    """
    read = _read(planes.Reader.of(parts), len(raw), base)
    values = residuals.elements(raw, read.expected.itemsize)
    return (
        loops.current.is_displaced(read.parts, read.expected, read.grid, values)
        and read.tail.data == memoryview(raw)[values.nbytes :]
    )


@cache
def known_shares() -> Shares:
    """Return the known tables, shape (64, 64)."""
    shares = np.empty((MAX_CLASSES, SYMBOLS), np.uint16)
    for number, ratio in enumerate(_RATIOS):
        shares[number] = _rounded(_bell(ratio))
    shares[DEPTH_CLASS:] = _rounded([1 << SYMBOLS - symbol for symbol in range(SYMBOLS)])
    shares.flags.writeable = False
    return shares


def _bell(ratio: int) -> list[int]:
    """Return the weights of all symbols: those of the difference d go with the ratio to the power of d squared."""
    weight, step, square = 1 << _WEIGHT_BITS, ratio, ratio * ratio >> _WEIGHT_BITS
    weights = [weight]
    while len(weights) < SYMBOLS:
        weight = weight * step >> _WEIGHT_BITS
        step = step * square >> _WEIGHT_BITS
        weights += [weight, weight]
    return weights[:SYMBOLS]


def _rounded(weights: list[int]) -> list[int]:
    """Return shares of 4096 by weights, each at least one; the first has what is left."""
    total = sum(weights)
    shares = [max(1, (2 * SLOTS * weight + total) // (2 * total)) for weight in weights[1:]]
    return [SLOTS - sum(shares), *shares]


def fit(view: View, dtype: str, columns: int) -> Grid:
    """Return the grid that suits a chunk."""
    mantissa, width = MANTISSAS[dtype], view.values.itemsize
    moved = _moved(view, dtype)
    offsets = _offsets(moved, columns)
    if offsets.size:
        moved *= np.exp2(np.resize(offsets, moved.size) * np.float32(-1 / QUARTERS))
    means = _by_block(moved).sum(axis=1) / _block_sizes(moved.size)
    has_step = means > 0
    bias = (1 << 8 * width - 2 - mantissa) - 1
    quarters = np.rint(QUARTERS * np.log2(means, where=has_step, out=np.zeros_like(means))).astype(np.int64)
    quarters += QUARTERS * (bias + mantissa - _UNIT_BITS)
    lowest = int(quarters[has_step].min()) if has_step.any() else 0
    levels = np.clip(np.where(has_step, quarters, lowest), lowest, lowest + MOST_LEVEL - 1) - (lowest - 1)
    levels[~_by_block(view.values != view.expected).any(axis=1)] = 0
    return Grid(levels.astype(np.uint8), lowest - 1, offsets, mantissa)


def _moved(view: View, dtype: str) -> npt.NDArray[np.float32]:
    """Return by how much elements differ from what is expected; nothing where that is beyond all weights."""
    with np.errstate(all="ignore"):
        moved: npt.NDArray[np.float32] = np.abs(_numbers(view.values, dtype) - _numbers(view.expected, dtype))
    moved[~(moved < _MOST_MOVED)] = 0
    return moved


def _numbers(elements: Elements, dtype: str) -> npt.NDArray[np.float32]:
    if dtype == "F16":
        return elements.view("<f2").astype("<f4")
    bits = elements if dtype == "F32" else elements.astype("<u4") << np.uint32(16)
    numbers: npt.NDArray[np.float32] = bits.view("<f4")
    return numbers


def _offsets(moved: npt.NDArray[np.float32], columns: int) -> npt.NDArray[np.int8]:
    """Return by how many quarters columns' steps are above or below the mean, if they differ enough to be worth it."""
    none = np.empty(0, np.int8)
    rows = moved.size // max(columns, 1)
    if columns < 2 or rows < 2:
        return none
    table = moved[: rows * columns].reshape(rows, columns)
    of_rows = table.mean(axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        of_columns = np.log2(np.where(of_rows > 0, table / of_rows, 0).mean(axis=0))
    of_columns[~np.isfinite(of_columns)] = 0
    if float(of_columns.var()) * np.log(2) ** 2 * rows < _WORTH:
        return none
    quarters = np.rint(QUARTERS * (of_columns - of_columns.mean()))
    offsets: npt.NDArray[np.int8] = np.clip(quarters, -_MOST_OFFSET, _MOST_OFFSET).astype(np.int8)
    return offsets


def _by_block(elements: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return elements by block, shape (blocks, 128), the last one filled with zeros."""
    filled = np.zeros(-(-elements.size // BLOCK) * BLOCK, elements.dtype)
    filled[: elements.size] = elements
    return filled.reshape(-1, BLOCK)


def _block_sizes(count: int) -> npt.NDArray[np.float32]:
    sizes = np.full(-(-count // BLOCK), BLOCK, np.float32)
    if count % BLOCK:
        sizes[-1] = count % BLOCK
    return sizes


def _with_depths(classes: Plane, depths: int) -> Plane:
    return np.append(classes, np.full(depths, DEPTH_CLASS, np.uint8))


class _Read(NamedTuple):
    """A payload, read: all that is needed to put elements back, and the bytes after the last one."""

    parts: OnGrid
    expected: Elements
    grid: Grid
    tail: Plane


def _read(reader: planes.Reader, raw_size: int, base: Buffer) -> _Read:
    width, expectation = residuals.read_head(reader, raw_size)
    old = residuals.elements(residuals.aligned(base, raw_size), width)
    expected = residuals.expected(old, expectation)
    grid = _read_grid(reader, old.size, width)
    parts = _read_parts(reader, grid, expected)
    tail = reader.plane(raw_size - old.nbytes)
    reader.end()
    return _Read(parts, expected, grid, tail)


def _read_grid(reader: planes.Reader, count: int, width: int) -> Grid:
    mantissa = reader.byte()
    if width > 4 or not 1 <= mantissa <= 8 * width - 2:
        raise IntegrityError(f"A chunk's elements of {width} bytes have mantissas of {mantissa} bits.")
    origin = int.from_bytes(reader.take(2), "little", signed=True)
    columns = reader.length()
    if columns > count:
        raise IntegrityError(f"A chunk of {count} elements claims {columns} columns.")
    offsets = frames.decompress(reader.take(reader.length()), columns) if columns else b""
    levels = frames.decompress(reader.take(reader.length()), (count + BLOCK - 1) // BLOCK)
    return Grid(np.frombuffer(levels, np.uint8), origin, np.frombuffer(offsets, np.int8), mantissa)


def _read_parts(reader: planes.Reader, grid: Grid, expected: Elements) -> OnGrid:
    depths, escaped, low_bytes = reader.length(), reader.length(), reader.length()
    classes = loops.current.grid_classes(expected, grid)
    if depths > classes.size or escaped > classes.size:
        raise IntegrityError(f"A chunk claims {depths} depths and {escaped} escapes of {classes.size} elements.")
    symbols = np.empty(0, np.uint8)
    if classes.size:
        symbols = entropy.decode(reader, _with_depths(classes, depths), known_shares())
    low = reader.plane(low_bytes)
    escapes = np.empty(0, expected.dtype)
    if escaped:
        escapes = planes.decode_values(reader, escaped, expected.itemsize)
    return OnGrid(classes, symbols[: classes.size], symbols[classes.size :], escapes, low)


def _framed(data: Buffer) -> bytes:
    frame = frames.compress_always(data)
    return _length(len(frame)) + frame


def _length(value: int) -> bytes:
    return value.to_bytes(planes.LENGTH_BYTES, "little")
