"""The entropy coder in numpy; see `mlver.codec.entropy` for its layout, `mlver.codec.loops` for the functions.

Symbol i is in lane i modulo the number of lanes, and all lanes go forward together: a row of symbols at once.

Source: Jarek Duda, Asymmetric numeral systems, arXiv:1311.2540; Fabian Giesen, Interleaved entropy coders,
arXiv:1402.3392.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from mlver.codec.shapes import (
    MAX_CLASSES,
    PROBABILITY_BITS,
    SLOTS,
    STATE_LOW,
    SYMBOLS,
    Coded,
    Plane,
    Shares,
)

_WORD_BITS = 16
_SMALL = 0x80
"""A share from here on takes two bytes."""
_LOG_BITS = 16
_SHARE_BITS = 629_146
"""A share takes 1.2 bytes, in units of 2 ** -16 bits."""


def count(classes: Plane, symbols: Plane) -> npt.NDArray[np.uint32]:
    """See `mlver.codec.loops.Loops.count`."""
    cells = classes.astype(np.int64) * SYMBOLS + symbols
    return np.bincount(cells, minlength=MAX_CLASSES * SYMBOLS).astype(np.uint32).reshape(MAX_CLASSES, SYMBOLS)


def code(classes: Plane, symbols: Plane, few: int, many: int, lanes: int, known: Shares | None = None) -> Coded:
    """See `mlver.codec.loops.Loops.code`."""
    counts = count(classes, symbols)
    size, number = min((_tables_size(_merged(counts, number)), number) for number in (few, many))
    if known is not None and _is_less(counts, known, size):
        none = np.empty(0, np.uint8)
        return Coded(none, none, *encode_symbols(classes, symbols, known, lanes))
    merged = _merged(counts, number)
    shares = _shares(merged)
    shares[number:] = shares[number - 1]
    stored_classes = int(np.flatnonzero(np.append(True, merged.any(axis=1)))[-1])
    return Coded(*_written(shares[:stored_classes]), *encode_symbols(classes, symbols, shares, lanes))


def decode(classes: Plane, coded: Coded, known: Shares | None = None) -> Plane | None:
    """See `mlver.codec.loops.Loops.decode`."""
    shares = _read_shares(coded.stored, coded.written) if coded.stored.size else known
    return None if shares is None else decode_symbols(classes, shares, coded.states, coded.words)


def _merged(counts: npt.NDArray[np.uint32], number: int) -> npt.NDArray[np.int64]:
    """Return `counts`, shape (64, 64), with all classes from the last of `number` added up there."""
    merged = np.zeros(counts.shape, np.int64)
    merged[:number] = counts[:number]
    merged[number - 1] += counts[number:].sum(axis=0, dtype=np.int64)
    return merged


def _tables_size(counts: npt.NDArray[np.int64]) -> int:
    """Return about how many bits symbols and their tables take, in units of 2 ** -16."""
    shared = _SHARE_BITS * int(np.count_nonzero(counts)) - int(_times_log(counts).sum())
    return shared + int(_times_log(counts.sum(axis=1)).sum())


def _is_less(counts: npt.NDArray[np.uint32], known: Shares, size: int) -> bool:
    """Tell whether symbols take less than `size`, in units of 2 ** -16 bits, with shares that are known."""
    if counts[known == 0].any():
        return False
    bits = (PROBABILITY_BITS << _LOG_BITS) - _log(np.maximum(known, 1).astype(np.int64))
    return int((counts * bits).sum()) < size


def _times_log(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.where(values > 0, values * _log(values), 0)


def _log(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the binary logarithms of numbers from one up, which are rounded down to nine significant bits."""
    tops = np.frexp(values)[1].astype(np.int64) - 1
    leading = np.where(tops >= 8, values >> np.maximum(tops - 8, 0), values << np.maximum(8 - tops, 0))
    logs: npt.NDArray[np.int64] = (tops << _LOG_BITS) | _logs()[leading & 0xFF]
    return logs


@cache
def _logs() -> npt.NDArray[np.int64]:
    """Return the fractions of binary logarithms of 1 + i / 256, in units of 2 ** -16."""
    values, logs = np.arange(256, 512, dtype=np.uint64) << np.uint64(22), np.zeros(256, np.int64)
    for bit in range(_LOG_BITS - 1, -1, -1):
        values = values * values >> np.uint64(30)
        above = values >> np.uint64(31)
        logs |= above.astype(np.int64) << bit
        values >>= above
    return logs


def _shares(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.uint16]:
    """Return shares of 4096 by counts, both of shape (64, 64); none where all symbols are 0."""
    totals = counts.sum(axis=1, keepdims=True)
    shares = (counts * SLOTS + totals // 2) // np.maximum(totals, 1)
    shares = np.maximum(shares, counts > 0)
    rows = np.arange(len(shares))
    shares[rows, np.argmax(shares, axis=1)] += SLOTS - shares.sum(axis=1)
    shares[counts[:, 0] == totals[:, 0]] = 0
    rounded: npt.NDArray[np.uint16] = shares.astype(np.uint16)
    return rounded


def _written(shares: Shares) -> tuple[Plane, Plane]:
    """Return how many shares are stored of each class, and these."""
    stored = SYMBOLS - np.argmax(shares[:, ::-1] > 0, axis=1)
    stored[~shares.any(axis=1)] = 0
    values = shares[np.arange(SYMBOLS) < stored[:, None]]
    is_large = values >= _SMALL
    written = np.empty(values.size + int(np.count_nonzero(is_large)), np.uint8)
    places = np.arange(values.size) + np.cumsum(is_large) - is_large
    written[places] = values & (_SMALL - 1) | is_large * np.uint16(_SMALL)
    written[places[is_large] + 1] = values[is_large] >> 7
    return stored.astype(np.uint8), written


def _read_shares(stored: Plane, written: Plane) -> Shares | None:
    """Undo `_written`; None if that cannot be."""
    goes_on = np.append(False, written >= _SMALL)
    if goes_on[-1] or (goes_on[1:] & goes_on[:-1]).any() or int(stored.max()) > SYMBOLS:
        return None
    starts = np.flatnonzero(~goes_on[:-1])
    if starts.size != int(stored.sum()):
        return None
    values = (written[starts] & (_SMALL - 1)).astype(np.uint16)
    values[goes_on[1:][starts]] |= written[np.flatnonzero(goes_on)].astype(np.uint16) << 7
    shares = np.zeros((stored.size, SYMBOLS), np.uint16)
    shares[np.arange(SYMBOLS) < stored[:, None]] = values
    return shares


def encode_symbols(
    classes: Plane, symbols: Plane, shares: Shares, lanes: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
    """Return the states and words that symbols are coded as, by the shares of each class."""
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


def decode_symbols(
    classes: Plane, shares: Shares, states: npt.NDArray[np.uint32], words: npt.NDArray[np.uint16]
) -> Plane | None:
    """Undo `encode_symbols`, by shares of which the last are those of all classes above, too; None if it cannot be."""
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
    shares: Shares,
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
