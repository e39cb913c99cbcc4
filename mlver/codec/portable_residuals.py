"""Residuals in numpy: differences of bit patterns in zigzag order; see `mlver.codec.residuals` for what they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlver.codec.shapes import STEP_BITS, TABLE_ENTRIES, Elements, Expectation, Exponent

_MOST_SHIFT = 31
_LOOKED_AT = 512
"""Columns of a sample of rows."""


def zigzagged(values: Elements, expected: Elements) -> Elements:
    """Return the residuals of elements: small differences of either sign become small numbers."""
    differences: Elements = values - expected
    signed = differences.view(f"<i{differences.itemsize}")
    signs = (signed >> (8 * differences.itemsize - 1)).view(differences.dtype)
    differences <<= 1
    differences ^= signs
    return differences


def unzigzagged(values: Elements, expected: Elements) -> None:
    """Undo `zigzagged` in place."""
    odd = values & 1
    np.negative(odd, out=odd)
    values >>= 1
    values ^= odd
    values += expected


def expect(base: Elements, expectation: Expectation) -> Elements:
    """See `mlver.codec.loops.Loops.expect`."""
    expected = base.copy()
    if expectation.table is not None:
        expected += expectation.table[(base >> expectation.table_shift & (TABLE_ENTRIES - 1)).astype(np.intp)]
    if expectation.steps is not None:
        steps = np.resize(expectation.steps, base.size).astype(np.int64) << STEP_BITS
        shifts = np.clip(np.maximum(exponents(base, expectation.exponent), 1) - expectation.unit, 0, _MOST_SHIFT)
        rounded = (steps + (np.int64(1) << shifts.astype(np.int64) >> 1)) >> shifts
        is_negative = base >> (8 * base.itemsize - 1) != 0
        expected += np.where(is_negative, -rounded, rounded).astype(f"<i{base.itemsize}").view(base.dtype)
    return expected


def agreement(values: Elements, base: Elements, columns: int, row_step: int, column_step: int) -> int:
    """See `mlver.codec.loops.Loops.agreement`."""
    rows = values.size // columns
    new, old = (
        each[: rows * columns].reshape(rows, columns)[::row_step, ::column_step][:, :_LOOKED_AT]
        for each in (values, base)
    )
    up = np.sign((new - old).view(f"<i{old.itemsize}")).astype(np.int64)
    up[old >> (8 * old.itemsize - 1) != 0] *= -1
    return int(np.abs(up.sum(axis=0)).sum())


def exponents(base: Elements, exponent: Exponent) -> npt.NDArray[np.int32]:
    """Return the exponents of elements, shape (n,)."""
    # The mask may have bits that narrow elements have not.
    mask = base.dtype.type(exponent.mask & ((1 << 8 * base.itemsize) - 1))
    return (base >> exponent.shift & mask).astype(np.int32)
