"""A chunk as it is stored, and the numbers of the encodings."""

from __future__ import annotations

from typing import Literal, NamedTuple

from mlver.codec.frames import Buffer

MAX_CHUNK_BYTES = 16 << 20
"""No chunk is larger; a declared size above it is refused before anything is allocated."""

RAW, ZSTD, PLANES, SPARSE = 0, 1, 2, 3
DELTA, LEVELS, CAST, GRID = 16, 17, 18, 19
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

WHOLE_BYTES = 1 << 18
"""Up to this size a chunk of a matrix is done in every way that comes into question, and tells nothing of others."""
_ABOUT, _LITTLE = 1 / 8, 1 / 20
"""How much of what was foretold, or of its raw size, a chunk may differ before it is asked again how to encode it."""


class Method(NamedTuple):
    """How a plane is stored; see `mlver.codec.planes`.

    Attributes:
        number: What its descriptor begins with.
        start: Of the window, if it is stored as nibbles.
        parameters: Those of zstd, if it is stored as they are, by name.
    """

    number: int
    start: int = 0
    parameters: str = ""


class Choice(NamedTuple):
    """How a chunk was encoded, for those after it of its kind: finding that out takes longer than doing it.

    Attributes:
        encoding: PLANES, DELTA, LEVELS or GRID.
        part: What it made of the chunk: encoded size ÷ raw size.
        methods: How the planes were stored; only of PLANES and DELTA.
        has_table: Something was expected by the base's mantissa.
        has_steps: Something was expected by the column.
        has_factors: Something was expected by the row and the column.
        by_exponent: The base's exponent counted; only of LEVELS and GRID.
        is_coded: All residuals went through the entropy coder; only of LEVELS.
    """

    encoding: int
    part: float
    methods: tuple[Method, ...] = ()
    has_table: bool = False
    has_steps: bool = False
    has_factors: bool = False
    by_exponent: bool = False
    is_coded: bool = False

    def foretold(self, size_bytes: int, raw_bytes: int) -> bool:
        """Tell whether a chunk that was encoded in the same way takes about as much."""
        return abs(size_bytes / raw_bytes - self.part) <= max(self.part * _ABOUT, _LITTLE)


class Encoded(NamedTuple):
    """A chunk as it is stored.

    Attributes:
        encoding: Number of the encoding, one byte on disk.
        parts: The payload is their concatenation. They may alias the buffer that was given to `encode`: write them
            before that buffer is reused.
        choice: How it was encoded, if the chunk is large enough to tell how those after it are best encoded.
    """

    encoding: int
    parts: tuple[Buffer, ...]
    choice: Choice | None = None

    @property
    def size_bytes(self) -> int:
        """Size of the payload in bytes."""
        return sum(len(part) for part in self.parts)

    def payload(self) -> Buffer:
        """Return the payload in one piece; a copy, if it was in several."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
