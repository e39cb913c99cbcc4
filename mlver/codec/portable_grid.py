"""Elements on a grid in numpy; see `mlver.codec.grid` for what that is, `mlver.codec.loops` for the functions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mlver.codec.portable_levels import bit_lengths, packed, unpacked
from mlver.codec.portable_residuals import unzigzagged, zigzagged
from mlver.codec.shapes import BLOCK, GRID_CLASSES, GRID_TOP, QUARTERS, SYMBOLS, Elements, Grid, OnGrid, Plane

_ESCAPE = SYMBOLS - 1
Numbers = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]


class _Apart(NamedTuple):
    """Elements taken apart: all but the sign, whether that is set, the exponent, the significand; shape (n,) each."""

    magnitude: Numbers
    is_negative: Marks
    field: Numbers
    significand: Numbers

    def places(self, lines: Numbers, mantissa: int) -> Numbers:
        """Return where elements are on the grid that begins at each line."""
        coarse = self.significand >> np.clip(lines - self.field, 0, 63)
        place = np.where(self.field >= lines, self.magnitude - ((lines - 1) << mantissa), coarse)
        return np.where(self.is_negative, -place, place)


def place(values: Elements, expected: Elements, grid: Grid) -> OnGrid:
    """See `mlver.codec.loops.Loops.place`."""
    measured, steps = _steps(values.size, values.itemsize, grid)
    values, mantissa, lines = values[measured], grid.mantissa, steps // QUARTERS
    new, old = _apart(values, mantissa), _apart(expected[measured], mantissa)
    found = new.places(lines, mantissa)
    residuals = zigzagged(found.astype(values.dtype), old.places(lines, mantissa).astype(values.dtype))
    symbols = np.minimum(residuals, _ESCAPE).astype(np.uint8)
    is_small = (symbols < _ESCAPE) & (found == 0)
    depth = np.where(new.magnitude >> mantissa > 0, lines - new.field - (mantissa + 1), _ESCAPE)
    is_whole = (symbols == _ESCAPE) | is_small & (depth >= _ESCAPE)
    bits = _low_bits(is_small, is_whole, np.maximum(lines - new.field, 0), mantissa)
    sign = np.where(new.is_negative, 1 << mantissa, 0)
    low = np.where(is_small, new.significand & ((1 << mantissa) - 1) | sign, new.significand)
    return OnGrid(
        _classes(steps, old.field),
        symbols,
        np.minimum(depth[is_small], _ESCAPE).astype(np.uint8),
        values[is_whole],
        packed(low.astype("<u8"), bits),
    )


def grid_classes(expected: Elements, grid: Grid) -> Plane:
    """See `mlver.codec.loops.Loops.grid_classes`."""
    measured, steps = _steps(expected.size, expected.itemsize, grid)
    return _classes(steps, _apart(expected[measured], grid.mantissa).field)


def displace(parts: OnGrid, expected: Elements, grid: Grid, out: Elements) -> bool:
    """See `mlver.codec.loops.Loops.displace`."""
    measured, steps = _steps(expected.size, expected.itemsize, grid)
    mantissa, lines = grid.mantissa, steps // QUARTERS
    found = parts.symbols.astype(out.dtype)
    unzigzagged(found, _apart(expected[measured], mantissa).places(lines, mantissa).astype(out.dtype))
    signed = found.view(f"<i{out.itemsize}").astype(np.int64)
    is_escaped = parts.symbols == _ESCAPE
    is_small = ~is_escaped & (signed == 0)
    if np.count_nonzero(is_small) != parts.depths.size:
        return False
    depth = np.zeros(signed.size, np.int64)
    depth[is_small] = parts.depths
    is_whole = is_escaped | (depth == _ESCAPE)
    field = lines - (mantissa + 1) - depth
    if np.count_nonzero(is_whole) != parts.escapes.size or (field[is_small & ~is_whole] < 1).any():
        return False
    magnitude = np.abs(signed)
    below = np.clip(mantissa + 1 - bit_lengths(magnitude.astype("<u8")), 0, lines - 1)
    bits = _low_bits(is_small, is_whole, below, mantissa)
    found_low = unpacked(parts.low, bits)
    if found_low is None:
        return False
    low, sign = found_low.astype(np.int64), 1 << (8 * out.itemsize - 1)
    # Of a normal number the significand's highest bit is where the exponent is counted up from one below.
    magnitude = (magnitude << bits | low) + (lines - 1 - bits << mantissa) & (sign - 1)
    large = magnitude | np.where(signed < 0, sign, 0)
    small = field << mantissa | low & ((1 << mantissa) - 1) | np.where(low >> mantissa, sign, 0)
    joined = np.where(is_small, small, large).astype(out.dtype)
    joined[is_whole] = parts.escapes
    out[:] = expected
    out[measured] = joined
    return True


def is_displaced(parts: OnGrid, expected: Elements, grid: Grid, values: Elements) -> bool:
    """See `mlver.codec.loops.Loops.is_displaced`."""
    out = np.empty_like(values)
    return displace(parts, expected, grid, out) and np.array_equal(out, values)


def _steps(count: int, element_bytes: int, grid: Grid) -> tuple[npt.NDArray[np.intp], Numbers]:
    """Return which elements are measured, and in quarters the steps to expect of them."""
    levels = np.repeat(grid.levels, BLOCK)[:count].astype(np.int64)
    measured = np.flatnonzero(levels)
    steps = levels[measured] + grid.origin
    if grid.offsets.size:
        steps += grid.offsets[measured % grid.offsets.size]
    last = (1 << 8 * element_bytes - 1 - grid.mantissa) - 1
    return measured, np.clip(steps, QUARTERS, QUARTERS * last + QUARTERS - 1)


def _apart(elements: Elements, mantissa: int) -> _Apart:
    wide, sign = elements.astype(np.int64), 1 << (8 * elements.itemsize - 1)
    magnitude = wide & (sign - 1)
    exponent = magnitude >> mantissa
    significand = magnitude & ((1 << mantissa) - 1) | np.where(exponent > 0, 1 << mantissa, 0)
    return _Apart(magnitude, (wide & sign) != 0, np.maximum(exponent, 1), significand)


def _classes(steps: Numbers, field: Numbers) -> Plane:
    classes = steps - QUARTERS * np.maximum(steps // QUARTERS, field) + GRID_TOP
    found: Plane = np.clip(classes, 0, GRID_CLASSES - 1).astype(np.uint8)
    return found


def _low_bits(is_small: Marks, is_whole: Marks, below: Numbers, mantissa: int) -> npt.NDArray[np.int32]:
    """Return how many bits are below the grid, by where elements are."""
    bits = np.where(is_small, mantissa + 1, below)
    bits[is_whole] = 0
    return bits.astype(np.int32)
