"""How an array's elements lie in memory: contiguous in one of two orders, or strided."""

from __future__ import annotations

from mlver.formats.dtypes import BITS_BY_DTYPE, element_count
from mlver.formats.layout import FormatError


def memory_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> str:
    """Return `C`, `F`, or `strides:` and the strides, for strides in elements.

    Dimensions of one element have no say, and an array of no elements or one dimension in a row is `C`.
    """
    if 0 in shape or _is_contiguous(shape[::-1], strides[::-1]):
        return "C"
    return "F" if _is_contiguous(shape, strides) else "strides:" + ",".join(map(str, strides))


def extent_bytes(dtype: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Return the bytes from the first to the last element, both included.

    Raises:
        FormatError: The dimensions or strides are negative or too large.
    """
    if element_count(shape) is None or any(stride < 0 or stride.bit_length() > 63 for stride in strides):
        raise FormatError("a tensor's shape or strides are out of range")
    if 0 in shape:
        return 0
    last = sum((dimension - 1) * stride for dimension, stride in zip(shape, strides, strict=True))
    return (last + 1) * BITS_BY_DTYPE[dtype] // 8


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Tell whether the elements lie in a row, the first dimension's next to each other."""
    expected = 1
    for dimension, stride in zip(shape, strides, strict=True):
        if dimension != 1 and stride != expected:
            return False
        expected *= dimension
    return True
