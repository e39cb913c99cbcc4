"""Element types: their safetensors names, and how many bytes an array of them takes.

Source: https://github.com/huggingface/safetensors (`Dtype` in `safetensors/src/tensor.rs`); C128, and the
integers of 2 and 4 bits, which ONNX has, are ours. The block types of GGUF (`Q4_K`) have no size of an element and are
not among these.
"""

from __future__ import annotations

import math
import re

BITS_BY_DTYPE = {
    "I2": 2,
    "U2": 2,
    "F4": 4,
    "I4": 4,
    "U4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
    "C128": 128,
}
"""Bits of one element of every dtype whose size is known."""

MAX_DIMENSIONS = 64
MAX_ELEMENTS = 1 << 63
_UNKNOWN_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,31}")


def element_count(shape: tuple[int, ...]) -> int | None:
    """Return the product of the dimensions, or None when they are negative, too many or too large to be real."""
    if len(shape) > MAX_DIMENSIONS or any(not 0 <= dimension < MAX_ELEMENTS for dimension in shape):
        return None
    count = math.prod(shape)
    return count if count < MAX_ELEMENTS else None


def fits(dtype: str, shape: tuple[int, ...], size_bytes: int) -> bool:
    """Tell whether `size_bytes` is what a contiguous array of this dtype and shape takes.

    A dtype this program has never heard of fits when the size gives every element the same whole number
    of bits, at most 128: a newer safetensors type is still a tensor.
    """
    count = element_count(shape)
    if count is None:
        return False
    bits = BITS_BY_DTYPE.get(dtype)
    if bits is not None:
        return count * bits == size_bytes * 8
    if _UNKNOWN_NAME.fullmatch(dtype) is None:
        return False
    return size_bytes == 0 if count == 0 else size_bytes * 8 % count == 0 and 0 < size_bytes * 8 // count <= 128
