"""A storage in memory: for tests, and for trying things out without a disk. It keeps every promise but durability."""

from __future__ import annotations

import threading

from mlver.errors import IntegrityError, NotFoundError
from mlver.store.storage import Buffer, Storage, check_name


class MemoryStorage:
    """A `Storage` that lives and dies with its object. Safe to use from many threads."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """See `Storage.read`."""
        blob = self._blob(name)
        wanted = max(0, len(blob) - start) if length is None else length
        if min(start, wanted) < 0 or start + wanted > len(blob):
            raise IntegrityError(f"{name!r} has {len(blob)} bytes: there are no {wanted} bytes from {start} on.")
        return blob[start : start + wanted]

    def size(self, name: str) -> int:
        """See `Storage.size`."""
        return len(self._blob(name))

    def exists(self, name: str) -> bool:
        """See `Storage.exists`."""
        check_name(name)
        return name in self._blobs

    def list(self, folder: str) -> list[str]:
        """See `Storage.list`."""
        if folder:
            check_name(folder)
        prefix = f"{folder}/" if folder else ""
        with self._lock:
            names = {name[len(prefix) :].split("/", 1)[0] for name in self._blobs if name.startswith(prefix)}
        return sorted(names)

    def create(self, name: str, data: Buffer) -> bool:
        """See `Storage.create`."""
        check_name(name)
        with self._lock:
            if name in self._blobs:
                return False
            self._blobs[name] = bytes(data)
        return True

    def put(self, name: str, data: Buffer) -> None:
        """See `Storage.put`."""
        check_name(name)
        with self._lock:
            self._blobs[name] = bytes(data)

    def delete(self, name: str) -> None:
        """See `Storage.delete`."""
        check_name(name)
        with self._lock:
            self._blobs.pop(name, None)

    def sync(self, folder: str) -> None:
        """See `Storage.sync`."""
        if folder:
            check_name(folder)

    def stage(self) -> MemoryStagedBlob:
        """See `Storage.stage`."""
        return MemoryStagedBlob(self)

    def _blob(self, name: str) -> bytes:
        check_name(name)
        try:
            return self._blobs[name]
        except KeyError:
            raise NotFoundError(f"There is no {name!r} in the store.") from None


class MemoryStagedBlob:
    """A `StagedBlob` that is kept in memory until it is put."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._written: bytearray | None = bytearray()
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """See `StagedBlob.size_bytes`."""
        return self._size_bytes

    def write(self, *buffers: Buffer) -> None:
        """See `StagedBlob.write`."""
        written = self._open()
        for buffer in buffers:
            written += buffer
        self._size_bytes = len(written)

    def commit(self, name: str) -> None:
        """See `StagedBlob.commit`."""
        written = self._open()
        self.abort()
        self._storage.put(name, written)

    def abort(self) -> None:
        """See `StagedBlob.abort`."""
        self._written = None

    def _open(self) -> bytearray:
        if self._written is None:
            raise ValueError("This staged blob was committed or aborted.")
        return self._written
