"""Files of this machine or of what is mounted here. Nothing but their bytes identifies them."""

from __future__ import annotations

import os
import stat as stat_flags
from collections.abc import Iterator, Sequence

from mlver.errors import MlverError
from mlver.store.objects.service import Listed, ObjectChanged, Stat


class FileObjects:
    """All files. A key is an absolute path."""

    def stat(self, key: str, version: str | None = None) -> Stat:
        """See `Objects.stat`."""
        if version is not None:
            raise FileNotFoundError(key)
        found = os.stat(key)
        if not stat_flags.S_ISREG(found.st_mode):
            raise FileNotFoundError(key)
        return Stat(found.st_size, None, None, _guard(found))

    def list(self, prefix: str, limit: int) -> Sequence[Listed]:
        """See `Objects.list`. Links to folders are not followed."""
        found: list[Listed] = []
        for folder, folders, names in os.walk(prefix, onerror=_raise):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                if len(found) == limit:
                    return found
                if not stat_flags.S_ISREG(os.stat(path).st_mode):
                    raise MlverError(f"{path} is neither a file nor a folder (a socket, pipe or device).")
                found.append(Listed(path, self.stat(path)))
        return found

    def read(self, key: str, stat: Stat, start: int, end: int) -> bytes:
        """See `Objects.read`."""
        descriptor = os.open(key, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            pieces = []
            while start < end and (piece := os.pread(descriptor, end - start, start)):
                pieces.append(piece)
                start += len(piece)
            if _guard(os.fstat(descriptor)) != stat.guard:
                raise ObjectChanged(key)
        finally:
            os.close(descriptor)
        return b"".join(pieces)

    def stream(self, key: str, stat: Stat) -> Iterator[bytes]:
        """See `Objects.stream`. Ranges of files are always safe."""
        raise NotImplementedError

    def close(self) -> None:
        """See `Objects.close`."""


def _guard(found: os.stat_result) -> str:
    return f"{found.st_dev:x}-{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}-{found.st_ctime_ns:x}"


def _raise(error: OSError) -> None:
    raise error
