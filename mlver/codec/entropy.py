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
from mlver.codec.shapes import MAX_CLASSES, MAX_LANES, SLOTS, Plane
from mlver.errors import IntegrityError

_SYMBOLS_A_LANE = 1 << 11
"""A lane costs two bytes more than it holds."""
Counts = npt.NDArray[np.unsignedinteger[Any]]
Shares = npt.NDArray[np.uint16]
"""Of 4096, by class and symbol, shape (classes, 64)."""


def encode(classes: Plane, symbols: Plane, tables: tuple[int, int], known: Shares | None = None) -> list[Buffer]:
    """Return the parts of symbols, shape (n,), n > 0.

    Args:
        classes: Their classes, below 64.
        symbols: Below 64.
        tables: For how many classes there may be a table, two numbers; what makes less is taken.
        known: Shares of every class that the reader knows, too; they are taken if that makes less.
    """
    counts = loops.current.count(classes, symbols)
    found = loops.current.tables(counts, *tables)
    lanes = min(max(1, classes.size // _SYMBOLS_A_LANE), MAX_LANES)
    lanes -= lanes % 16 if lanes > 16 else lanes % 8 if lanes > 8 else 0  # vectors have eight, or sixteen
    if known is not None and _known_bytes(counts, known) < found.size_bytes:
        shares, written = known, b"\0"
    else:
        shares, size = found.shares, found.written.size.to_bytes(2, "little")
        written = bytes([found.stored.size]) + found.stored.tobytes() + size + found.written.tobytes()
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


def bits(counts: npt.NDArray[np.integer[Any]]) -> float:
    """Return how many bits symbols need that come so often, by class, shape (classes, symbols)."""
    counts = counts[counts.any(axis=1)]
    return float((counts * np.log2(counts.sum(axis=1, keepdims=True) / np.maximum(counts, 1))).sum())


def _known_bytes(counts: Counts, known: Shares) -> float:
    """Return how much symbols take with shares that are known."""
    return float((counts * -np.log2(known / SLOTS)).sum()) / 8


def _read_shares(reader: planes.Reader, known: Shares | None) -> Shares:
    classes = reader.byte()
    if known is not None and not classes:
        return known
    if not 1 <= classes <= MAX_CLASSES:
        raise IntegrityError(f"A chunk's symbols are of {classes} classes.")
    stored = reader.plane(classes)
    written = reader.plane(int.from_bytes(reader.take(2), "little"))
    shares = loops.current.read_shares(stored, written)
    if shares is None:
        raise IntegrityError("A chunk's symbols have not as many shares as they say.")
    return shares
