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
from mlver.codec.shapes import MAX_CLASSES, MAX_LANES, Coded, Plane, Shares
from mlver.errors import IntegrityError

_SYMBOLS_A_LANE = 1 << 11
"""A lane costs two bytes more than it holds."""


def encode(classes: Plane, symbols: Plane, tables: tuple[int, int], known: Shares | None = None) -> list[Buffer]:
    """Return the parts of symbols, shape (n,), n > 0.

    Args:
        classes: Their classes, below 64.
        symbols: Below 64.
        tables: For how many classes there may be a table, two numbers; what makes less is taken.
        known: Shares of every class that the reader knows, too; they are taken if that makes less.
    """
    lanes = min(max(1, classes.size // _SYMBOLS_A_LANE), MAX_LANES)
    lanes -= lanes % 16 if lanes > 16 else lanes % 8 if lanes > 8 else 0  # vectors have eight, or sixteen
    coded = loops.current.code(classes, symbols, *tables, lanes, known)
    head = bytes([coded.stored.size])
    if coded.stored.size:
        head += coded.stored.tobytes() + coded.written.size.to_bytes(2, "little") + coded.written.tobytes()
    head += lanes.to_bytes(2, "little") + coded.states.astype("<u4", copy=False).tobytes()
    head += coded.words.size.to_bytes(planes.LENGTH_BYTES, "little")
    return [head, coded.words.astype("<u2", copy=False).view(np.uint8).data]


def read(reader: planes.Reader) -> Coded:
    """Read symbols as they are coded.

    Raises:
        IntegrityError: What is left of the payload does not begin with them.
    """
    classes = reader.byte()
    if classes > MAX_CLASSES:
        raise IntegrityError(f"A chunk's symbols are of {classes} classes.")
    stored = reader.plane(classes)
    written = reader.plane(int.from_bytes(reader.take(2), "little") if classes else 0)
    lanes = int.from_bytes(reader.take(2), "little")
    if not 1 <= lanes <= MAX_LANES:
        raise IntegrityError(f"A chunk's symbols are in {lanes} lanes.")
    states = np.frombuffer(reader.take(4 * lanes), "<u4")
    return Coded(stored, written, states, np.frombuffer(reader.take(2 * reader.length()), "<u2"))


def decode(reader: planes.Reader, classes: Plane, known: Shares | None = None) -> Plane:
    """Read the symbols of these classes; `known` is what was `encode`'s.

    Raises:
        IntegrityError: What is left of the payload does not begin with them.
    """
    symbols = loops.current.decode(classes, read(reader), known)
    if symbols is None:
        raise IntegrityError("A chunk's symbols are damaged.")
    return symbols


def bits(counts: npt.NDArray[np.integer[Any]]) -> float:
    """Return how many bits symbols need that come so often, by class, shape (classes, symbols)."""
    counts = counts[counts.any(axis=1)]
    return float((counts * np.log2(counts.sum(axis=1, keepdims=True) / np.maximum(counts, 1))).sum())
