"""Packs and manifests that `gc` has set aside: taken out of their place first, then looked at, and only then deleted.

Whoever collects what nobody uses takes it away under another name in one step, looks once more at what is used, and
then deletes it or puts it back. Whoever writes publishes first and looks afterwards whether all is in its place. So one
of the two sees the other, whatever their clocks say; `docs/design.md` ("Collecting") has the argument. What is deleted
is the name that was made up for it: a blob that was written again meanwhile has its own.

A collector that was killed leaves things aside that may be needed, so whoever misses something looks here.
"""

from __future__ import annotations

import os
import re
from typing import Protocol, runtime_checkable

from mlver.store.storage import Storage

ASIDE_SUFFIX = ".aside"
_ASIDE = re.compile("([0-9a-f]{64})\\.[0-9a-f]{16}\\.aside")
_SUFFIXES = {"packs": ".pack", "manifests": ".json.zst"}
"""What the names of blobs end in that may be set aside, by folder."""


@runtime_checkable
class AsideStorage(Storage, Protocol):
    """A storage in which things can be set aside, and which has a clock of its own."""

    def rename(self, name: str, to: str, *, replace: bool = True) -> bool:
        """Give a blob another name, in one step that need not be durable.

        Args:
            name: The blob.
            to: Its name from now on.
            replace: What happens to a blob of that name: it is replaced, or else it stays, and `name` goes.

        Returns:
            False if there was no blob `name`.

        Raises:
            MlverError: It could not be renamed.
        """
        ...

    def modified_ns(self, name: str) -> int | None:
        """Return when a blob was written, by the storage's clock, in nanoseconds; None if there is none.

        Raises:
            MlverError: The storage cannot tell.
        """
        ...

    def now_ns(self) -> int:
        """Return the time by the storage's clock in nanoseconds, or one that is earlier; never one that is later.

        Raises:
            MlverError: The storage cannot tell.
        """
        ...


class Aside:
    """What one collector has set aside. No other one deletes it: each looks after what it took itself.

    Args:
        storage: Where from.
    """

    def __init__(self, storage: AsideStorage) -> None:
        self._storage = storage
        self._token = os.urandom(8).hex()
        self._taken: dict[str, None] = {}

    def name(self, name: str) -> str:
        """Return the name of a pack or manifest while this collector has it aside."""
        folder, _, last = name.partition("/")
        return f"{folder}/{last.removesuffix(_SUFFIXES[folder])}.{self._token}{ASIDE_SUFFIX}"

    def take(self, name: str) -> bool:
        """Take a pack or manifest out of its place; False if it is not there.

        Raises:
            MlverError: It could not be renamed.
        """
        self._taken[name] = None
        return self._storage.rename(name, self.name(name))

    def take_over(self, aside: str, name: str) -> bool:
        """Take what another collector has aside, which may be dead; False if it is not there any more.

        Raises:
            MlverError: It could not be renamed.
        """
        self._taken[name] = None
        return self._storage.rename(aside, self.name(name))

    def put_back(self, name: str) -> bool:
        """Put it back into its place, unless it was written again; False if someone else did.

        Raises:
            MlverError: It could not be renamed.
        """
        return self._storage.rename(self.name(name), name, replace=False)

    def put_all_back(self) -> None:
        """Put everything back that was taken and is not deleted.

        Raises:
            MlverError: Something could not be renamed.
        """
        for name in self._taken:
            self.put_back(name)

    def delete(self, name: str) -> None:
        """Delete it, unless someone has put it back.

        Raises:
            MlverError: It could not be removed.
        """
        self._storage.delete(self.name(name))


def find_aside(storage: Storage, folder: str) -> list[tuple[str, str]]:
    """Return what is aside in `packs` or `manifests`: the names that the blobs have, and those that they had.

    Raises:
        MlverError: The folder cannot be listed.
    """
    matches = [_ASIDE.fullmatch(name) for name in storage.list(folder)]
    return [(f"{folder}/{match[0]}", f"{folder}/{match[1]}{_SUFFIXES[folder]}") for match in matches if match]


def put_all_back(storage: Storage, folder: str, name: str | None = None) -> bool:
    """Put everything back that is aside in `packs` or `manifests`, whoever took it; tell whether anything was.

    Args:
        storage: Where.
        folder: `packs` or `manifests`.
        name: Put back only what had this name.

    Raises:
        MlverError: The folder cannot be listed, or something not renamed.
    """
    if not isinstance(storage, AsideStorage):
        return False
    found = [(aside, proper) for aside, proper in find_aside(storage, folder) if name in (None, proper)]
    return sum(storage.rename(aside, proper, replace=False) for aside, proper in found) > 0


def put_back(storage: Storage, name: str) -> bool:
    """Put one pack or manifest back, whoever took it; tell whether it was aside.

    Raises:
        MlverError: The folder cannot be listed, or the blob not renamed.
    """
    return put_all_back(storage, name.partition("/")[0], name)
