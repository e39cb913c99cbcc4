"""How much two stretches of two tensors differ: few passes over each block, sums that agree with float64 to 1e-6.

This is the definition, for all element types; what `mlver.differences.native` can do is done there. float32 is not
widened: squares are summed over rows of 512 elements by BLAS, and the rows' sums in float64. One long float32 sum would
be wrong by 1e-5 for equal elements, and float64 throughout takes three times as long. Blocks that are small, hold NaN
or infinities, or whose squares leave float32's range are computed in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlver.differences import native
from mlver.differences.element_kinds import Kind, element_bits, kind_of
from mlver.differences.elements import decode
from mlver.differences.figures import Figures
from mlver.digests import Buffer

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

_ROW = 512
_SMALL = 1 << 14
"""Elements up to which float64 costs nothing worth saving."""
_BLOCK = 1 << 18
_LEAST, _MOST = 1e-24, 1e24
"""Sums of squares between these lost nothing in float32: the squares that vanished or are subnormal are far smaller."""


def measure(before: Buffer, after: Buffer, from_dtype: str, to_dtype: str) -> Figures:
    """Return the figures of the elements in two stretches of bytes.

    Args:
        before: A whole number of elements.
        after: The same number of elements.
        from_dtype: Element type of `before`.
        to_dtype: Element type of `after`.
    """
    with np.errstate(all="ignore"):  # weights may be anything: what is no number, or overflows, shows in the figures
        return _measure(before, after, from_dtype, to_dtype)


def _measure(before: Buffer, after: Buffer, from_dtype: str, to_dtype: str) -> Figures:
    if Kind.BYTES in (kind_of(from_dtype), kind_of(to_dtype)):
        return _count_bytes(before, after)
    if from_dtype == to_dtype and (found := native.compare(before, after, to_dtype)) is not None:
        return found
    old, new = decode(before, from_dtype), decode(after, to_dtype)
    size_bytes = element_bits(to_dtype) // 8
    has_bits = from_dtype == to_dtype and size_bytes > 0
    changed = _count_bits(before, after, size_bytes) if has_bits else _count_values(old, new)
    if old.dtype.kind in "iu" and old.dtype == new.dtype:
        return _measure_integers(old, new, changed)
    if old.dtype == new.dtype == np.float32 and len(old) > _SMALL:
        return _measure_float32(old, new, changed)
    wide = "c16" if "c" in old.dtype.kind + new.dtype.kind else "f8"
    return _measure_wide(old.astype(wide, copy=False), new.astype(wide, copy=False), changed)


def measure_unchanged(raw: Buffer, dtype: str) -> Figures:
    """Return the figures of a stretch that is the same on both sides.

    Args:
        raw: A whole number of elements.
        dtype: Their type.
    """
    with np.errstate(all="ignore"):
        return _measure_unchanged(raw, dtype)


def _measure_unchanged(raw: Buffer, dtype: str) -> Figures:
    if kind_of(dtype) is Kind.BYTES:
        return Figures(elements=len(raw))
    if (found := native.compare(raw, raw, dtype)) is not None:
        return found
    values = decode(raw, dtype)
    if values.dtype == np.float32 and len(values) > _SMALL:
        square = _sum_of_products(values, values)
        if _LEAST < square < _MOST:
            return Figures(len(values), 0, square, square, 0.0, square)
    values = values.astype("c16" if values.dtype.kind == "c" else "f8", copy=False)
    return _measure_wide(values, values, 0)


def _count_bytes(before: Buffer, after: Buffer) -> Figures:
    old, new = np.frombuffer(before, dtype="u1"), np.frombuffer(after, dtype="u1")
    return Figures(elements=len(old), changed=int(np.count_nonzero(old != new)))


def _count_bits(before: Buffer, after: Buffer, size_bytes: int) -> int:
    """Count the elements that have other bits: a zero that changed its sign has, a NaN that stayed has not."""
    word = min(size_bytes, 8)
    differs = np.frombuffer(before, dtype=f"u{word}") != np.frombuffer(after, dtype=f"u{word}")
    if size_bytes > word:
        differs = differs[0::2] | differs[1::2]
    return int(np.count_nonzero(differs))


def _count_values(old: Array, new: Array) -> int:
    """Count the elements that have another value; NaN is NaN."""
    return int(np.count_nonzero((old != new) & ~(np.isnan(old) & np.isnan(new))))


def _measure_float32(old: Array, new: Array, changed: int) -> Figures:
    delta = np.subtract(new, old)
    largest = max(float(delta.max()), -float(delta.min()))
    sums = [_sum_of_products(*pair) for pair in ((old, old), (new, new), (delta, delta), (old, new))]
    # NaN and infinities on either side end up in these, and fail every comparison.
    if all(_LEAST < square < _MOST for square in sums[:2]) and (largest == 0 or _LEAST < sums[2] < _MOST):
        return Figures(len(old), changed, sums[0], sums[1], sums[2], sums[3], largest)
    return _measure_wide(old.astype("f8"), new.astype("f8"), changed)


def _sum_of_products(first: Array, second: Array) -> float:
    """Return the sum of products of float32 arrays: float32 within rows, float64 over rows."""
    whole = len(first) // _ROW * _ROW
    rows = np.matmul(first[:whole].reshape(-1, 1, _ROW), second[:whole].reshape(-1, _ROW, 1))
    return float(rows.sum(dtype="f8")) + float(np.dot(first[whole:].astype("f8"), second[whole:].astype("f8")))


def _measure_wide(old: Array, new: Array, changed: int) -> Figures:
    """Return the figures of float64 or complex128 arrays, whatever is in them."""
    finite = np.isfinite(old) & np.isfinite(new)
    lost = _lost(old, new) if not finite.all() else (0, 0, 0, 0)
    if any(lost):
        kept = np.nonzero(finite)
        old, new = old[kept], new[kept]
    delta = new - old
    largest = float(np.abs(delta).max(initial=0.0))
    squares = [_square(values) for values in (old, new, delta)]
    product = float(np.vdot(old, new).real)
    return Figures(len(finite), changed, squares[0], squares[1], squares[2], product, largest, *lost)


def _square(values: Array) -> float:
    return float(np.vdot(values, values).real)


def _lost(old: Array, new: Array) -> tuple[int, int, int, int]:
    """Return how many NaNs and infinities there are before, and after."""
    counts = [int(np.count_nonzero(test(side))) for side in (old, new) for test in (np.isnan, np.isinf)]
    return counts[0], counts[1], counts[2], counts[3]


def _measure_integers(old: Array, new: Array, changed: int) -> Figures:
    """Return the figures of 64-bit integers, whose differences float64 would lose."""
    unsigned = np.where(new > old, new.view("u8") - old.view("u8"), old.view("u8") - new.view("u8"))
    wide = old.astype("f8"), new.astype("f8")
    steps = unsigned.astype("f8")
    largest = float(steps.max(initial=0.0))
    squares = [_square(values) for values in (*wide, steps)]
    return Figures(len(old), changed, squares[0], squares[1], squares[2], float(np.dot(*wide)), largest)


def measure_all(before: Buffer, after: Buffer, from_dtype: str, to_dtype: str) -> Figures:
    """Return the figures of two whole tensors, block by block, so that not all of them is widened at once.

    Args:
        before: All elements; their type has a whole number of bytes.
        after: As many.
        from_dtype: Element type of `before`.
        to_dtype: Element type of `after`.
    """
    figures = Figures()
    sizes = element_bits(from_dtype) // 8, element_bits(to_dtype) // 8
    old, new = memoryview(before), memoryview(after)
    for start in range(0, len(old) // sizes[0], _BLOCK):
        end = start + _BLOCK
        old_part, new_part = old[start * sizes[0] : end * sizes[0]], new[start * sizes[1] : end * sizes[1]]
        figures = figures.plus(measure(old_part, new_part, from_dtype, to_dtype))
    return figures
