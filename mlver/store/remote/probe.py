"""Finding out what a storage really does, before anyone relies on it: write, read, and create one name many times."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Barrier

from mlver.errors import MlverError, RemoteError
from mlver.store.storage import Storage

_RACERS = 4
_RACES = 2


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found.

    Attributes:
        writable: Blobs can be written and removed.
        exclusive: Of those who create one name at once, one is told that it did. None if nothing can be written.
    """

    writable: bool
    exclusive: bool | None


def probe(storage: Storage, read_only: bool) -> Probe:
    """Try a storage out, and leave nothing behind.

    Raises:
        RemoteError: What was written is not what is read.
        MlverError: It cannot be reached.
    """
    if read_only:
        return Probe(writable=False, exclusive=None)
    return Probe(writable=True, exclusive=all(_race(storage) for _ in range(_RACES)))


def _race(storage: Storage) -> bool:
    """Let several threads create one name; tell whether one won, its bytes are there, and a later one is refused."""
    name = f"probe/{os.urandom(8).hex()}"
    contents = [os.urandom(32) for _ in range(_RACERS)]
    barrier = Barrier(_RACERS)

    def create(content: bytes) -> bool:
        barrier.wait()
        return storage.create(name, content)

    try:
        with ThreadPoolExecutor(_RACERS) as pool:
            made = list(pool.map(create, contents))
        there = storage.read(name)
        if there not in contents:
            raise RemoteError("What is read back is not what was written.")
        late = storage.create(name, os.urandom(32))
        is_unchanged = storage.read(name) == there
    finally:
        with suppress(MlverError):
            storage.delete(name)
    winners = [content for content, won in zip(contents, made, strict=True) if won]
    # No winner at all: the winner's reply was lost. Its bytes are there, which is what matters.
    return winners in ([], [there]) and not late and is_unchanged
