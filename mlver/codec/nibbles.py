"""Four bits an element: planes of few distinct values, two to a byte, before zstd sees them.

The exponents of weights take some ten values of note. In pairs they are half as many symbols to code, nearly three
times as fast as the plane itself and a little smaller, and zstd loses no time on chance matches. Values out of the
window of fifteen are escaped and listed apart.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlver.errors import IntegrityError

Plane = npt.NDArray[np.uint8]

_WINDOW = 15
"""Nibbles 0–14 are values counted from the window's start; 15 is the escape."""
_ESCAPE = 15
_MAX_ESCAPES = 1 / 64


def window(sample: Plane) -> int | None:
    """Return the start of the fifteen values in a row, modulo 256, that hold all but a few of `sample`, if any do."""
    counts = np.bincount(sample, minlength=256)
    sums = np.cumsum(np.concatenate((counts, counts[:_WINDOW])))
    held = sums[_WINDOW:] - sums[:-_WINDOW]
    # held[i] is the window that starts at i + 1.
    best = int(np.argmax(held))
    return (best + 1) % 256 if held[best] >= sample.size * (1 - _MAX_ESCAPES) else None


def pack(plane: Plane, start: int) -> tuple[Plane, Plane] | None:
    """Pack `plane`, u8 of shape (n,).

    Returns:
        The pairs, u8 of shape (ceil(n / 2),), the even element in the low half, and the escaped values in order; None
        when too many values are out of the window.
    """
    nibbles = np.empty(plane.size + plane.size % 2, np.uint8)
    nibbles[-1] = 0
    np.subtract(plane, np.uint8(start), out=nibbles[: plane.size])
    escaped = np.flatnonzero(nibbles > _WINDOW - 1)
    if escaped.size > plane.size * _MAX_ESCAPES:
        return None
    values = plane[escaped]
    nibbles[escaped] = _ESCAPE
    wide = nibbles.view("<u2")
    wide |= wide >> 4
    return wide.astype(np.uint8), values


def unpack(pairs: Plane, values: Plane, start: int, count: int) -> Plane:
    """Give back the plane, u8 of shape (count,).

    Raises:
        IntegrityError: There are not as many `values` as escapes.
    """
    wide = pairs.astype("<u2")
    wide |= wide << 4
    wide &= 0x0F0F
    plane = wide.view(np.uint8)[:count]
    escaped = np.flatnonzero(plane == _ESCAPE)
    if escaped.size != values.size:
        raise IntegrityError(f"A chunk's plane has {escaped.size} escapes and {values.size} values for them.")
    plane += np.uint8(start)
    plane[escaped] = values
    return plane
