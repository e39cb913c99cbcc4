"""A remote as a `Storage`: names checked, requests tried again with patience, answers measured, refusals explained.

Staged blobs are kept in memory until they are committed: a pack is 64 MiB, and nothing is written to disk twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from mlver.errors import IntegrityError, NotFoundError, RemoteError
from mlver.store.remote.failures import remote_error
from mlver.store.remote.patience import ATTEMPTS, patiently
from mlver.store.remote.service import Entry, Service
from mlver.store.storage import TEMPORARY_FOLDER, Blob, Buffer, check_name

T = TypeVar("T")

_UNCHECKED_BYTES = 64 << 20
"""Ranges larger than this are compared with the blob's size before they are asked for."""


class RemoteStorage:
    """A `Storage` over a `Service`. Safe in any thread.

    Where a reply was lost, `create` may tell the one who made the blob that it existed: who must know compares what is
    there with what was to be written (events bear write ids for this).

    Args:
        service: The requests.
        shown: What the remote is called in messages; without secrets.
        attempts: How often a request is tried.
        pause: Waits so many seconds before the next try; None: sleeps.

    Attributes:
        requests: How many requests were made.
        sent_bytes: What was sent, in blobs.
        received_bytes: What was received, in blobs.
    """

    def __init__(
        self,
        service: Service,
        shown: str,
        attempts: int = ATTEMPTS,
        pause: Callable[[float], None] | None = None,
    ) -> None:
        self._service = service
        self.shown = shown
        self._attempts = attempts
        self._pause = pause or time.sleep
        self.requests = 0
        self.sent_bytes = 0
        self.received_bytes = 0

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be written there."""
        return self._service.is_read_only

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """See `Storage.read`."""
        check_name(name)
        if start < 0 or (length is not None and length < 0):
            raise IntegrityError(f"{name!r} has no bytes from {start} on for a length of {length}.")
        if (start and length is None) or length == 0 or (length or 0) > _UNCHECKED_BYTES:
            length = self._checked_length(name, start, length)
            if length == 0:
                return b""
        end = None if length is None else start + length
        data = self._found(name, lambda: self._service.get(name, start, end))
        self.received_bytes += len(data)
        if length is not None and len(data) != length:
            raise IntegrityError(
                f"{name!r} at {self.shown} is too short: there are no {length} bytes from {start} on.",
            )
        return data

    def size(self, name: str) -> int:
        """See `Storage.size`."""
        check_name(name)
        return self._found(name, lambda: self._service.size(name))

    def exists(self, name: str) -> bool:
        """See `Storage.exists`."""
        try:
            self.size(name)
        except NotFoundError:
            return False
        return True

    def list(self, folder: str) -> list[str]:
        """See `Storage.list`."""
        entries = self._listed(folder, deep=False)
        return sorted({entry.name for entry in entries if folder or entry.name != TEMPORARY_FOLDER})

    def list_deep(self, folder: str) -> dict[str, int]:
        """Return all blobs below a folder by their path in it, with their sizes in bytes, in few requests.

        Raises:
            MlverError: It cannot be listed.
        """
        return {
            entry.name: entry.size_bytes for entry in self._listed(folder, deep=True) if entry.size_bytes is not None
        }

    def list_blobs(self, folder: str) -> dict[str, Blob]:
        """Return all blobs below a folder by their path in it, in few requests.

        Raises:
            RemoteError: The server does not say when they were written.
            MlverError: It cannot be listed.
        """
        found = [entry for entry in self._listed(folder, deep=True) if entry.size_bytes is not None]
        if any(entry.modified_ns is None for entry in found):
            raise RemoteError(f"{self.shown} does not say when things there were written.")
        return {entry.name: Blob(entry.size_bytes or 0, entry.modified_ns or 0) for entry in found}

    def create(self, name: str, data: Buffer) -> bool:
        """See `Storage.create`, and the note on lost replies above."""
        check_name(name)
        content = bytes(data)
        made = self._try("write", name, lambda: self._service.create(name, content))
        self.sent_bytes += len(content)
        return made

    def put(self, name: str, data: Buffer) -> None:
        """See `Storage.put`."""
        check_name(name)
        content = data if isinstance(data, bytes) else bytes(data)
        self._try("write", name, lambda: self._service.put(name, content))
        self.sent_bytes += len(content)

    def delete(self, name: str) -> None:
        """See `Storage.delete`."""
        check_name(name)
        try:
            self._try("remove", name, lambda: self._service.delete(name), absent=NotFoundError(name))
        except NotFoundError:
            return

    def sync(self, folder: str) -> None:
        """See `Storage.sync`. What a server confirmed is durable."""
        if folder:
            check_name(folder)

    def stage(self) -> RemoteStagedBlob:
        """See `Storage.stage`."""
        return RemoteStagedBlob(self)

    def close(self) -> None:
        """Let connections go."""
        self._service.close()

    def _checked_length(self, name: str, start: int, length: int | None) -> int:
        size_bytes = self.size(name)
        wanted = size_bytes - start if length is None else length
        if wanted < 0 or start + wanted > size_bytes:
            raise IntegrityError(f"{name!r} has {size_bytes} bytes: there are no {max(0, wanted)} from {start} on.")
        return wanted

    def _listed(self, folder: str, deep: bool) -> Sequence[Entry]:
        if folder:
            check_name(folder)
        return self._try("list", folder, lambda: self._service.list(folder, deep))

    def _found(self, name: str, request: Callable[[], T]) -> T:
        return self._try("read", name, request, NotFoundError(f"There is no {name!r} at {self.shown}."))

    def _try(self, verb: str, name: str, request: Callable[[], T], absent: NotFoundError | None = None) -> T:
        """Make a request until it is answered; see `patiently`.

        Raises:
            NotFoundError: What is asked for is absent, and `absent` says so.
            RemoteError: It was refused, or failed to the end.
        """

        def counted() -> T:
            self.requests += 1
            return request()

        try:
            return patiently(counted, self._attempts, self._pause)
        except Exception as error:  # every library has errors of its own
            if absent is not None and _is_absence(error):
                raise absent from None
            raise remote_error(error, self.shown, verb, name) from error


class RemoteStagedBlob:
    """A `StagedBlob` of a `RemoteStorage`: kept in memory, once, until it is sent."""

    def __init__(self, storage: RemoteStorage) -> None:
        self._storage = storage
        self._pieces: list[bytes] | None = []
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """See `StagedBlob.size_bytes`."""
        return self._size_bytes

    def write(self, *buffers: Buffer) -> None:
        """See `StagedBlob.write`."""
        piece = b"".join(buffers)
        self._open().append(piece)
        self._size_bytes += len(piece)

    def commit(self, name: str) -> None:
        """See `StagedBlob.commit`."""
        pieces = self._open()
        self.abort()
        content = b"".join(pieces)
        pieces.clear()  # a pack is large, and several are under way
        self._storage.put(name, content)

    def abort(self) -> None:
        """See `StagedBlob.abort`."""
        self._pieces = None

    def _open(self) -> list[bytes]:
        if self._pieces is None:
            raise ValueError("This staged blob was committed or aborted.")
        return self._pieces


def _is_absence(error: Exception) -> bool:
    """Tell an absent blob from an absent bucket."""
    from mlver.store.remote.s3 import error_code

    return isinstance(error, FileNotFoundError) and error_code(error) != "NoSuchBucket"
