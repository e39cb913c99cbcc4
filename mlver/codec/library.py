"""The compiled kernel as a library: its functions and structures, and where in memory what it is told lies."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlver.codec.shapes import Coded, Expectation, Exponent, Grid, Residuals, Sorting

LIBRARY = Path(__file__).parent / "_kernel.so"
"""Where the build puts the compiled kernel."""
LIBRARY_AVX2 = Path(__file__).parent / "_kernel_avx2.so"
"""The same for machines that have AVX2: about twice as fast."""
_ABI = 6


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


def call(name: str, *arguments: Any) -> int:
    """Call a function of the kernel, which must be there."""
    assert _kernel is not None
    return _kernel[name](*arguments)


class Room(threading.local):
    """Room of each thread for what lives no longer than a call. It is kept: fresh memory costs more than most calls."""

    def __init__(self) -> None:
        self._array = np.empty(0, np.uint8)
        self._begin = 0

    def at(self, size_bytes: int) -> int:
        """Return where so many bytes begin, at a multiple of eight."""
        if self._array.size < size_bytes:
            self._array = np.empty(size_bytes, np.uint8)
            self._begin = address(self._array)
        return self._begin


room = Room()
_address: Callable[[Any], int] = ctypes.addressof
_first_byte: Callable[[Any], Any] = ctypes.c_char.from_buffer


def at(array: npt.NDArray[Any] | None) -> int | None:
    """Return where an array begins, for the kernel; nowhere if there is none."""
    return None if array is None else address(array)


def address(array: npt.NDArray[Any]) -> int:
    """Return where an array begins."""
    if array.size and array.flags.writeable:
        return _address(_first_byte(array))  # three times as fast as the way for all arrays
    return int(array.__array_interface__["data"][0])


def exponent_told(exponent: Exponent) -> _Exponent:
    """Return where the exponent is, as the kernel is told."""
    return _Exponent(exponent.shift, exponent.mask)


def expectation_told(expectation: Expectation) -> _Expectation:
    """Return what is expected of elements, as the kernel is told."""
    steps = expectation.steps
    return _Expectation(
        at(expectation.table), expectation.table_shift, at(steps), 0 if steps is None else steps.size,
        expectation.unit, exponent_told(expectation.exponent),
    )  # fmt: skip


def sorting_told(sorting: Sorting) -> _Sorting:
    """Return how elements are sorted, as the kernel is told."""
    return _Sorting(at(sorting.levels), sorting.origin, sorting.unshifted, sorting.coded)


def coded_told(coded: Coded) -> _Coded:
    """Return coded symbols, as the kernel is told."""
    return _Coded(
        at(coded.stored), coded.stored.size, at(coded.written), coded.written.size,
        at(coded.states), coded.states.size, at(coded.words), coded.words.size,
    )  # fmt: skip


def residuals_told(parts: Residuals) -> _Residuals:
    """Return residuals as they are stored, as the kernel is told."""
    return _Residuals(
        at(parts.plane), parts.plane.size, _Coded() if parts.symbols is None else coded_told(parts.symbols),
        parts.coded, at(parts.escapes), parts.escapes.size, at(parts.low), parts.low.size,
    )  # fmt: skip


def grid_told(grid: Grid) -> _Grid:
    """Return a grid, as the kernel is told."""
    return _Grid(at(grid.levels), grid.origin, at(grid.offsets), grid.offsets.size, grid.mantissa)
