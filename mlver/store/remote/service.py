"""What a kind of remote must be able to do: six plain requests. `RemoteStorage` makes the promises out of them.

A service does not retry, check names, or explain: it says what the server said. `FileNotFoundError` is the one answer
with a meaning here; all others are for `mlver.store.remote.failures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """One name in a listing.

    Attributes:
        name: Below what was listed.
        size_bytes: Of a blob; None for a folder.
        modified_ns: When a blob was written, by the server's clock, in nanoseconds; None where it does not say.
    """

    name: str
    size_bytes: int | None
    modified_ns: int | None = None


class Service(Protocol):
    """Requests to one remote. Paths are relative to its root; every method is safe in any thread.

    All raise what their library raises; `FileNotFoundError` means that the blob is not there.
    """

    is_read_only: bool
    """Nothing can be written there at all."""

    def get(self, path: str, start: int, end: int | None) -> bytes:
        """Return the bytes of a blob from `start` to `end` (None: its end); fewer where it is shorter."""

    def size(self, path: str) -> int:
        """Return a blob's size in bytes. A folder is `FileNotFoundError`."""

    def list(self, folder: str, deep: bool) -> Sequence[Entry]:
        """Return what is in a folder (`""`: the root): one level, or (`deep`) all blobs below with their paths.

        An absent folder is empty; an absent bucket, or whatever else cannot be listed, raises.
        """

    def create(self, path: str, data: bytes) -> bool:
        """Write a blob unless there is one, as one step where the server can; False if there was one."""

    def put(self, path: str, data: bytes) -> None:
        """Write a blob, replacing one that is there, in one step."""

    def delete(self, path: str) -> None:
        """Remove a blob. `FileNotFoundError` is fine."""

    def close(self) -> None:
        """Let connections go."""
