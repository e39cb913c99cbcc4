"""A chunk as it is stored, and the numbers of the encodings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlver.codec.frames import Buffer

MAX_CHUNK_BYTES = 16 << 20
"""No chunk is larger; a declared size above it is refused before anything is allocated."""

RAW, ZSTD, PLANES, SPARSE = 0, 1, 2, 3
DELTA, LEVELS, CAST = 16, 17, 18
BASE_ENCODINGS = range(16, 32)
"""Encodings that need the bytes of a base."""

Effort = Literal["fast", "balanced", "max"]
"""What may be spent on a chunk with a base: ``fast`` takes DELTA, ``balanced`` LEVELS where it gains much, ``max``
whatever is smallest."""

ELEMENT_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32", "C64"), 4),
    **dict.fromkeys(("I64", "U64", "F64", "C128"), 8),
}
"""Size in bytes, by dtype, of what is one element here; the two parts of a complex number are two."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A chunk as it is stored.

    Attributes:
        encoding: Number of the encoding, one byte on disk.
        parts: The payload is their concatenation. They may alias the buffer that was given to `encode`: write them
            before that buffer is reused.
    """

    encoding: int
    parts: tuple[Buffer, ...]

    @property
    def size_bytes(self) -> int:
        """Size of the payload in bytes."""
        return sum(len(part) for part in self.parts)

    def payload(self) -> Buffer:
        """Return the payload in one piece; a copy, if it was in several."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
