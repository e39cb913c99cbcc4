"""The entropy coder in numpy; see `mlver.codec.entropy` for its layout, `mlver.codec.loops` for the functions.

Symbol i is in lane i modulo the number of lanes, and all lanes go forward together: a row of symbols at once.

Source: Jarek Duda, Asymmetric numeral systems, arXiv:1311.2540; Fabian Giesen, Interleaved entropy coders,
arXiv:1402.3392.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlver.codec.shapes import MAX_CLASSES, PROBABILITY_BITS, SLOTS, STATE_LOW, SYMBOLS, Plane

_WORD_BITS = 16


def count(classes: Plane, symbols: Plane) -> npt.NDArray[np.uint32]:
    """See `mlver.codec.loops.Loops.count`."""
    cells = classes.astype(np.int64) * SYMBOLS + symbols
    return np.bincount(cells, minlength=MAX_CLASSES * SYMBOLS).astype(np.uint32).reshape(MAX_CLASSES, SYMBOLS)


def entropy_encode(
    classes: Plane, symbols: Plane, shares: npt.NDArray[np.uint16], lanes: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
    """See `mlver.codec.loops.Loops.entropy_encode`."""
    cells = classes.astype(np.intp) * SYMBOLS + symbols
    shares = shares.copy()
    shares[~shares.any(axis=1), 0] = SLOTS
    share = shares.ravel().astype(np.uint64)[cells]
    start = (np.cumsum(shares, axis=1, dtype=np.uint64) - shares).ravel()[cells]
    states = np.full(lanes, STATE_LOW, np.uint64)
    rows: list[npt.NDArray[np.uint16]] = []
    for row in range((cells.size - 1) // lanes * lanes, -1, -lanes):
        parts, starts = share[row : row + lanes], start[row : row + lanes]
        state = states[: parts.size]
        full = state >= parts << np.uint64(32 - PROBABILITY_BITS)
        rows.append(state[full].astype(np.uint16))
        state >>= full * np.uint64(_WORD_BITS)
        whole, rest = np.divmod(state, parts)
        state[:] = (whole << np.uint64(PROBABILITY_BITS)) + rest + starts
    words = np.concatenate(rows[::-1]) if rows else np.empty(0, np.uint16)
    return states.astype(np.uint32), words


def entropy_decode(
    classes: Plane,
    shares: npt.NDArray[np.uint16],
    states: npt.NDArray[np.uint32],
    words: npt.NDArray[np.uint16],
) -> Plane | None:
    """See `mlver.codec.loops.Loops.entropy_decode`."""
    slots = _slots(shares)
    if slots is None:
        return None
    symbol_of, share_of, within = slots
    lanes, taken = states.size, 0
    left, symbols = states.copy(), np.empty(classes.size, np.uint8)
    tables = np.minimum(classes, np.uint8(len(shares) - 1)).astype(np.uint32) << np.uint32(PROBABILITY_BITS)
    for row in range(0, classes.size, lanes):
        state = left[: min(lanes, classes.size - row)]
        slot = tables[row : row + lanes] | state & np.uint32(SLOTS - 1)
        symbols[row : row + lanes] = symbol_of[slot]
        state[:] = share_of[slot] * (state >> np.uint32(PROBABILITY_BITS)) + within[slot]
        empty = np.flatnonzero(state < STATE_LOW)
        if empty.size > words.size - taken:
            return None
        state[empty] = state[empty] << np.uint32(_WORD_BITS) | words[taken : taken + empty.size]
        taken += empty.size
    return symbols if taken == words.size and (left == STATE_LOW).all() else None


def _slots(
    shares: npt.NDArray[np.uint16],
) -> tuple[Plane, npt.NDArray[np.uint32], npt.NDArray[np.uint32]] | None:
    """Return the symbol, its share and the place within that of each slot of each class; None if shares are wrong."""
    totals = shares.sum(axis=1, dtype=np.int64)
    if ((totals != 0) & (totals != SLOTS)).any():
        return None
    # Without shares nothing is coded, and all symbols are 0.
    symbol_of = np.zeros((len(shares), SLOTS), np.uint8)
    share_of = np.full((len(shares), SLOTS), SLOTS, np.uint32)
    within = np.tile(np.arange(SLOTS, dtype=np.uint32), (len(shares), 1))
    for number in np.flatnonzero(totals):
        of_class = np.repeat(np.arange(SYMBOLS), shares[number])
        symbol_of[number] = of_class
        share_of[number] = shares[number][of_class]
        within[number] = np.arange(SLOTS) - (np.cumsum(shares[number], dtype=np.int64) - shares[number])[of_class]
    return symbol_of.ravel(), share_of.ravel(), within.ravel()
