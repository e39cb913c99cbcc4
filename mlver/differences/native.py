"""Sums over the elements of two tensors in compiled C (`kernel.c`): one pass instead of seven, all of it in float64.

ctypes lets other threads run meanwhile. The library is built with the package; where there is none, and for whatever
it does not know, `mlver.differences.magnitude` does the work in NumPy.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mlver.differences.figures import Figures
from mlver.digests import Buffer

LIBRARY = Path(__file__).parent / "_kernel.so"
"""Where the build puts the compiled kernel."""
LIBRARY_AVX2 = Path(__file__).parent / "_kernel_avx2.so"
"""The same for machines that have AVX2: more than twice as fast."""
_ABI = 1
_TYPES = {"F32": ("compare_f32", 4), "BF16": ("compare_bf16", 2)}
"""The function of the kernel, and the bytes of an element."""
_SUMS = 5

Kernel = dict[str, Callable[..., int | None]]


class _Sums(ctypes.Structure):
    _fields_ = (("sums", ctypes.c_double * _SUMS), ("changed", ctypes.c_int64))


_COMPARE = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.POINTER(_Sums))


def load(path: Path) -> Kernel | None:
    """Return the functions of a compiled kernel by name, or None if there is no kernel that this machine can run."""
    try:
        library = ctypes.CDLL(str(path))
        found: Kernel = {name: library[f"mlver_{name}"] for name in ("abi", "has_avx2")}
        for name, _ in _TYPES.values():
            function = library[f"mlver_{name}"]
            function.argtypes, function.restype = _COMPARE, None
            found[name] = function
    except (OSError, AttributeError):
        return None
    return found if found["abi"]() == _ABI else None


def _load_fastest() -> Kernel | None:
    kernel = load(LIBRARY)
    if kernel is not None and kernel["has_avx2"]():
        return load(LIBRARY_AVX2) or kernel
    return kernel


current = _load_fastest()
"""The kernel that is used, if there is one."""


def compare(before: Buffer, after: Buffer, dtype: str) -> Figures | None:
    """Return the figures of two stretches of elements of one type.

    Args:
        before: A whole number of elements, at any address.
        after: As many.
        dtype: The type of both.

    Returns:
        None if there is no kernel, if it does not know the type, or if NaN or infinities are among the elements.
    """
    if current is None or dtype not in _TYPES:
        return None
    name, element_bytes = _TYPES[dtype]
    old, new = np.frombuffer(before, np.uint8), np.frombuffer(after, np.uint8)
    if old.size != new.size or old.size % element_bytes:
        raise ValueError(f"{old.size} and {new.size} bytes are not as many elements of {dtype}.")
    told = _Sums()
    current[name](_address(old), _address(new), old.size // element_bytes, told)
    if not all(map(math.isfinite, told.sums)):
        return None
    return Figures(old.size // element_bytes, told.changed, *told.sums)


def _address(array: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
