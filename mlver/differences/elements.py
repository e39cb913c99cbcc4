"""Bytes of a tensor → numbers NumPy can compute with, for every element type, also those NumPy has not.

Up to 24 significant bits become float32, which holds them exactly; wider ones float64, 64-bit integers stay integers.

Source: OCP 8-bit Floating Point (OFP8) 1.0; OCP Microscaling Formats (MX) 1.0, 5.3; IEEE 754; safetensors' dtypes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from mlver.differences.element_kinds import element_bits
from mlver.digests import Buffer

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]


class MiniFloat(Enum):
    """How an 8-bit or 4-bit float spends its largest exponent."""

    IEEE = "infinities and NaNs"
    FINITE = "all bits set is NaN, no infinities"
    UNSIGNED_ZERO = "minus zero is the one NaN, no infinities"
    NUMBERS_ONLY = "neither NaNs nor infinities"


_PLAIN = {
    "BOOL": ("u1", "f4"), "U8": ("u1", "f4"), "I8": ("i1", "f4"), "U16": ("<u2", "f4"), "I16": ("<i2", "f4"),
    "U32": ("<u4", "f8"), "I32": ("<i4", "f8"), "U64": ("<u8", "u8"), "I64": ("<i8", "i8"),
    "F32": ("<f4", "f4"), "F64": ("<f8", "f8"), "C64": ("<c8", "c16"), "C128": ("<c16", "c16"),
}  # fmt: skip
"""What NumPy reads, and what it becomes."""

_MINI = {
    "F8_E4M3": (4, 3, 7, MiniFloat.FINITE),
    "F8_E5M2": (5, 2, 15, MiniFloat.IEEE),
    "F8_E4M3FNUZ": (4, 3, 8, MiniFloat.UNSIGNED_ZERO),
    "F8_E5M2FNUZ": (5, 2, 16, MiniFloat.UNSIGNED_ZERO),
    "F4": (2, 1, 1, MiniFloat.NUMBERS_ONLY),
}
"""Bits of exponent and mantissa, bias, and special values."""


def decode(raw: Buffer, dtype: str) -> Array:
    """Return the elements in a tensor's bytes.

    Args:
        raw: A whole number of elements, in the order of the file; those of less than a byte begin in its lowest bits.
        dtype: Name of the element type, one that `kind_of` does not call bytes.

    Returns:
        One dimension of float32, float64, int64, uint64 or complex128. It may alias `raw`.
    """
    if dtype in _PLAIN:
        stored, wanted = _PLAIN[dtype]
        array: Array = np.frombuffer(raw, dtype=stored)
        return np.not_equal(array, 0).astype("f4") if dtype == "BOOL" else array.astype(wanted, copy=False)
    return _SPECIAL[dtype](np.frombuffer(raw, dtype="u1"))


def _decode_bf16(array: Array) -> Array:
    """Widen by sixteen zero bits: a BF16 is the upper half of an F32."""
    wide = array.view("<u2").astype("<u4")
    wide <<= 16
    return wide.view("<f4")


def _decode_f16(array: Array) -> Array:
    """Look every pattern up: NumPy's own conversion takes twice as long."""
    return np.take(_halves(), array.view("<u2"), mode="clip")


@functools.cache
def _halves() -> Array:
    return np.arange(1 << 16, dtype="u2").view("f2").astype("f4")


def _decode_scale(array: Array) -> Array:
    """F8_E8M0 has only an exponent; all bits set is NaN. float64, since 2^-127 is subnormal in float32."""
    return np.take(_scales(), array, mode="clip")


@functools.cache
def _scales() -> Array:
    table: Array = np.ldexp(1.0, np.arange(256) - 127)
    table[255] = np.nan
    return table


def _decode_mini(dtype: str, array: Array) -> Array:
    return np.take(_mini_table(dtype), array, mode="clip")  # the mode only saves a check: any byte is in it


def _decode_packed(dtype: str, array: Array) -> Array:
    """Decode several elements a byte: a look-up of all of them at once."""
    return np.take(_packed_table(dtype), array, axis=0, mode="clip").reshape(-1)


@functools.cache
def _packed_table(dtype: str) -> Array:
    """Return the elements of every byte, the one in the lowest bits first."""
    bits = element_bits(dtype)
    patterns = (np.arange(256)[:, None] >> np.arange(0, 8, bits)) & ((1 << bits) - 1)
    if dtype == "F4":
        floats: Array = _mini_table("F4")[patterns]
        return floats
    # Two's complement: patterns with the highest bit set are negative.
    signed = patterns - (patterns >> (bits - 1) << bits if dtype.startswith("I") else 0)
    return signed.astype("f4")


@functools.cache
def _mini_table(dtype: str) -> Array:
    """Return the value of every bit pattern."""
    exponent_bits, mantissa_bits, bias, special = _MINI[dtype]
    bits = 1 + exponent_bits + mantissa_bits
    patterns = np.arange(1 << bits)
    exponent = (patterns >> mantissa_bits) & ((1 << exponent_bits) - 1)
    mantissa = patterns & ((1 << mantissa_bits) - 1)
    # A zero exponent has no hidden bit, and the scale of exponent one.
    significand = mantissa + np.where(exponent > 0, 1 << mantissa_bits, 0)
    table: Array = np.ldexp(significand.astype("f8"), np.maximum(exponent, 1) - bias - mantissa_bits)
    negative = patterns >> (bits - 1) == 1
    table[negative] *= -1
    top = (1 << exponent_bits) - 1
    if special is MiniFloat.IEEE:
        table[exponent == top] = np.where(mantissa == 0, np.where(negative, -np.inf, np.inf), np.nan)[exponent == top]
    elif special is MiniFloat.FINITE:
        table[(exponent == top) & (mantissa == (1 << mantissa_bits) - 1)] = np.nan
    elif special is MiniFloat.UNSIGNED_ZERO:
        table[1 << (bits - 1)] = np.nan
    return table.astype("f4")


_SPECIAL: dict[str, Callable[[Array], Array]] = {
    "F16": _decode_f16,
    "BF16": _decode_bf16,
    "F8_E8M0": _decode_scale,
    **{name: functools.partial(_decode_packed, name) for name in ("F4", "U4", "I4", "U2", "I2")},
    **{name: functools.partial(_decode_mini, name) for name in _MINI if name != "F4"},
}
