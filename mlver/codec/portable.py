"""The loops over elements in numpy: the definition of what `mlver.codec.native` does; see `mlver.codec.loops`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlver.codec.portable_entropy import code, count, decode
from mlver.codec.portable_grid import displace, grid_classes, is_displaced, place
from mlver.codec.portable_levels import is_merged, merge, sort
from mlver.codec.portable_residuals import agreement, expect, unzigzagged, zigzagged
from mlver.codec.shapes import TABLE_ENTRIES, Elements, Plane, Split

__all__ = [
    "agreement",
    "code",
    "count",
    "decode",
    "displace",
    "expect",
    "grid_classes",
    "is_displaced",
    "is_joined",
    "is_merged",
    "join",
    "join_sparse",
    "learn",
    "merge",
    "pack_nibbles",
    "place",
    "sort",
    "split",
    "split_sparse",
    "unpack_nibbles",
]

_LEARN_SAMPLE = 1 << 12
_MIN_SEEN = 4
"""Elements of one mantissa that a sample must have to say anything of it."""
_GAIN = 32
"""At least one in so many elements must a table turn to zero."""
_ESCAPE = 15


def split(values: Elements, expected: Elements | None, move_sign: bool) -> Split:
    """See `mlver.codec.loops.Loops.split`."""
    if expected is not None:
        values = zigzagged(values, expected)
    bits = values.itemsize * 8
    planes = np.empty((values.itemsize, values.size), np.uint8)
    for plane, shift in zip(planes, range(bits - 8, -1, -8), strict=True):
        # Shift and narrow is several times as fast as a strided copy of the bytes: numpy has vector code for both.
        plane[:] = (values >> shift if shift else values).astype(np.uint8, copy=False)
    if move_sign:
        sign = planes[0] & 0x80
        planes[0] = (values >> (bits - 9)).astype(np.uint8)
        planes[1] &= 0x7F
        planes[1] |= sign
    if not values.size:
        return Split(planes, 0, 0)
    first = varying = 0
    for plane in planes:
        first = first << 8 | int(plane[0])
        varying = varying << 8 | int(np.bitwise_or.reduce(plane ^ plane[0]))
    return Split(planes, first, varying)


def join(planes: Sequence[Plane | int], expected: Elements | None, sign_moved: bool, out: Elements) -> None:
    """See `mlver.codec.loops.Loops.join`."""
    rest = list(planes)
    out[:] = rest.pop(0)
    if sign_moved:
        _join_sign(out, np.asarray(rest.pop(0), np.uint8))
    for plane in rest:
        out <<= 8
        out |= out.dtype.type(plane) if isinstance(plane, int) else plane
    if expected is not None:
        unzigzagged(out, expected)


def is_joined(planes: Sequence[Plane | int], expected: Elements | None, sign_moved: bool, values: Elements) -> bool:
    """See `mlver.codec.loops.Loops.is_joined`."""
    out = np.empty_like(values)
    join(planes, expected, sign_moved, out)
    return np.array_equal(out, values)


def _join_sign(out: Elements, second: npt.NDArray[np.uint8]) -> None:
    """Turn exponents into the sixteen highest bits of the elements, with the sign from bit 7 of `second`."""
    out <<= 7
    # Sign extension brings bit 7 to bit 15 (and to bit 7, which is the exponent's and is masked).
    low = second.view(np.int8).astype(np.int16).view(np.uint16)
    out |= low & 0x807F


def learn(values: Elements, base: Elements, shift: int) -> Elements | None:
    """See `mlver.codec.loops.Loops.learn`."""
    step = values.size // _LEARN_SAMPLE | 1
    sampled = base[::step]
    differences = values[::step] - sampled
    zeros = differences.size - int(np.count_nonzero(differences))
    if (differences.size - zeros) * _GAIN < differences.size:
        return None
    places = (sampled >> shift & (TABLE_ENTRIES - 1)).astype(np.intp)
    order = np.lexsort((differences, places))
    places, differences = places[order], differences[order]
    is_first = np.append(True, (places[1:] != places[:-1]) | (differences[1:] != differences[:-1]))
    starts = np.flatnonzero(is_first)
    times = np.diff(np.append(starts, places.size))
    starts, times = starts[times >= _MIN_SEEN], times[times >= _MIN_SEEN]
    # The last write wins: the commonest, of these the smallest.
    by_times = np.argsort(times[::-1], kind="stable")
    starts, times = starts[::-1][by_times], times[::-1][by_times]
    table, seen = np.zeros(TABLE_ENTRIES, values.dtype), np.zeros(TABLE_ENTRIES, np.int64)
    table[places[starts]] = differences[starts]
    seen[places[starts]] = times
    return table if (int(seen.sum()) - zeros) * _GAIN >= differences.size else None


def pack_nibbles(plane: Plane, start: int, most: int) -> tuple[Plane, Plane] | None:
    """See `mlver.codec.loops.Loops.pack_nibbles`."""
    nibbles = np.empty(plane.size + plane.size % 2, np.uint8)
    nibbles[-1:] = 0
    np.subtract(plane, np.uint8(start), out=nibbles[: plane.size])
    escaped = np.flatnonzero(nibbles >= _ESCAPE)
    if escaped.size > most:
        return None
    values = plane[escaped]
    nibbles[escaped] = _ESCAPE
    wide = nibbles.view("<u2")
    wide |= wide >> 4
    return wide.astype(np.uint8), values


def unpack_nibbles(pairs: Plane, escapes: Plane, start: int, count: int) -> Plane | None:
    """See `mlver.codec.loops.Loops.unpack_nibbles`."""
    wide = pairs.astype("<u2")
    wide |= wide << 4
    wide &= 0x0F0F
    nibbles = wide.view(np.uint8)
    plane = nibbles[:count]
    escaped = np.flatnonzero(plane == _ESCAPE)
    if escaped.size != escapes.size or nibbles[count:].any():
        return None
    plane += np.uint8(start)
    plane[escaped] = escapes
    return plane


def split_sparse(values: Elements, signs_apart: bool) -> tuple[Plane, Plane | None, Elements]:
    """See `mlver.codec.loops.Loops.split_sparse`."""
    signs = values & _sign_bit(values)
    magnitudes = values ^ signs if signs_apart else values
    filled = magnitudes != 0
    negative = np.packbits(signs != 0, bitorder="little") if signs_apart else None
    return np.packbits(filled, bitorder="little"), negative, magnitudes[np.flatnonzero(filled)]


def join_sparse(places: Plane, signs: Plane | None, values: Elements, out: Elements) -> bool:
    """See `mlver.codec.loops.Loops.join_sparse`."""
    filled = np.flatnonzero(_bits(places))
    if filled.size != values.size or (filled.size and filled[-1] >= out.size):
        return False
    out[:] = 0
    out[filled] = values
    if signs is not None:
        negative = _bits(signs)
        if negative[out.size :].any():
            return False
        out |= negative[: out.size] * _sign_bit(out)
    return True


def _bits(bitmap: Plane) -> npt.NDArray[np.uint8]:
    return np.unpackbits(bitmap, bitorder="little")


def _sign_bit(elements: Elements) -> Any:
    return elements.dtype.type(1 << (elements.itemsize * 8 - 1))
