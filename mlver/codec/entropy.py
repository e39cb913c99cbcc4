"""An entropy coder that goes below a bit a symbol: symbols of skewed classes, a table of shares for each class.

Range asymmetric numeral systems: a lane is a state x of 32 bits, which a symbol with share f of 4096, and with shares g
before it in its class, turns into ``x / f * 4096 + g + x % f``. Before that, a state that would overflow gives its 16
lowest bits to the words; the decoder goes the other way. The encoder begins with 2 ** 16 in every lane, and at the last
symbol. Layout, in this order::

    u8           number of classes C, 1 to 64; symbols of classes above take the last table. Or 0: all have tables that
                 are known, and nothing of the next three is stored
    C × u8       how many shares are stored of each class, at most 64; the others are zero. They add up to 4096, or are
                 all zero: then all symbols of the class are 0, and nothing is coded
    u16          size in bytes of the shares
    …            the shares: below 128 as a byte; else a byte with the lowest seven bits and 128, and one with the rest
    u16          number of lanes L, 1 to 256: symbol i is in lane i modulo L
    L × u32      the state of each lane, before the first symbol
    u32          number of words
    … × u16      the words, each the 16 lowest bits of a state that has fallen below 2 ** 16, in the order of symbols

After the last symbol, the state of every lane is 2 ** 16, and all words were taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mlver.codec import loops, planes
from mlver.codec.frames import Buffer
from mlver.codec.shapes import MAX_CLASSES, MAX_LANES, SLOTS, SYMBOLS, Plane
from mlver.errors import IntegrityError

_SYMBOLS_A_LANE = 1 << 11
"""A lane costs two bytes more than it holds."""
_BYTES_A_SHARE = 1.2
_SMALL = 0x80
Counts = npt.NDArray[np.unsignedinteger[Any]]


Shares = npt.NDArray[np.uint16]
"""Of 4096, by class and symbol, shape (classes, 64)."""


def encode(classes: Plane, symbols: Plane, tables: tuple[int, ...], known: Shares | None = None) -> list[Buffer]:
    """Return the parts of symbols, shape (n,), n > 0.

    Args:
        classes: Their classes, below 64.
        symbols: Below 64.
        tables: For how many classes there may be a table; what makes the least bytes is taken.
        known: Shares of every class that the reader knows, too; they are taken if that makes less.
    """
    counts = loops.current.count(classes, symbols)
    number, counts = min(((count, _merged(counts, count)) for count in tables), key=lambda each: _size_bytes(each[1]))
    lanes = min(max(1, classes.size // _SYMBOLS_A_LANE), MAX_LANES)
    lanes -= lanes % 16 if lanes > 16 else lanes % 8 if lanes > 8 else 0  # vectors have eight, or sixteen
    if known is not None and _known_bytes(counts, known) < _size_bytes(counts):
        shares, written = known, b"\0"
    else:
        shares = _shares(counts)
        shares[number:] = shares[number - 1]
        written = _write_shares(shares[: int(np.flatnonzero(counts.any(axis=1))[-1]) + 1])
    states, words = loops.current.entropy_encode(classes, symbols, shares, lanes)
    head = written + lanes.to_bytes(2, "little") + states.astype("<u4").tobytes()
    return [
        head + words.size.to_bytes(planes.LENGTH_BYTES, "little"),
        words.astype("<u2", copy=False).view(np.uint8).data,
    ]


def decode(reader: planes.Reader, classes: Plane, known: Shares | None = None) -> Plane:
    """Read the symbols of these classes; `known` is what was `encode`'s.

    Raises:
        IntegrityError: What is left of the payload does not begin with them.
    """
    shares = _read_shares(reader, known)
    lanes = int.from_bytes(reader.take(2), "little")
    if not 1 <= lanes <= MAX_LANES:
        raise IntegrityError(f"A chunk's symbols are in {lanes} lanes.")
    states = np.frombuffer(reader.take(4 * lanes), "<u4")
    words = np.frombuffer(reader.take(2 * reader.length()), "<u2")
    symbols = loops.current.entropy_decode(classes, shares, states, words)
    if symbols is None:
        raise IntegrityError("A chunk's symbols are damaged.")
    return symbols


def _merged(counts: Counts, number: int) -> Counts:
    """Return `counts`, shape (64, 64), with all classes from the last of `number` added up there."""
    merged = np.zeros_like(counts)
    merged[:number] = counts[:number]
    merged[number - 1] += counts[number:].sum(axis=0, dtype=counts.dtype)
    return merged


def bits(counts: npt.NDArray[np.integer[Any]]) -> float:
    """Return how many bits symbols need that come so often, by class, shape (classes, symbols)."""
    counts = counts[counts.any(axis=1)]
    return float((counts * np.log2(counts.sum(axis=1, keepdims=True) / np.maximum(counts, 1))).sum())


def _size_bytes(counts: Counts) -> float:
    """Return about how much symbols and their tables take."""
    return bits(counts) / 8 + _BYTES_A_SHARE * int(np.count_nonzero(counts))


def _known_bytes(counts: Counts, known: Shares) -> float:
    """Return how much symbols take with shares that are known."""
    return float((counts * -np.log2(known / SLOTS)).sum()) / 8


def _shares(counts: Counts) -> Shares:
    """Return shares of 4096 by counts, both of shape (64, 64); none where all symbols are 0."""
    totals = counts.sum(axis=1, keepdims=True, dtype=np.int64)
    shares = (counts * np.int64(SLOTS) + totals // 2) // np.maximum(totals, 1)
    shares = np.maximum(shares, counts > 0)
    rows = np.arange(len(shares))
    shares[rows, np.argmax(shares, axis=1)] += SLOTS - shares.sum(axis=1)
    shares[counts[:, 0] == totals[:, 0]] = 0
    stored: Shares = shares.astype(np.uint16)
    return stored


def _write_shares(shares: Shares) -> bytes:
    stored = SYMBOLS - np.argmax(shares[:, ::-1] > 0, axis=1)
    stored[~shares.any(axis=1)] = 0
    values = shares[np.arange(SYMBOLS) < stored[:, None]]
    is_large = values >= _SMALL
    written = np.empty(values.size + int(np.count_nonzero(is_large)), np.uint8)
    places = np.arange(values.size) + np.cumsum(is_large) - is_large
    written[places] = values & (_SMALL - 1) | is_large * np.uint16(_SMALL)
    written[places[is_large] + 1] = values[is_large] >> 7
    head = bytearray([len(shares)]) + stored.astype(np.uint8).tobytes()
    return bytes(head) + written.size.to_bytes(2, "little") + written.tobytes()


def _read_shares(reader: planes.Reader, known: Shares | None) -> Shares:
    classes = reader.byte()
    if known is not None and not classes:
        return known
    if not 1 <= classes <= MAX_CLASSES:
        raise IntegrityError(f"A chunk's symbols are of {classes} classes.")
    stored = reader.plane(classes)
    written = reader.plane(int.from_bytes(reader.take(2), "little"))
    goes_on = np.append(False, written >= _SMALL)
    if goes_on[-1] or (goes_on[1:] & goes_on[:-1]).any() or int(stored.max()) > SYMBOLS:
        raise IntegrityError("A chunk's shares are cut short.")
    starts = np.flatnonzero(~goes_on[:-1])
    if starts.size != int(stored.sum()):
        raise IntegrityError("A chunk's symbols have not as many shares as they say.")
    values = (written[starts] & (_SMALL - 1)).astype(np.uint16)
    values[goes_on[1:][starts]] |= written[np.flatnonzero(goes_on)].astype(np.uint16) << 7
    shares = np.zeros((classes, SYMBOLS), np.uint16)
    shares[np.arange(SYMBOLS) < stored[:, None]] = values
    return shares
