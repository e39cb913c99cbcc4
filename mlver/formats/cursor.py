"""Reads a file forward in windows: what the parsers of formats without a table of contents walk along.

What is skipped is not read, so a walk over gigabytes of weights reads only what lies between them.
"""

from __future__ import annotations

from mlver.formats.layout import ByteSource, FormatError, read_exactly

WINDOW_BYTES = 1 << 14
_CHARACTERS_OF_A_STEP = 16
MAX_TAKE_BYTES = 1 << 16
"""The most that is read in one piece: names and small headers, whatever length the file claims."""


class Cursor:
    """A place in a file, moved by reading.

    Args:
        source: The file.
        max_steps: How often `step` may be called: what the walk may cost, whatever the file says.
        window_bytes: How much is read at once; small for a walk that jumps.

    Attributes:
        offset: The place, in bytes from the start of the file.
    """

    def __init__(self, source: ByteSource, max_steps: int, window_bytes: int = WINDOW_BYTES) -> None:
        self.offset = 0
        self._source = source
        self._steps = max_steps
        self._window_bytes = window_bytes
        self._window = b""
        self._start = 0

    @property
    def end(self) -> int:
        """Size of the file in bytes."""
        return self._source.size_bytes

    def step(self, count: int = 1) -> None:
        """Count `count` steps of the walk.

        Raises:
            FormatError: The walk has taken all it may.
        """
        self._steps -= count
        if self._steps < 0:
            raise FormatError("the file has too many parts")

    def keep(self, text: str) -> str:
        """Return `text`, counted as so many steps that a small file cannot stand for gigabytes of names.

        Raises:
            FormatError: The walk has taken all the steps it may.
        """
        self.step(1 + len(text) // _CHARACTERS_OF_A_STEP)
        return text

    def seek(self, offset: int) -> None:
        """Go to `offset`.

        Raises:
            FormatError: It lies outside the file.
        """
        if not 0 <= offset <= self._source.size_bytes:
            raise FormatError("a range lies outside the file")
        self.offset = offset

    def skip(self, length: int) -> None:
        """Go `length` bytes forward.

        Raises:
            FormatError: The file ends before.
        """
        self.seek(self.offset + length)

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes.

        Raises:
            FormatError: The file ends before, or they are more than anything that is read in one piece.
            OSError: The file cannot be read.
        """
        at = self.offset - self._start
        if at < 0 or at + length > len(self._window):
            at = self._refill(length)
        self.offset += length
        return self._window[at : at + length]

    def number(self, width: int) -> int:
        """Return the next `width` bytes as a little-endian unsigned integer.

        Raises:
            FormatError: The file ends before.
            OSError: The file cannot be read.
        """
        return int.from_bytes(self.take(width), "little")

    def byte(self) -> int:
        """Return the next byte: what `number(1)` does, in less time.

        Raises:
            FormatError: The file ends before.
            OSError: The file cannot be read.
        """
        at = self.offset - self._start
        if not 0 <= at < len(self._window):
            at = self._refill(1)
        self.offset += 1
        return self._window[at]

    def text(self, length: int) -> str:
        """Return the next `length` bytes as text.

        Raises:
            FormatError: The file ends before, or they are too many, or no UTF-8.
            OSError: The file cannot be read.
        """
        return decoded(self.take(length))

    def _refill(self, length: int) -> int:
        """Read on from here and return where in the window that is."""
        if length > MAX_TAKE_BYTES:
            raise FormatError("a name or header is too long")
        available = self._source.size_bytes - self.offset
        self._window = read_exactly(self._source, self.offset, max(length, min(available, self._window_bytes)))
        self._start = self.offset
        return 0


def decoded(raw: bytes) -> str:
    """Return UTF-8 as text.

    Raises:
        FormatError: It is none.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError("a name is no UTF-8") from None
