"""Room on the disk for what is about to be written: found once for all of it, not page by page while it is copied.

Source: fallocate(2).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from functools import cache

_KEEP_SIZE = 1
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def allocate(descriptor: int, start: int, size_bytes: int) -> None:
    """Have room for so many bytes of a file from `start` on, where that can be had; its size stays as it is.

    Raises:
        OSError: There is no such room.
    """
    function = _function()
    failure = function(descriptor, start, size_bytes) if function is not None else 0
    if failure in _NO_ROOM:
        raise OSError(failure, os.strerror(failure))


@cache
def _function() -> Callable[[int, int, int], int] | None:
    """Return what makes the system call and returns its error's number.

    `os.posix_fallocate` would write into each block where a filesystem cannot do it.
    """
    import ctypes  # most commands write nothing large

    try:
        fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError):
        return None
    if sys.maxsize <= 1 << 32:
        return None  # its offsets may have 32 bits
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

    def call(descriptor: int, start: int, size_bytes: int) -> int:
        return ctypes.get_errno() if fallocate(descriptor, _KEEP_SIZE, start, size_bytes) else 0

    return call
