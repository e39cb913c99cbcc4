"""The loops over elements in compiled C (`kernel.c`), called by ctypes, which lets other threads run meanwhile.

See `mlver.codec.loops` for what they do. The library is built with the package; where there is none,
`mlver.codec.portable` does the work.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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

LIBRARY = Path(__file__).parent / "_kernel.so"
"""Where the build puts the compiled kernel."""
LIBRARY_AVX2 = Path(__file__).parent / "_kernel_avx2.so"
"""The same for machines that have AVX2: about twice as fast."""
_ABI = 6
_SLOT_BYTES = 4 * MAX_CLASSES * SLOTS


class _Exponent(ctypes.Structure):
    _fields_ = (("shift", ctypes.c_int64), ("mask", ctypes.c_int64))


class _Expectation(ctypes.Structure):
    _fields_ = (
        ("table", ctypes.c_void_p),
        ("table_shift", ctypes.c_int64),
        ("steps", ctypes.c_void_p),
        ("columns", ctypes.c_int64),
        ("unit", ctypes.c_int64),
        ("exponent", _Exponent),
    )


class _Sorting(ctypes.Structure):
    _fields_ = (
        ("levels", ctypes.c_void_p),
        ("origin", ctypes.c_int64),
        ("unshifted", ctypes.c_int64),
        ("coded", ctypes.c_int64),
    )


class _Coded(ctypes.Structure):
    _fields_ = (
        ("stored", ctypes.c_void_p),
        ("classes", ctypes.c_int64),
        ("written", ctypes.c_void_p),
        ("written_bytes", ctypes.c_int64),
        ("states", ctypes.c_void_p),
        ("lanes", ctypes.c_int64),
        ("words", ctypes.c_void_p),
        ("word_count", ctypes.c_int64),
    )


class _Residuals(ctypes.Structure):
    _fields_ = (
        ("plane", ctypes.c_void_p),
        ("in_plane", ctypes.c_int64),
        ("coded", _Coded),
        ("in_coded", ctypes.c_int64),
        ("escapes", ctypes.c_void_p),
        ("escaped", ctypes.c_int64),
        ("low", ctypes.c_void_p),
        ("low_bytes", ctypes.c_int64),
    )


class _Grid(ctypes.Structure):
    _fields_ = (
        ("levels", ctypes.c_void_p),
        ("origin", ctypes.c_int64),
        ("offsets", ctypes.c_void_p),
        ("columns", ctypes.c_int64),
        ("mantissa", ctypes.c_int64),
    )


_I, _P = ctypes.c_int64, ctypes.c_void_p
_EXPONENT, _SORTING, _GRID = (ctypes.POINTER(each) for each in (_Exponent, _Sorting, _Grid))
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "abi": (),
    "has_avx2": (),
    "split": (_I, _P, _P, _I, _I, _P, _P),
    "join": (_I, _P, _P, _P, _I, _I, _P, _P),
    "learn": (_I, _P, _P, _I, _I, _P, _P, _P),
    "agreement": (_I, _P, _P, _I, _I, _I, _I),
    "sparse_split": (_I, _P, _I, _I, _P, _P, _P),
    "sparse_join": (_I, _P, _P, _I, _P, _I, _P),
    "expect": (_I, _P, ctypes.POINTER(_Expectation), _I, _P),
    "sort": (_I, _P, _P, _P, _EXPONENT, _I, _I, _I, _I, *(_P,) * 8),
    "merge": (_I, _P, _P, _EXPONENT, _SORTING, _I, ctypes.POINTER(_Residuals), _P, _P, _P),
    "place": (_I, _P, _P, _GRID, _I, _P, _P, _P, _P, _P, _P),
    "grid_classes": (_I, _P, _GRID, _I, _P),
    "displace": (_I, _P, _GRID, _I, _P, _P, _P, _P, _P, _P, _P),
    "pack_nibbles": (_P, _I, _I, _I, _P, _P),
    "unpack_nibbles": (_P, _I, _I, _P, _I, _P),
    "count": (_P, _P, _I, _P),
    "code": (_P, _P, _I, _I, _I, _P, _I, _P, _P, _P, _P, _P),
    "decode": (_P, _I, ctypes.POINTER(_Coded), _P, _P, _P),
}


def load(path: Path) -> dict[str, Callable[..., int]] | None:
    """Return the functions of a compiled kernel by name, or None if there is no kernel that this machine can run."""
    try:
        library = ctypes.CDLL(str(path))
        found: dict[str, Callable[..., int]] = {}
        for name, arguments in _SIGNATURES.items():
            function = library[f"mlver_{name}"]
            function.argtypes, function.restype = arguments, ctypes.c_int64
            found[name] = function
    except (OSError, AttributeError):
        return None
    return found if found["abi"]() == _ABI else None


def _load_fastest() -> dict[str, Callable[..., int]] | None:
    kernel = load(LIBRARY)
    if kernel is not None and kernel["has_avx2"]():
        return load(LIBRARY_AVX2) or kernel
    return kernel


_kernel = _load_fastest()


def is_available() -> bool:
    """Tell whether the compiled loops are here."""
    return _kernel is not None


def _call(name: str, *arguments: Any) -> int:
    assert _kernel is not None
    return _kernel[name](*arguments)


class _Room(threading.local):
    """Room for what lives no longer than a call. It is kept, since fresh memory costs more than most calls."""

    def __init__(self) -> None:
        self._array = np.empty(0, np.uint8)
        self._at: int | None = None

    def at(self, size_bytes: int) -> int:
        """Return where so many bytes begin, at a multiple of eight."""
        if self._at is None or self._array.size < size_bytes:
            self._array = np.empty(size_bytes, np.uint8)
            self._at = _at(self._array)
        assert self._at is not None
        return self._at


_room = _Room()
_address: Callable[[Any], int] = ctypes.addressof
_first_byte: Callable[[Any], Any] = ctypes.c_char.from_buffer


def _at(array: npt.NDArray[Any] | None) -> int | None:
    if array is None:
        return None
    if array.size and array.flags.writeable:
        return _address(_first_byte(array))  # three times as fast as the way for all arrays
    return int(array.__array_interface__["data"][0])


def _exponent(exponent: Exponent) -> _Exponent:
    return _Exponent(exponent.shift, exponent.mask)


def _sorting(sorting: Sorting) -> _Sorting:
    return _Sorting(_at(sorting.levels), sorting.origin, sorting.unshifted, sorting.coded)


def _coded(coded: Coded) -> _Coded:
    return _Coded(
        _at(coded.stored), coded.stored.size, _at(coded.written), coded.written.size,
        _at(coded.states), coded.states.size, _at(coded.words), coded.words.size,
    )  # fmt: skip


def _grid(grid: Grid) -> _Grid:
    return _Grid(_at(grid.levels), grid.origin, _at(grid.offsets), grid.offsets.size, grid.mantissa)


def split(values: Elements, expected: Elements | None, move_sign: bool) -> Split:
    """See `mlver.codec.loops.Loops.split`."""
    planes = np.empty((values.itemsize, values.size), np.uint8)
    told = (ctypes.c_uint64 * 2)()
    _call("split", values.itemsize, _at(values), _at(expected), values.size, move_sign, _at(planes), told)
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
    places = (ctypes.c_void_p * len(planes))(*(None if isinstance(plane, int) else _at(plane) for plane in planes))
    constants = (ctypes.c_int64 * len(planes))(*(plane if isinstance(plane, int) else 0 for plane in planes))
    return _call("join", width, places, constants, _at(expected), size, sign_moved, _at(out), _at(same))


def learn(values: Elements, base: Elements, shift: int) -> Elements | None:
    """See `mlver.codec.loops.Loops.learn`."""
    keys, seen = np.empty(LEARN_SLOTS, np.uint64), np.empty(LEARN_SLOTS, np.uint32)
    table = np.empty(TABLE_ENTRIES, values.dtype)
    told = _call("learn", values.itemsize, _at(values), _at(base), values.size, shift, _at(keys), _at(seen), _at(table))
    return table if told else None


def agreement(values: Elements, base: Elements, columns: int, row_step: int, column_step: int) -> int:
    """See `mlver.codec.loops.Loops.agreement`."""
    rows = values.size // columns
    return _call("agreement", values.itemsize, _at(values), _at(base), rows, columns, row_step, column_step)


def pack_nibbles(plane: Plane, start: int, most: int) -> tuple[Plane, Plane] | None:
    """See `mlver.codec.loops.Loops.pack_nibbles`."""
    pairs, escapes = np.empty((plane.size + 1) // 2, np.uint8), np.empty(most, np.uint8)
    escaped = _call("pack_nibbles", _at(plane), plane.size, start, most, _at(pairs), _at(escapes))
    return None if escaped < 0 else (pairs, escapes[:escaped])


def unpack_nibbles(pairs: Plane, escapes: Plane, start: int, count: int) -> Plane | None:
    """See `mlver.codec.loops.Loops.unpack_nibbles`."""
    plane = np.empty(count, np.uint8)
    failed = _call("unpack_nibbles", _at(pairs), count, start, _at(escapes), escapes.size, _at(plane))
    return None if failed else plane


def split_sparse(values: Elements, signs_apart: bool) -> tuple[Plane, Plane | None, Elements]:
    """See `mlver.codec.loops.Loops.split_sparse`."""
    bytes_of_map = (values.size + 7) // 8
    places = np.empty(bytes_of_map, np.uint8)
    signs = np.empty(bytes_of_map, np.uint8) if signs_apart else None
    filled = np.empty(values.size, values.dtype)
    count = _call(
        "sparse_split", values.itemsize, _at(values), values.size, signs_apart, _at(places), _at(signs), _at(filled)
    )
    return places, signs, filled[:count]


def join_sparse(places: Plane, signs: Plane | None, values: Elements, out: Elements) -> bool:
    """See `mlver.codec.loops.Loops.join_sparse`."""
    failed = _call("sparse_join", out.itemsize, _at(places), _at(signs), out.size, _at(values), values.size, _at(out))
    return not failed


def expect(base: Elements, expectation: Expectation) -> Elements:
    """See `mlver.codec.loops.Loops.expect`."""
    expected = np.empty(base.size, base.dtype)
    steps = expectation.steps
    told = _Expectation(
        _at(expectation.table), expectation.table_shift, _at(steps), 0 if steps is None else steps.size,
        expectation.unit, _exponent(expectation.exponent),
    )  # fmt: skip
    _call("expect", base.itemsize, _at(base), told, base.size, _at(expected))
    return expected


def sort(values: Elements, expected: Elements, base: Elements, exponent: Exponent, cut: Cut) -> tuple[Sorting, Sorted]:
    """See `mlver.codec.loops.Loops.sort`."""
    count, width = values.size, values.itemsize
    blocks = (count + BLOCK - 1) // BLOCK
    levels, parts = np.empty(blocks, np.uint8), np.empty((3, count), np.uint8)
    escapes, low = np.empty(count, values.dtype), np.empty(count * width + 8, np.uint8)
    sizes = (ctypes.c_int64 * 4)()
    origin = _call(
        "sort", width, _at(values), _at(expected), _at(base), _exponent(exponent), cut.bits, cut.unshifted, cut.coded,
        count, _room.at(4 * blocks), _at(levels), *map(_at, parts), _at(escapes), _at(low), sizes,
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
    told = _Residuals(
        _at(parts.plane), parts.plane.size, _Coded() if parts.symbols is None else _coded(parts.symbols), parts.coded,
        _at(parts.escapes), parts.escapes.size, _at(parts.low), parts.low.size,
    )  # fmt: skip
    failed = _call(
        "merge", base.itemsize, _at(expected), _at(base), _exponent(exponent), _sorting(sorting), base.size, told,
        _room.at(_SLOT_BYTES + 2 * parts.coded if parts.coded else 0), _at(out), _at(same),
    )  # fmt: skip
    return not failed


def place(values: Elements, expected: Elements, grid: Grid) -> OnGrid:
    """See `mlver.codec.loops.Loops.place`."""
    count, width = values.size, values.itemsize
    classes, symbols, depths = np.empty((3, count), np.uint8)
    escapes, low = np.empty(count, values.dtype), np.empty(count * width + 8, np.uint8)
    sizes = (ctypes.c_int64 * 4)()
    _call(
        "place", width, _at(values), _at(expected), _grid(grid), count,
        _at(classes), _at(symbols), _at(depths), _at(escapes), _at(low), sizes,
    )  # fmt: skip
    return OnGrid(classes[: sizes[0]], symbols[: sizes[0]], depths[: sizes[1]], escapes[: sizes[2]], low[: sizes[3]])


def grid_classes(expected: Elements, grid: Grid) -> Plane:
    """See `mlver.codec.loops.Loops.grid_classes`."""
    found = np.empty(expected.size, np.uint8)
    return found[: _call("grid_classes", expected.itemsize, _at(expected), _grid(grid), expected.size, _at(found))]


def displace(parts: OnGrid, expected: Elements, grid: Grid, out: Elements) -> bool:
    """See `mlver.codec.loops.Loops.displace`."""
    return _displace(parts, expected, grid, out, None)


def is_displaced(parts: OnGrid, expected: Elements, grid: Grid, values: Elements) -> bool:
    """See `mlver.codec.loops.Loops.is_displaced`."""
    return _displace(parts, expected, grid, None, values)


def _displace(parts: OnGrid, expected: Elements, grid: Grid, out: Elements | None, same: Elements | None) -> bool:
    sizes = (ctypes.c_int64 * 4)(parts.symbols.size, parts.depths.size, parts.escapes.size, parts.low.size)
    failed = _call(
        "displace", expected.itemsize, _at(expected), _grid(grid), expected.size,
        _at(parts.symbols), _at(parts.depths), _at(parts.escapes), _at(parts.low), sizes, _at(out), _at(same),
    )  # fmt: skip
    return not failed


def count(classes: Plane, symbols: Plane) -> npt.NDArray[np.uint32]:
    """See `mlver.codec.loops.Loops.count`."""
    counts = np.empty((MAX_CLASSES, SYMBOLS), np.uint32)
    _call("count", _at(classes), _at(symbols), classes.size, _at(counts))
    return counts


def code(classes: Plane, symbols: Plane, few: int, many: int, lanes: int, known: Shares | None = None) -> Coded:
    """See `mlver.codec.loops.Loops.code`."""
    stored, written = np.empty(MAX_CLASSES, np.uint8), np.empty(2 * MAX_CLASSES * SYMBOLS, np.uint8)
    states, words = np.empty(lanes, np.uint32), np.empty(classes.size, np.uint16)
    told = (ctypes.c_int64 * 3)()
    _call(
        "code", _at(classes), _at(symbols), classes.size, few, many, _at(known), lanes,
        _at(stored), _at(written), _at(states), _at(words), told,
    )  # fmt: skip
    found, size_bytes, first = told
    return Coded(stored[:found], written[:size_bytes], states, words[first:])


def decode(classes: Plane, coded: Coded, known: Shares | None = None) -> Plane | None:
    """See `mlver.codec.loops.Loops.decode`."""
    symbols = np.empty(classes.size, np.uint8)
    failed = _call("decode", _at(classes), classes.size, _coded(coded), _at(known), _room.at(_SLOT_BYTES), _at(symbols))
    return None if failed else symbols
