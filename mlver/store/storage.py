"""The seam between mlver and wherever its bytes lie: a folder of named blobs.

Everything a repository keeps (packs, manifests, events, HEAD) goes through `Storage`, be it the local `.mlver/`,
memory, or a remote. What matters here is not the signatures but the promises; `tests/contract/storage.py` tests them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple, Protocol

from mlver.errors import IntegrityError

Buffer = bytes | bytearray | memoryview

TICK_NS = 20_000_000
"""Coarsest step of timestamps on filesystems with nanoseconds, rounded up (Linux: one scheduler tick, 10 ms)."""

TEMPORARY_FOLDER = "tmp"
"""Where local storages write before they publish; no blob may be named into it."""

_COMPONENT = r'[^\x00-\x1f\x7f\ud800-\udfff/\\:*?"<>|]*[^\x00-\x1f\x7f\ud800-\udfff/\\:*?"<>|. ]'
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_DEVICE = re.compile(
    r"(?:^|/)(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\.[^/]*)?(?:/|$)",
    re.IGNORECASE,
)
_MAX_COMPONENT_BYTES = 255


class Blob(NamedTuple):
    """A blob in a listing.

    Attributes:
        size_bytes: Its size.
        modified_ns: When it was written, by the storage's clock, in nanoseconds.
    """

    size_bytes: int
    modified_ns: int


class StagedBlob(Protocol):
    """A blob that is being written and that nobody else can see yet.

    It belongs to one thread at a time, but may be handed over: one thread writes, another commits while the first
    writes the next one. After `commit`, `abort`, or any error it is used up; an error has thrown the bytes away.
    """

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        ...

    def write(self, *buffers: Buffer) -> None:
        """Append all `buffers` in order. They may be reused by the caller as soon as this returns.

        Raises:
            MlverError: The bytes could not be written (no space, for example).
        """
        ...

    def commit(self, name: str) -> None:
        """Publish the blob as `name`: whole and durable when this returns, and invisible until then.

        For content-addressed names: where a blob of that name exists, either of the two may be kept.

        Raises:
            IntegrityError: The name is not one a blob may have.
            MlverError: The bytes could not be made durable; nothing was published unless the very last step, making
                the name itself durable, is what failed.
        """
        ...

    def abort(self) -> None:
        """Throw the bytes away. Does nothing after `commit` or another `abort`."""
        ...


class Storage(Protocol):
    """Named blobs, immutable but for a few small ones, in folders.

    Names are relative POSIX paths such as `packs/ab12.pack`; those that are not (see `check_name`) are refused with
    `IntegrityError` by every method, because names also come from manifests and remotes that others wrote.

    Promises that hold for every method, with many threads and processes at once and after a crash at any instant:

    - A blob is seen whole or not at all. There are no locks, and nothing to clean up before the next command.
    - When a method that publishes (`create`, `put`, `StagedBlob.commit`) returns, the blob survives a power cut.
    - What another process published, `exists`, `list` and `read` see at once, but a name seen this way may still be
      on its way to the disk: call `sync` before publishing something that relies on it.
    - Every failure raises; none is turned into "absent" or "empty". A failure of a method that publishes leaves the
      old state or the new one.
    - Nothing follows symbolic links inside the storage.
    """

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """Return `length` bytes of a blob from offset `start`, or all from there on.

        Raises:
            NotFoundError: There is no such blob.
            IntegrityError: The blob, which is named, has no such range: it is too short, or a number is negative.
            MlverError: It cannot be read.
        """
        ...

    def size(self, name: str) -> int:
        """Return a blob's size in bytes.

        Raises:
            NotFoundError: There is no such blob.
            MlverError: The storage cannot tell.
        """
        ...

    def exists(self, name: str) -> bool:
        """Tell whether there is a blob of this name (a folder is not one).

        Raises:
            MlverError: The storage cannot tell.
        """
        ...

    def list(self, folder: str) -> list[str]:
        """Return the names directly in `folder` (blobs and folders), sorted by code point; `""` is the top.

        A folder that is absent has no names. The answer is complete: where any part of it cannot be read, this raises.

        Raises:
            MlverError: The folder, or the whole storage, cannot be read.
        """
        ...

    def create(self, name: str, data: Buffer) -> bool:
        """Publish a blob unless the name is taken; of any number of callers exactly one is told True.

        Returns:
            True if this call made the blob, False if it existed (and is unchanged).

        Raises:
            MlverError: It could not be written or made durable. Where that was the very last step, the blob may exist.
        """
        ...

    def put(self, name: str, data: Buffer) -> None:
        """Publish a blob, replacing one of that name in one step: for HEAD and its like, and content-addressed blobs.

        Raises:
            MlverError: It could not be written or made durable.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove a blob; one that is absent is fine. It may come back after a power cut until `sync` was called.

        Raises:
            MlverError: It could not be removed.
        """
        ...

    def sync(self, folder: str) -> None:
        """Make durable what is visible now in `folder`: blobs that others published, and deletions.

        Raises:
            MlverError: It could not be made durable.
        """
        ...

    def stage(self) -> StagedBlob:
        """Start a blob whose content, and with it its name, is not known yet.

        Raises:
            MlverError: Nothing can be written.
        """
        ...


@lru_cache(maxsize=1 << 10)  # packs are read thousands of times; what is refused is not remembered
def check_name(name: str) -> None:
    """Refuse a blob or folder name that would leave the storage, or not survive some file system.

    The rules of POSIX and Windows hold everywhere: no empty, `.` or `..` component, nothing absolute, no backslash,
    colon, wildcard, control character or lone surrogate, no trailing dot or space, no device name such as `NUL`.

    Raises:
        IntegrityError: The name is refused; it is never mended.
    """
    if not _NAME.fullmatch(name) or _DEVICE.search(name) or _has_long_component(name):
        raise IntegrityError(f"{name!r} is not a name that a store may hold.")
    if name.split("/", 1)[0].lower() == TEMPORARY_FOLDER:
        raise IntegrityError(
            f"{name!r} is not a name that a store may hold: '{TEMPORARY_FOLDER}' is for temporary files."
        )


def _has_long_component(name: str) -> bool:
    if len(name) * 4 <= _MAX_COMPONENT_BYTES:
        return False
    return any(len(part.encode()) > _MAX_COMPONENT_BYTES for part in name.split("/"))
