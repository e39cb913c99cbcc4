"""A file within a file: what a parser reads of a zip file's member, or of what was saved into a larger file."""

from __future__ import annotations

from mlver.formats.layout import ByteSource


class Stretch:
    """A stretch of a file as a `ByteSource`; it lies within the file."""

    def __init__(self, source: ByteSource, offset: int, size_bytes: int) -> None:
        self._source = source
        self._offset = offset
        self._size_bytes = size_bytes

    @property
    def size_bytes(self) -> int:
        """Length of the stretch."""
        return self._size_bytes

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at `offset`, fewer where the stretch ends."""
        return self._source.read(self._offset + offset, max(min(length, self._size_bytes - offset), 0))
