"""Four bits an element: planes of few distinct values, two to a byte, before zstd sees them.

The exponents of weights take some ten values of note. In pairs they are half as many symbols to code, nearly three
times as fast as the plane itself and a little smaller, and zstd loses no time on chance matches. Values out of the
window of fifteen are escaped and listed apart.
"""

from __future__ import annotations

import numpy as np

from mlver.codec import loops
from mlver.codec.shapes import Plane
from mlver.errors import IntegrityError

_WINDOW = 15
"""Nibbles 0–14 are values counted from the window's start; 15 is the escape."""
_FEWEST = 64
"""At most one in so many values may be escaped."""


def window(sample: Plane) -> int | None:
    """Return the start of the fifteen values in a row, modulo 256, that hold all but a few of `sample`, if any do."""
    counts = np.bincount(sample, minlength=256)
    sums = np.cumsum(np.concatenate((counts, counts[:_WINDOW])))
    held = sums[_WINDOW:] - sums[:-_WINDOW]
    # held[i] is the window that starts at i + 1.
    best = int(np.argmax(held))
    return (best + 1) % 256 if held[best] >= sample.size * (1 - 1 / _FEWEST) else None


def pack(plane: Plane, start: int) -> tuple[Plane, Plane] | None:
    """Pack `plane`, u8 of shape (n,).

    Returns:
        The pairs, u8 of shape (ceil(n / 2),), the even element in the low half, and the escaped values in order; None
        when too many values are out of the window.
    """
    return loops.current.pack_nibbles(plane, start, plane.size // _FEWEST)


def unpack(pairs: Plane, values: Plane, start: int, count: int) -> Plane:
    """Give back the plane, u8 of shape (count,).

    Raises:
        IntegrityError: There are not as many `values` as escapes, or there is something after the last nibble.
    """
    plane = loops.current.unpack_nibbles(pairs, values, start, count)
    if plane is None:
        raise IntegrityError(f"A chunk's plane has not as many escapes as values for them, {values.size}.")
    return plane
