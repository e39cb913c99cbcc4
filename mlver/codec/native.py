"""The loops over elements in compiled C (`kernel.c`), called by ctypes, which lets other threads run meanwhile.

See `mlver.codec.loops` for what they do. The library is built with the package; where there is none,
`mlver.codec.portable` does the work.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlver.codec.library import (
    at,
    call,
    coded_told,
    expectation_told,
    exponent_told,
    grid_told,
    residuals_told,
    room,
    sorting_told,
)
from mlver.codec.shapes import (
    BLOCK,
    LEARN_SLOTS,
    MAX_CLASSES,
    SLOTS,
    SYMBOLS,
    TABLE_ENTRIES,
    Coded,
    Cut,
    Elements,
    Expectation,
    Exponent,
    Grid,
    OnGrid,
    Plane,
    Residuals,
    Shares,
    Sorted,
    Sorting,
    Split,
)

_SLOT_BYTES = 4 * MAX_CLASSES * SLOTS


def split(values: Elements, expected: Elements | None, move_sign: bool) -> Split:
    """See `mlver.codec.loops.Loops.split`."""
    planes = np.empty((values.itemsize, values.size), np.uint8)
    told = (ctypes.c_uint64 * 2)()
    call("split", values.itemsize, at(values), at(expected), values.size, move_sign, at(planes), told)
    return Split(planes, told[0], told[1])


def join(planes: Sequence[Plane | int], expected: Elements | None, sign_moved: bool, out: Elements) -> None:
    """See `mlver.codec.loops.Loops.join`."""
    _join(planes, expected, sign_moved, out, None)


def is_joined(planes: Sequence[Plane | int], expected: Elements | None, sign_moved: bool, values: Elements) -> bool:
    """See `mlver.codec.loops.Loops.is_joined`."""
    return not _join(planes, expected, sign_moved, None, values)


def _join(
    planes: Sequence[Plane | int],
    expected: Elements | None,
    sign_moved: bool,
    out: Elements | None,
    same: Elements | None,
) -> int:
    width, size = len(planes), (out if same is None else same).size  # type: ignore[union-attr]
    places = (ctypes.c_void_p * len(planes))(*(None if isinstance(plane, int) else at(plane) for plane in planes))
    constants = (ctypes.c_int64 * len(planes))(*(plane if isinstance(plane, int) else 0 for plane in planes))
    return call("join", width, places, constants, at(expected), size, sign_moved, at(out), at(same))


def learn(values: Elements, base: Elements, shift: int) -> Elements | None:
    """See `mlver.codec.loops.Loops.learn`."""
    keys, seen = np.empty(LEARN_SLOTS, np.uint64), np.empty(LEARN_SLOTS, np.uint32)
    table = np.empty(TABLE_ENTRIES, values.dtype)
    told = call("learn", values.itemsize, at(values), at(base), values.size, shift, at(keys), at(seen), at(table))
    return table if told else None


def agreement(values: Elements, base: Elements, columns: int, row_step: int, column_step: int) -> int:
    """See `mlver.codec.loops.Loops.agreement`."""
    rows = values.size // columns
    return call("agreement", values.itemsize, at(values), at(base), rows, columns, row_step, column_step)


def pack_nibbles(plane: Plane, start: int, most: int) -> tuple[Plane, Plane] | None:
    """See `mlver.codec.loops.Loops.pack_nibbles`."""
    pairs, escapes = np.empty((plane.size + 1) // 2, np.uint8), np.empty(most, np.uint8)
    escaped = call("pack_nibbles", at(plane), plane.size, start, most, at(pairs), at(escapes))
    return None if escaped < 0 else (pairs, escapes[:escaped])


def unpack_nibbles(pairs: Plane, escapes: Plane, start: int, count: int) -> Plane | None:
    """See `mlver.codec.loops.Loops.unpack_nibbles`."""
    plane = np.empty(count, np.uint8)
    failed = call("unpack_nibbles", at(pairs), count, start, at(escapes), escapes.size, at(plane))
    return None if failed else plane


def split_sparse(values: Elements, signs_apart: bool) -> tuple[Plane, Plane | None, Elements]:
    """See `mlver.codec.loops.Loops.split_sparse`."""
    bytes_of_map = (values.size + 7) // 8
    places = np.empty(bytes_of_map, np.uint8)
    signs = np.empty(bytes_of_map, np.uint8) if signs_apart else None
    filled = np.empty(values.size, values.dtype)
    count = call(
        "sparse_split", values.itemsize, at(values), values.size, signs_apart, at(places), at(signs), at(filled)
    )
    return places, signs, filled[:count]


def join_sparse(places: Plane, signs: Plane | None, values: Elements, out: Elements) -> bool:
    """See `mlver.codec.loops.Loops.join_sparse`."""
    failed = call("sparse_join", out.itemsize, at(places), at(signs), out.size, at(values), values.size, at(out))
    return not failed


def expect(base: Elements, expectation: Expectation) -> Elements:
    """See `mlver.codec.loops.Loops.expect`."""
    expected = np.empty(base.size, base.dtype)
    call("expect", base.itemsize, at(base), expectation_told(expectation), base.size, at(expected))
    return expected


def sort(values: Elements, expected: Elements, base: Elements, exponent: Exponent, cut: Cut) -> tuple[Sorting, Sorted]:
    """See `mlver.codec.loops.Loops.sort`."""
    count, width = values.size, values.itemsize
    blocks = (count + BLOCK - 1) // BLOCK
    levels, parts = np.empty(blocks, np.uint8), np.empty((3, count), np.uint8)
    escapes, low = np.empty(count, values.dtype), np.empty(count * width + 8, np.uint8)
    sizes = (ctypes.c_int64 * 4)()
    origin = call(
        "sort", width, at(values), at(expected), at(base), exponent_told(exponent), cut.bits, cut.unshifted, cut.coded,
        count, room.at(4 * blocks), at(levels), *map(at, parts), at(escapes), at(low), sizes,
    )  # fmt: skip
    in_plane, coded, escaped, low_bytes = sizes
    plane, classes, symbols = parts
    return (
        Sorting(levels, origin, cut.unshifted, cut.coded),
        Sorted(plane[:in_plane], classes[:coded], symbols[:coded], escapes[:escaped], low[:low_bytes]),
    )


def merge(
    parts: Residuals, expected: Elements, base: Elements, exponent: Exponent, sorting: Sorting, out: Elements
) -> bool:
    """See `mlver.codec.loops.Loops.merge`."""
    return _merge(parts, expected, base, exponent, sorting, out, None)


def is_merged(
    parts: Residuals, expected: Elements, base: Elements, exponent: Exponent, sorting: Sorting, values: Elements
) -> bool:
    """See `mlver.codec.loops.Loops.is_merged`."""
    return _merge(parts, expected, base, exponent, sorting, None, values)


def _merge(
    parts: Residuals,
    expected: Elements,
    base: Elements,
    exponent: Exponent,
    sorting: Sorting,
    out: Elements | None,
    same: Elements | None,
) -> bool:
    failed = call(
        "merge", base.itemsize, at(expected), at(base), exponent_told(exponent), sorting_told(sorting), base.size,
        residuals_told(parts), room.at(_SLOT_BYTES + 2 * parts.coded if parts.coded else 0), at(out), at(same),
    )  # fmt: skip
    return not failed


def place(values: Elements, expected: Elements, grid: Grid) -> OnGrid:
    """See `mlver.codec.loops.Loops.place`."""
    count, width = values.size, values.itemsize
    classes, symbols, depths = np.empty((3, count), np.uint8)
    escapes, low = np.empty(count, values.dtype), np.empty(count * width + 8, np.uint8)
    sizes = (ctypes.c_int64 * 4)()
    call(
        "place", width, at(values), at(expected), grid_told(grid), count,
        at(classes), at(symbols), at(depths), at(escapes), at(low), sizes,
    )  # fmt: skip
    return OnGrid(classes[: sizes[0]], symbols[: sizes[0]], depths[: sizes[1]], escapes[: sizes[2]], low[: sizes[3]])


def grid_classes(expected: Elements, grid: Grid) -> Plane:
    """See `mlver.codec.loops.Loops.grid_classes`."""
    found = np.empty(expected.size, np.uint8)
    return found[: call("grid_classes", expected.itemsize, at(expected), grid_told(grid), expected.size, at(found))]


def displace(parts: OnGrid, expected: Elements, grid: Grid, out: Elements) -> bool:
    """See `mlver.codec.loops.Loops.displace`."""
    return _displace(parts, expected, grid, out, None)


def is_displaced(parts: OnGrid, expected: Elements, grid: Grid, values: Elements) -> bool:
    """See `mlver.codec.loops.Loops.is_displaced`."""
    return _displace(parts, expected, grid, None, values)


def _displace(parts: OnGrid, expected: Elements, grid: Grid, out: Elements | None, same: Elements | None) -> bool:
    sizes = (ctypes.c_int64 * 4)(parts.symbols.size, parts.depths.size, parts.escapes.size, parts.low.size)
    failed = call(
        "displace", expected.itemsize, at(expected), grid_told(grid), expected.size,
        at(parts.symbols), at(parts.depths), at(parts.escapes), at(parts.low), sizes, at(out), at(same),
    )  # fmt: skip
    return not failed


def count(classes: Plane, symbols: Plane) -> npt.NDArray[np.uint32]:
    """See `mlver.codec.loops.Loops.count`."""
    counts = np.empty((MAX_CLASSES, SYMBOLS), np.uint32)
    call("count", at(classes), at(symbols), classes.size, at(counts))
    return counts


def code(classes: Plane, symbols: Plane, few: int, many: int, lanes: int, known: Shares | None = None) -> Coded:
    """See `mlver.codec.loops.Loops.code`."""
    stored, written = np.empty(MAX_CLASSES, np.uint8), np.empty(2 * MAX_CLASSES * SYMBOLS, np.uint8)
    states, words = np.empty(lanes, np.uint32), np.empty(classes.size, np.uint16)
    told = (ctypes.c_int64 * 3)()
    call(
        "code", at(classes), at(symbols), classes.size, few, many, at(known), lanes,
        at(stored), at(written), at(states), at(words), told,
    )  # fmt: skip
    found, size_bytes, first = told
    return Coded(stored[:found], written[:size_bytes], states, words[first:])


def decode(classes: Plane, coded: Coded, known: Shares | None = None) -> Plane | None:
    """See `mlver.codec.loops.Loops.decode`."""
    symbols = np.empty(classes.size, np.uint8)
    failed = call("decode", at(classes), classes.size, coded_told(coded), at(known), room.at(_SLOT_BYTES), at(symbols))
    return None if failed else symbols
