"""Temporary files of a local storage: written, flushed once, then given their name or thrown away.

A writer holds a lock on its temporary file (`flock`, which ends with the process however it dies), so that what a
killed process left can be told from what a slow one is still writing, without trusting a clock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress

from mlver.store.allocation import allocate
from mlver.store.failures import storage_error
from mlver.store.storage import Buffer

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_ONLY = 0o444
WRITE_BYTES = 512 << 10
"""The most that one call writes. For more, Linux looks for larger stretches of free memory, and where there are none it
may move what is in the way, which can take longer than the writing; less makes threads wait for each other more."""
_MAX_BUFFERS = min(os.sysconf("SC_IOV_MAX"), 1024)
_SMALL_BYTES = 1 << 20
_ALLOCATED_BYTES = 16 << 20
"""Room that a file which is no longer small is given at once; what it does not need, it gives back."""


class TemporaryFile:
    """A new file that only its writer knows. After any error it is closed and gone.

    Args:
        folder: Descriptor of the folder for temporary files; it stays the caller's.
        shown_as: The folder's path, for messages.

    Raises:
        MlverError: It cannot be created.
    """

    def __init__(self, folder: int, shown_as: str) -> None:
        self.name = f"{_host()}-{os.getpid()}-{os.urandom(8).hex()}"
        self.path = os.path.join(shown_as, self.name)
        self.size_bytes = 0
        self._allocated_bytes = 0
        self._folder = folder
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(self.name, _FLAGS, _READ_ONLY, dir_fd=folder)
        except OSError as error:
            raise storage_error(error, "write", self.path) from error
        _lock(self._descriptor)

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Append the buffers in order.

        Raises:
            MlverError: They could not be written.
        """
        descriptor = self._open()
        try:
            for first in range(0, len(buffers), _MAX_BUFFERS):
                some = buffers[first : first + _MAX_BUFFERS]
                total = sum(memoryview(buffer).nbytes for buffer in some)
                self._make_room(descriptor, total)
                _write_all(descriptor, some, total)
                self.size_bytes += total
        except OSError as error:
            self.discard()
            raise storage_error(error, "write", self.path) from error

    def flush(self) -> None:
        """Make the bytes durable. It is tried once: after a failed fsync, the kernel calls the lost pages clean.

        Raises:
            MlverError: They could not be made durable.
        """
        try:
            if self._allocated_bytes:
                os.ftruncate(self._open(), self.size_bytes)
            os.fsync(self._open())
        except OSError as error:
            self.discard()
            raise storage_error(error, "write", self.path) from error

    def discard(self) -> None:
        """Close the file and remove the temporary name, whether it was published under another one or not."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            os.unlink(self.name, dir_fd=self._folder)
        except OSError:
            # Renamed, swept, or on a disk that fails: what stays is found by the next sweep.
            pass
        finally:
            os.close(descriptor)

    def _make_room(self, descriptor: int, size_bytes: int) -> None:
        """Have room for so many bytes more, and some of those that come after them."""
        start, end = max(self.size_bytes, self._allocated_bytes), self.size_bytes + size_bytes
        if end > max(self._allocated_bytes, _SMALL_BYTES):
            more = max(end - start, _ALLOCATED_BYTES)
            with suppress(OSError):  # what is written may be less
                allocate(descriptor, start, more)
            self._allocated_bytes = start + more

    def _open(self) -> int:
        if self._descriptor is None:
            raise ValueError(f"The temporary file {self.path} was published or discarded.")
        return self._descriptor


def sweep(folder: int) -> int:
    """Remove the temporary files in `folder` that dead processes of this machine left; return how many.

    Raises:
        OSError: The folder cannot be listed.
    """
    return sum(_sweep_one(folder, name) for name in os.listdir(folder) if name.startswith(_host() + "-"))


def _sweep_one(folder: int, name: str) -> bool:
    try:
        descriptor = os.open(
            name,
            os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
            dir_fd=folder,
        )
    except OSError:
        return False  # published or removed meanwhile, or not ours to read: not ours to remove
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_size == 0 and _is_alive(name):
            return False  # perhaps made this instant, and about to be locked: a writer locks before it writes
        os.unlink(name, dir_fd=folder)
        return True
    except OSError:
        return False  # its writer lives, or this file system has no locks and nobody can tell
    finally:
        os.close(descriptor)


def _is_alive(name: str) -> bool:
    """Tell whether the process whose number is in a temporary file's name may be running."""
    number = name.split("-")[1] if name.count("-") > 1 else ""
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, OverflowError):
        return True
    return True


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return  # no locks on this file system: then no sweep can take one either


def _host() -> str:
    """Return a short name of this machine: locks on a network file system may be known to one machine only."""
    return f"{zlib.crc32(os.fsencode(os.uname().nodename)):08x}"


def _write_all(descriptor: int, buffers: Sequence[Buffer], total: int) -> None:
    """Write all `total` bytes of buffers, however many calls the system wants."""
    written = 0
    while written < total:
        count = os.writev(descriptor, _next(buffers, written))
        if count == 0:
            raise OSError(errno.EIO, "nothing was written")
        written += count


def _next(buffers: Sequence[Buffer], written: int) -> list[memoryview]:
    """Return what comes after the first `written` bytes of `buffers`, `WRITE_BYTES` at most."""
    pieces = []
    room = WRITE_BYTES
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        if written < len(view) and room:
            pieces.append(view[written : written + room])
            room -= len(pieces[-1])
        written = max(0, written - len(view))
    return pieces
