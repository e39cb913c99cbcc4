"""What kind of number each element type is, and its size: all that can be said without NumPy."""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """Which measures say something of an element type."""

    FLOAT = "float"
    """Numbers on a continuous scale: all measures."""
    INTEGER = "integer"
    """Counts, positions, or codes of a quantisation: how many changed, and the largest step."""
    BOOLEAN = "boolean"
    """How many changed."""
    BYTES = "bytes"
    """Nobody here knows what the bits mean: how many bytes changed."""


_BITS = {
    "U2": 2, "I2": 2, "U4": 4, "I4": 4,
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F8_E8M0": 8,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64, "C128": 128,
}  # fmt: skip


def kind_of(dtype: str) -> Kind:
    """Return what kind of numbers a tensor of this type holds."""
    if dtype not in _BITS:
        return Kind.BYTES
    if dtype == "BOOL":
        return Kind.BOOLEAN
    return Kind.INTEGER if dtype[0] in "UI" else Kind.FLOAT


def element_bits(dtype: str) -> int:
    """Return the bits of an element; 8 where the type is not known, whose elements are bytes here."""
    return _BITS.get(dtype, 8)
