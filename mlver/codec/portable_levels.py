"""Levels and classes in numpy; see `mlver.codec.levels` for what they are, `mlver.codec.loops` for the functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mlver.codec.portable_entropy import decode
from mlver.codec.portable_residuals import exponents, unzigzagged, zigzagged
from mlver.codec.shapes import (
    ALL_ODD,
    ALL_ZERO,
    BLOCK,
    MAX_CLASSES,
    MOST_LEVEL,
    MOST_LOW_BITS,
    PLANE_ESCAPE,
    SYMBOLS,
    Cut,
    Elements,
    Exponent,
    Plane,
    Residuals,
    Sorted,
    Sorting,
)

_ROOM_BITS = {1: 24, 2: 24, 4: 57, 8: 57}
"""The bits that values are shifted to, by element size: the sum of a block fits into 32 or 64."""
_NO_LEVEL = -1


def sort(values: Elements, expected: Elements, base: Elements, exponent: Exponent, cut: Cut) -> tuple[Sorting, Sorted]:
    """See `mlver.codec.loops.Loops.sort`."""
    left, found = _measure(values, expected, base, exponent)
    known = found[found > ALL_ODD]
    lowest = int(known.min()) if known.size else 0
    levels = np.clip(found, lowest, lowest + MOST_LEVEL - 1) - (lowest - 1)
    levels[found == ALL_ZERO] = 0
    sorting = Sorting(levels.astype(np.uint8), lowest - 1 + cut.unshifted - cut.bits, cut.unshifted, cut.coded)
    return sorting, _sort(left, base, exponent, sorting)


def _measure(
    values: Elements, expected: Elements, base: Elements, exponent: Exponent
) -> tuple[Elements, npt.NDArray[np.int32]]:
    """Return residuals in zigzag order, and the level of each block of them."""
    residuals = zigzagged(values, expected)
    kept = residuals
    if values.itemsize > 1:
        # Where signs differ, residuals have nothing to do with the step's size.
        kept = np.where(residuals >> (8 * values.itemsize - 3), 0, residuals).astype(residuals.dtype)
    blocks, of_kept, of_exponents = (_blocks(each) for each in (residuals, kept, exponents(base, exponent)))
    levels = _levels(of_kept.astype(np.uint64), of_exponents, _sizes(values.size), _ROOM_BITS[values.itemsize])
    levels[~of_kept.any(axis=1)] = ALL_ODD
    levels[~blocks.any(axis=1)] = ALL_ZERO
    return residuals, levels


def _levels(
    kept: npt.NDArray[np.uint64], exponents: npt.NDArray[np.int32], sizes: npt.NDArray[np.uint64], room_bits: int
) -> npt.NDArray[np.int32]:
    """Return the bits of each block's mean, in units that all elements share; shapes (blocks, 128) and (blocks,)."""
    if not len(kept):
        return np.zeros(0, np.int32)
    highest = np.where(kept > 0, exponents, 0).max(axis=1)
    bits = bit_lengths(np.bitwise_or.reduce(kept, axis=1))
    room = (room_bits - bits)[:, None]
    scaled = np.where(room >= 0, kept << np.maximum(room, 0).astype("<u8"), kept >> np.maximum(-room, 0).astype("<u8"))
    below = highest[:, None] - exponents
    # Of elements that are zero the exponents may be higher than the highest.
    scaled >>= np.where(below < 0, 63, np.minimum(below, 63)).astype("<u8")
    means = scaled.sum(axis=1, dtype=np.uint64) // sizes
    levels: npt.NDArray[np.int32] = (bit_lengths(means) + bits - room_bits + highest).astype(np.int32)
    return levels


def bit_lengths(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return the number of each value's highest bit, from one up; 0 of zeros."""
    lengths = np.zeros(values.shape, np.int64)
    for bits in (32, 16, 8, 4, 2, 1):
        is_longer = values >> bits > 0
        lengths += bits * is_longer
        values = np.where(is_longer, values >> bits, values)
    return lengths + (values > 0)


def _blocks(elements: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return elements by block, shape (blocks, 128), the last one filled with zeros."""
    filled = np.zeros(-(-elements.size // BLOCK) * BLOCK, elements.dtype)
    filled[: elements.size] = elements
    return filled.reshape(-1, BLOCK)


def _sizes(count: int) -> npt.NDArray[np.uint64]:
    sizes = np.full(-(-count // BLOCK), BLOCK, np.uint64)
    if count % BLOCK:
        sizes[-1] = count % BLOCK
    return sizes


def _sort(residuals: Elements, base: Elements, exponent: Exponent, sorting: Sorting) -> Sorted:
    of_each = _classes(base, exponent, sorting)
    measured = np.flatnonzero(of_each != _NO_LEVEL)
    of_each, values = of_each[measured], residuals[measured]
    bits = _low_bits(of_each, sorting, values.itemsize)
    upper: Elements = values >> bits.astype(values.dtype)
    is_coded = of_each < sorting.coded
    most = _most(is_coded)
    symbols = np.minimum(upper, most).astype(np.uint8)
    return Sorted(
        symbols[~is_coded],
        of_each[is_coded].astype(np.uint8),
        symbols[is_coded],
        upper[upper >= most],
        packed(values, bits),
    )


def merge(
    parts: Residuals, expected: Elements, base: Elements, exponent: Exponent, sorting: Sorting, out: Elements
) -> bool:
    """See `mlver.codec.loops.Loops.merge`."""
    of_each = _classes(base, exponent, sorting)
    measured = np.flatnonzero(of_each != _NO_LEVEL)
    of_each = of_each[measured]
    is_coded = of_each < sorting.coded
    bits = _low_bits(of_each, sorting, out.itemsize)
    coded = int(np.count_nonzero(is_coded))
    if (coded, of_each.size - coded) != (parts.coded, parts.plane.size):
        return False
    upper = np.empty(of_each.size, out.dtype)
    upper[~is_coded] = parts.plane
    if coded:
        symbols = None if parts.symbols is None else decode(of_each[is_coded].astype(np.uint8), parts.symbols)
        if symbols is None:
            return False
        upper[is_coded] = symbols
    escaped = upper == _most(is_coded)
    low = unpacked(parts.low, bits)
    if np.count_nonzero(escaped) != parts.escapes.size or low is None:
        return False
    upper[escaped] = parts.escapes
    out[:] = 0
    out[measured] = upper << bits.astype(out.dtype) | low.astype(out.dtype)
    unzigzagged(out, expected)
    return True


def is_merged(
    parts: Residuals, expected: Elements, base: Elements, exponent: Exponent, sorting: Sorting, values: Elements
) -> bool:
    """See `mlver.codec.loops.Loops.is_merged`."""
    out = np.empty_like(values)
    return merge(parts, expected, base, exponent, sorting, out) and np.array_equal(out, values)


def _classes(base: Elements, exponent: Exponent, sorting: Sorting) -> npt.NDArray[np.int32]:
    """Return the class of each element, or `_NO_LEVEL` in blocks that are all zero."""
    levels = np.repeat(sorting.levels, BLOCK)[: base.size].astype(np.int32)
    of_each: npt.NDArray[np.int32] = np.clip(
        levels + np.int32(sorting.origin) - exponents(base, exponent), 0, MAX_CLASSES - 1
    )
    of_each[levels == 0] = _NO_LEVEL
    return of_each


def _low_bits(of_each: npt.NDArray[np.int32], sorting: Sorting, element_bytes: int) -> npt.NDArray[np.int32]:
    bits: npt.NDArray[np.int32] = np.clip(of_each - np.int32(sorting.unshifted), 0, MOST_LOW_BITS[element_bytes])
    return bits


def _most(is_coded: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return np.where(is_coded, np.uint8(SYMBOLS - 1), np.uint8(PLANE_ESCAPE))


def packed(values: Elements, bits: npt.NDArray[np.int32]) -> Plane:
    """Return the lowest `bits` bits of each value, end to end."""
    ends = np.cumsum(bits, dtype=np.int64)
    total = int(ends[-1]) if ends.size else 0
    words = np.zeros(total // 64 + 2, "<u8")
    starts = ends - bits
    wide, shifts = values.astype("<u8"), (starts & 63).astype("<u8")
    wide &= (np.uint64(1) << bits.astype("<u8")) - np.uint64(1)
    places = starts >> 6
    _gather(words, places, wide << shifts)
    # In two steps, since a shift by 64 is none.
    _gather(words, places + 1, wide >> (np.uint64(63) - shifts) >> np.uint64(1))
    return words.view(np.uint8)[: (total + 7) // 8]


def _gather(words: npt.NDArray[np.uint64], places: npt.NDArray[np.int64], parts: npt.NDArray[np.uint64]) -> None:
    """Add up the parts that belong into each word; the places are in order."""
    if places.size:
        starts = np.flatnonzero(np.append(True, places[1:] != places[:-1]))
        words[places[starts]] |= np.add.reduceat(parts, starts)


def unpacked(low: Plane, bits: npt.NDArray[np.int32]) -> npt.NDArray[np.uint64] | None:
    """Undo `packed`; None if `low` has not exactly these bits."""
    ends = np.cumsum(bits, dtype=np.int64)
    total = int(ends[-1]) if ends.size else 0
    if low.size != (total + 7) // 8 or (total % 8 and low[-1] >> (total % 8)):
        return None
    words = np.zeros(total // 64 + 2, "<u8")
    words.view(np.uint8)[: low.size] = low
    starts = ends - bits
    places, shifts = starts >> 6, (starts & 63).astype("<u8")
    found: npt.NDArray[np.uint64] = words[places] >> shifts
    found |= words[places + 1] << (np.uint64(63) - shifts) << np.uint64(1)
    found &= (np.uint64(1) << bits.astype("<u8")) - np.uint64(1)
    return found
