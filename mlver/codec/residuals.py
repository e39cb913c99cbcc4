"""What is left of a chunk when its base is known: differences of bit patterns, small numbers where little changed.

Both encodings against a base of the same dtype begin with the same head, which says how to undo this::

    u8           bits 0–3: element size W in bytes: 1, 2, 4 or 8; bits 4–6: zero; bit 7: there is a table
    u8, u32, …   with a table: shift, size in bytes of a zstd frame, and the frame: 128 integers of W bytes

An element and its base element are taken as unsigned integers b and a of W bytes, little-endian. The residual is
``b - a - table[a >> shift & 127]``, modulo 2 ** (8 W), without the last term if there is no table; it is stored in
zigzag order as ``2 r`` for r from 0 up and ``-2 r - 1`` below, r being the residual as a signed integer. A base that is
shorter than the chunk is followed by zeros; what is longer is not used.

The table is for weight decay. A row of an embedding whose word did not come up was multiplied by the same number just
below one, time and again; how many units of the last place that takes is a function of the mantissa's highest bits
alone, and a step function of few steps. The differences of such rows, which look like ten bits of noise, become zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlver.codec import frames, planes
from mlver.codec.frames import Buffer
from mlver.errors import IntegrityError

Elements = npt.NDArray[np.unsignedinteger[Any]]

_TABLE = 0x80
_ENTRIES = 128
_MANTISSA_BITS = {"F32": 23, "C64": 23, "F64": 52, "C128": 52}
"""Decay moves narrower floats by less than a unit."""
_SAMPLE = 1 << 12
_DIFFERENCE_BITS = 57
_DIFFERENCE_MASK = (1 << _DIFFERENCE_BITS) - 1
_MIN_SEEN = 4
"""Elements of one mantissa that a sample must have to say anything of it."""
_GAIN = 1 / 32
"""The least part of the elements that a table must turn to zero."""


@dataclass(frozen=True, slots=True)
class Residuals:
    """Residuals in zigzag order, shape (n,), and the head that tells how to undo them."""

    head: bytes
    values: Elements


def aligned(base: Buffer, size_bytes: int) -> Buffer:
    """Return `base` cut, or filled with zeros, to `size_bytes`."""
    if len(base) >= size_bytes:
        return memoryview(base)[:size_bytes]
    return bytes(base) + bytes(size_bytes - len(base))


def elements(data: Buffer, element_bytes: int) -> Elements:
    """Return the whole elements of `data` as unsigned integers, without a copy."""
    return np.frombuffer(data, f"<u{element_bytes}", count=len(data) // element_bytes)


def take(values: Elements, base: Elements, dtype: str) -> Residuals:
    """Return what is left of `values`, given `base`, both of shape (n,)."""
    mantissa_bits = _MANTISSA_BITS.get(dtype)
    if mantissa_bits is not None:
        shift = mantissa_bits - 7
        table = _learn(values, base, shift)
        if table is not None:
            frame = frames.compress_always(table.tobytes())
            head = bytes([values.itemsize | _TABLE, shift]) + len(frame).to_bytes(planes.LENGTH_BYTES, "little") + frame
            return Residuals(head, zigzag(values - base - table[_index(base, shift)]))
    return Residuals(bytes([values.itemsize]), zigzag(values - base))


@dataclass(frozen=True, slots=True)
class Undo:
    """The head of a payload: how to give elements back from residuals."""

    element_bytes: int
    shift: int
    table: Elements | None

    def __call__(self, values: Elements, base: Elements) -> Elements:
        """Return the elements that have the residuals `values`, which are overwritten, and the base elements `base`."""
        unzigzag(values)
        values += base
        if self.table is not None:
            values += self.table[_index(base, self.shift)]
        return values


def read_head(reader: planes.Reader) -> Undo:
    """Read the head of a payload.

    Raises:
        IntegrityError: It is not one.
    """
    element_bytes, has_table = planes.flagged(reader.byte())
    if not has_table:
        return Undo(element_bytes, 0, None)
    shift = reader.byte()
    if shift >= 8 * element_bytes:
        raise IntegrityError(f"A chunk's table is shifted by {shift} bits, and its elements have fewer.")
    table = frames.decompress(reader.take(reader.length()), _ENTRIES * element_bytes)
    return Undo(element_bytes, shift, np.frombuffer(table, f"<u{element_bytes}"))


def zigzag(differences: Elements) -> Elements:
    """Map differences of either sign to unsigned integers, small ones to small ones."""
    signed = differences.view(f"<i{differences.itemsize}")
    signs = (signed >> (8 * differences.itemsize - 1)).view(differences.dtype)
    doubled: Elements = differences.copy()
    doubled <<= 1
    doubled ^= signs
    return doubled


def unzigzag(values: Elements) -> None:
    """Undo `zigzag` in place."""
    odd = values & 1
    np.negative(odd, out=odd)
    values >>= 1
    values ^= odd


def _index(base: Elements, shift: int) -> npt.NDArray[np.intp]:
    return (base >> shift & (_ENTRIES - 1)).astype(np.intp)


def _learn(values: Elements, base: Elements, shift: int) -> Elements | None:
    """Return the commonest difference by the base's mantissa, if there is one for many."""
    step = max(1, values.size // _SAMPLE) | 1
    sampled = base[::step]
    differences = (values[::step] - sampled).view(f"<i{values.itemsize}").astype("<i8").view("<u8")
    if np.count_nonzero(differences) < differences.size * _GAIN:
        return None
    # One sort of 64-bit keys brings equal pairs of mantissa and difference together.
    keys = np.sort(_index(sampled, shift).astype("<u8") << _DIFFERENCE_BITS | differences & _DIFFERENCE_MASK)
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    lengths = np.diff(np.append(starts, keys.size))
    often = lengths >= _MIN_SEEN
    starts, lengths = starts[often], lengths[often]
    by_length = np.argsort(lengths, kind="stable")
    commonest, lengths = keys[starts[by_length]], lengths[by_length]
    places = (commonest >> _DIFFERENCE_BITS).astype(np.intp)
    table, seen = np.zeros(_ENTRIES, values.dtype), np.zeros(_ENTRIES, np.int64)
    # The last write wins: the commonest.
    table[places] = _signed(commonest).astype(values.dtype)
    seen[places] = lengths
    zeros = differences.size - int(np.count_nonzero(differences))
    return table if int(seen.sum()) - zeros >= differences.size * _GAIN else None


def _signed(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return the differences in keys, their sign extended."""
    unused = 64 - _DIFFERENCE_BITS
    return (keys << unused).view("<i8") >> unused
