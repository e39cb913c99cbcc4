"""Two commands at one repository that take turns at chosen operations of the storage, and commands that die at one.

Real threads on a real folder: what one of them published, the other one sees, and nothing else is shared.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from mlver.ops.opening import OpenRepository, open_repository
from mlver.store.local import LocalStorage
from tests.support.faulty import FaultyStorage

T = TypeVar("T")
DAY = 86_400
_PATIENCE_SECONDS = 600


class Killed(BaseException):
    """The process is dead: none of its calls does anything any more."""


class MortalStorage(FaultyStorage):
    """A storage whose user dies before a call.

    Args:
        inner: What it wraps.
        calls_left: How many calls are made before that.
    """

    def __init__(self, inner: LocalStorage, calls_left: int) -> None:
        super().__init__(inner)
        self.calls_left = calls_left
        self._lock = threading.Lock()

    def call(self, operation: str, name: str, inner: Callable[[], T]) -> T:
        """See `FaultyStorage.call`."""
        with self._lock:
            if self.calls_left == 0:
                raise Killed
            self.calls_left -= 1
        return super().call(operation, name, inner)


class PausingStorage(FaultyStorage):
    """A storage whose user is stopped before one call, until someone lets it go on.

    Args:
        inner: What it wraps.
        calls: How many calls are made before that.
    """

    def __init__(self, inner: LocalStorage, calls: int) -> None:
        super().__init__(inner)
        self.paused = threading.Event()
        self.go_on = threading.Event()
        self._left = calls
        self._lock = threading.Lock()

    def call(self, operation: str, name: str, inner: Callable[[], T]) -> T:
        """See `FaultyStorage.call`."""
        with self._lock:
            self._left -= 1
            waits = self._left == -1
        if waits:
            self.paused.set()
            assert self.go_on.wait(_PATIENCE_SECONDS)
        return super().call(operation, name, inner)


def open_with(path: Path, wrap: Callable[[LocalStorage], FaultyStorage]) -> OpenRepository:
    """Open the repository in a folder, with its storage wrapped."""
    opened = open_repository(path / ".mlver", cache_in_memory=True)
    opened.storage = cast(Any, wrap(opened.storage))
    return opened


class Actor(threading.Thread):
    """A command in a thread that stops before its call number `calls`, and goes on when told.

    Attributes:
        result: What the command returned.
        error: What it raised.
    """

    def __init__(self, path: Path, command: Callable[[OpenRepository], object], calls: int) -> None:
        super().__init__(daemon=True)
        self.result: object = None
        self.error: BaseException | None = None
        self._storages: list[PausingStorage] = []
        self._path = path
        self._calls = calls
        self._command = command
        self._done = threading.Event()

    def run(self) -> None:
        """See `threading.Thread.run`."""

        def wrap(inner: LocalStorage) -> FaultyStorage:
            self._storages.append(PausingStorage(inner, self._calls))
            return self._storages[0]

        opened = open_with(self._path, wrap)
        try:
            self.result = self._command(opened)
        except BaseException as error:  # noqa: BLE001 - whoever joins the thread looks at it
            self.error = error
        finally:
            opened.close()
            self._done.set()
            self._storages[0].paused.set()

    def run_to_pause(self) -> bool:
        """Start, and return when it stopped; True if it is done already."""
        self.start()
        while not self._storages:
            self._done.wait(0.001)
        assert self._storages[0].paused.wait(_PATIENCE_SECONDS)
        return self._done.is_set()

    def finish(self) -> None:
        """Let it go on to its end."""
        self._storages[0].go_on.set()
        self.join(_PATIENCE_SECONDS)
        assert not self.is_alive()


def grow_old(path: Path, days: float = 30) -> None:
    """Make everything in a repository so much older, as if time had passed."""
    for place in (path / ".mlver").rglob("*"):
        if place.is_file() and not place.name.startswith("index.sqlite"):
            status = place.stat()
            os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns - round(days * DAY * 1e9)))
