"""Memory of heavy commands: keep what was freed, to be used again, instead of giving it back to the kernel.

Work on chunks allocates and frees blocks of a MiB all the time. By default glibc maps and unmaps each, and the kernel
fills each new one with zeros, page by page: measured, that is half the time of a pull. What is kept is bounded by what
is under way at once. It is done by the program only, never by `import mlver` in somebody's training process.

Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
"""

from __future__ import annotations

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_MMAP_THRESHOLD_BYTES = 32 << 20
"""The most that glibc allows."""
_TRIM_THRESHOLD_BYTES = 128 << 20


def keep_freed_memory() -> None:
    """Tell the allocator; where it is not glibc's, nothing happens."""
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES)
