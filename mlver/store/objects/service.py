"""What a kind of place that references point to must be able to do. `mlver.store.objects.patient` adds the patience.

Like a remote's service it does not retry or explain: it says what the server said. `FileNotFoundError` means that the
object is not there, `ObjectChanged` that it is not the one that was asked for any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol


class ObjectChanged(Exception):
    """An object is not what it was when it was looked at."""


class Stat(NamedTuple):
    """What a server says of an object without sending it.

    Attributes:
        size_bytes: Its length; None where the server does not tell.
        etag: Its strong entity tag, without quotes, if it has one: other content has another one.
        version: Version id or generation, by which this very content can be had even after it was replaced.
        guard: What every request for a range says must still hold, so that ranges are of one content; None where
            ranges cannot be asked for, or not safely.
    """

    size_bytes: int | None
    etag: str | None
    version: str | None
    guard: str | None


class Listed(NamedTuple):
    """One object of a listing; `key` as in `Location`."""

    key: str
    stat: Stat


class Objects(Protocol):
    """Requests to one bucket or server. Every method is safe in any thread."""

    def stat(self, key: str, version: str | None = None) -> Stat:
        """Return what identifies an object, or one version of it."""

    def list(self, prefix: str, limit: int) -> Sequence[Listed]:
        """Return the objects below a prefix (empty, or with a `/` at its end), but no more than `limit`.

        Markers of folders are left out. `NotImplementedError` where there are no listings.
        """

    def read(self, key: str, stat: Stat, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end` of an object that has a guard; fewer where it is shorter."""

    def stream(self, key: str, stat: Stat) -> Iterator[bytes]:
        """Yield an object's bytes in order, for one that has no guard."""

    def close(self) -> None:
        """Let connections go."""


def strong_etag(header: str | None) -> str | None:
    """Return an entity tag without its quotes; None for none, and for a weak one, which says nothing of bytes."""
    if not header or header.startswith("W/"):
        return None
    return header.strip('"') or None
