"""Room on the disk for what is about to be written: found once for all of it, not page by page while it is copied.

Source: fallocate(2).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache

_KEEP_SIZE = 1


def allocate(descriptor: int, start: int, size_bytes: int) -> None:
    """Have room for so many bytes of a file from `start` on; its size stays as it is.

    It is a wish: where a filesystem cannot do it, or has no such room, nothing is said, and writing tells.
    """
    function = _function()
    if function is not None:
        function(descriptor, _KEEP_SIZE, start, size_bytes)


@cache
def _function() -> Callable[[int, int, int, int], int] | None:
    """Return the system's call: `os.posix_fallocate` writes into each block where a filesystem cannot do it."""
    import ctypes  # most commands write nothing large

    try:
        function = ctypes.CDLL(None).fallocate
    except (OSError, AttributeError):
        return None
    if sys.maxsize <= 1 << 32:
        return None  # its offsets may have 32 bits
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    found: Callable[[int, int, int, int], int] = function
    return found
