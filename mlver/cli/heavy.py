"""What the process of a heavy command is told first: by the program only, never by `import mlver` in a training.

Memory that was freed is kept, to be used again, instead of being given back to the kernel: work on chunks allocates and
frees blocks of a MiB all the time. By default glibc maps and unmaps each, and the kernel fills each new one with zeros,
page by page: measured, that is half the time of a pull. What is kept is bounded by what is under way at once.

Linear algebra runs in the thread that asks for it: several chunks are worked on at once as it is, and the threads of
OpenBLAS, which wait for each other by spinning, took up to forty times as long on a machine with other work.

Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
"""

from __future__ import annotations

import os

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_MMAP_THRESHOLD_BYTES = 32 << 20
"""The most that glibc allows."""
_TRIM_THRESHOLD_BYTES = 128 << 20


def prepare() -> None:
    """Tell the allocator, where it is glibc's, and the libraries that numpy may use, unless the user did."""
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES)
