"""Objects with patience: requests tried again, answers measured, refusals explained."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from mlver.errors import ConflictError, MlverError, NotFoundError, UsageError
from mlver.store.objects.address import Location, uri_of
from mlver.store.objects.service import Listed, ObjectChanged, Objects, Stat
from mlver.store.remote.failures import remote_error
from mlver.store.remote.patience import ATTEMPTS, patiently
from mlver.store.remote.s3 import error_code

T = TypeVar("T")


class ObjectStore:
    """A bucket or server that references point to. Safe in any thread.

    Args:
        objects: The requests.
        root: As in `Location`.
        attempts: How often a request is made.
        pause: Waits so many seconds before the next; None: sleeps.
    """

    def __init__(
        self, objects: Objects, root: str, attempts: int = ATTEMPTS, pause: Callable[[float], None] | None = None
    ) -> None:
        self._objects = objects
        self._root = root
        self._attempts = attempts
        self._pause = pause or time.sleep

    def stat(self, key: str, version: str | None = None) -> Stat:
        """Return what identifies an object, or one version of it.

        Raises:
            NotFoundError: It is not there.
            RemoteError: The server failed or refused.
        """
        return self._try(key, lambda: self._objects.stat(key, version))

    def list(self, prefix: str, limit: int) -> Sequence[Listed]:
        """Return the objects below a prefix, but no more than `limit`.

        Raises:
            UsageError: There are no listings.
            RemoteError: The server failed or refused.
        """
        return self._try(prefix, lambda: self._objects.list(prefix, limit))

    def read(self, key: str, stat: Stat, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end` of an object that has a guard.

        Raises:
            ConflictError: It changed since it was looked at.
            NotFoundError: It is not there any more.
            RemoteError: The server failed or refused.
        """

        def whole() -> bytes:
            data = self._objects.read(key, stat, start, end)
            if len(data) != end - start:
                raise ConnectionError(f"{len(data)} bytes came instead of {end - start}")
            return data

        return self._try(key, whole)

    def stream(self, key: str, stat: Stat) -> Iterator[bytes]:
        """Yield the bytes of an object that has no guard; what breaks off cannot be resumed.

        Raises:
            ConflictError: It changed since it was looked at.
            NotFoundError: It is not there any more.
            RemoteError: The server failed or refused.
        """
        try:
            first, rest = patiently(lambda: _started(self._objects.stream(key, stat)), self._attempts, self._pause)
            yield first
            yield from rest
        except Exception as error:  # every library has errors of its own
            raise self._explained(key, error) from error

    def close(self) -> None:
        """Let connections go."""
        self._objects.close()

    def _try(self, key: str, request: Callable[[], T]) -> T:
        try:
            return patiently(request, self._attempts, self._pause)
        except Exception as error:  # every library has errors of its own
            raise self._explained(key, error) from error

    def _explained(self, key: str, error: Exception) -> MlverError:
        uri = uri_of(Location(self._root, key))
        if isinstance(error, ObjectChanged):
            return ConflictError(f"{uri} changed while it was read.", "Run the same command again once it rests.")
        if isinstance(error, FileNotFoundError) and error_code(error) != "NoSuchBucket":
            return NotFoundError(f"{uri} does not exist.")
        if isinstance(error, NotImplementedError):
            return UsageError(f"{self._root} cannot be listed.", "Name each file with a --ref of its own.")
        return remote_error(error, uri, "read", "")


def _started(stream: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Begin a stream, so that what fails at once can be tried again."""
    return next(stream, b""), stream
