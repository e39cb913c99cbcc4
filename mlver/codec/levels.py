"""Encoding LEVELS: residuals sorted by the size that the base leads one to expect of them.

An optimiser's step is about as large for every weight of a neighbourhood, so in units of the last place it is the
larger, the smaller the weight's exponent. Expected size therefore is the neighbourhood's level (stored, a byte a block
of elements) less the exponent of the base's element. Elements are sorted into classes by it, and every class is coded
for itself: where most residuals are zero by the places of the others, far below a bit an element.

Layout of the payload, in this order::

    …          the head, see `mlver.codec.residuals`
    u8, u16    shift and mask: the exponent of a base element is e = a >> shift & mask
    u8         bits: a block is 2 ** bits elements, the last one what is left
    u32, …     size in bytes of a zstd frame, and the frame: the level of each block, u8
    i16        origin
    u8, u8     merge, at most 15, and the number of classes C, 1 to 64
    C' ×       the classes that have elements, the first class first, as below
    …          the raw size modulo W last bytes of the chunk, as they are

An element belongs to class ``(origin + level - e) >> merge`` (rounding down), which is moved into 0 … C - 1. In a class
the elements keep their order. Class::

    u8 0       ZERO      all residuals are zero
    u8 1, …    DENSE     the residuals, as `mlver.codec.numbers`
    u8 2, …,   BITMAP    which residuals are not zero, at least one, as `mlver.codec.bitmaps`; and those, less one, as
    …                    numbers
    u8 3,      GAPS      how many residuals are not zero, at least one; as numbers of 4 bytes how many zeros come before
    u32, …, …            each of them, counted from the one before; and those, less one, as numbers
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlver.codec import bitmaps, frames, numbers, planes, residuals
from mlver.codec.frames import Buffer
from mlver.codec.residuals import Elements, Residuals
from mlver.errors import IntegrityError

_ZERO, _DENSE, _BITMAP, _GAPS = range(4)
_EXPONENTS = {
    **dict.fromkeys(("F32", "C64"), (23, 255)),
    **dict.fromkeys(("F64", "C128"), (52, 2047)),
    "F16": (10, 31),
    "BF16": (7, 255),
    "F8_E4M3": (3, 15),
    "F8_E5M2": (2, 31),
}
"""Where the exponent is; other elements have none, and one level for all."""
_MAX_CLASSES = 64
_MAX_MERGE = 15
_MAX_MASK = 2047
_WHOLE = 31
_SAMPLE = 4096
_OFTEN = 40
"""A class of more than this part of the elements is common."""
_SPARSE = 0.5
"""The least part of zeros that is worth a bitmap."""
_SPARSER = 0.8
"""The least part of zeros that is worth gaps."""


@dataclass(frozen=True, slots=True)
class Fineness:
    """How finely classes are cut: the time this takes goes with their number.

    Attributes:
        block_bits: A block is 2 ** this elements; None for the whole chunk.
        merge: 2 ** this sizes, each the double of the one before, make a class.
        classes: At most so many.
    """

    block_bits: int | None
    merge: int
    classes: int


def encode(left: Residuals, base: Elements, tail: Buffer, dtype: str, fineness: Fineness) -> tuple[Buffer, ...]:
    """Return the payload's parts for the residuals of a chunk.

    Args:
        left: What `residuals.take` returned.
        base: The base's elements, shape (n,).
        tail: The chunk's bytes after the last element.
        dtype: Their safetensors name.
        fineness: How much time to take.
    """
    exponent = _Exponent(*_EXPONENTS.get(dtype, (0, 0)))
    bits = _WHOLE if fineness.block_bits is None else fineness.block_bits
    exponents = exponent.of(base)
    levels = _levels(left.values, exponents, bits)
    # All-zero blocks have level 0, and with it the first class for themselves.
    lowest, highest = _range(_expected(levels, exponents, bits)[_spread(levels, bits, base.size) > 0], fineness)
    count = min(fineness.classes, ((highest - lowest) >> fineness.merge) + 2)
    sorting = _Sorting(exponent, bits, levels, (1 << fineness.merge) - lowest, fineness.merge, count)
    parts: list[Buffer] = [left.head, *sorting.written()]
    for places in sorting.members(base):
        if places.size:
            parts += _encode_class(left.values[places])
    return (*parts, tail)


def decode(payload: Buffer, raw_size: int, base: Buffer) -> memoryview:
    """Give back the `raw_size` bytes of a chunk.

    Raises:
        IntegrityError: `payload` is not the sorted residuals of `raw_size` bytes.
    """
    reader = planes.Reader(memoryview(payload))
    undo = residuals.read_head(reader)
    old = residuals.elements(residuals.aligned(base, raw_size), undo.element_bytes)
    out = np.empty(raw_size, np.uint8)
    values: Elements = out[: old.size * undo.element_bytes].view(old.dtype)
    for places in _read_sorting(reader, old).members(old):
        if places.size:
            values[places] = _decode_class(reader, places.size, undo.element_bytes)
    undo(values, old)
    out[values.nbytes :] = reader.plane(raw_size - values.nbytes)
    reader.end()
    return out.data


@dataclass(frozen=True, slots=True)
class _Exponent:
    """Where the exponent of an element is."""

    shift: int
    mask: int

    def of(self, base: Elements) -> npt.NDArray[np.int16]:
        """Return the exponents, shape (n,)."""
        if not self.mask:
            return np.zeros(base.size, np.int16)
        return (base >> self.shift & self.mask).astype(np.int16)


@dataclass(frozen=True, slots=True)
class _Sorting:
    """Which class each element belongs to; `levels` are u8, shape (blocks,)."""

    exponent: _Exponent
    bits: int
    levels: npt.NDArray[np.uint8]
    origin: int
    merge: int
    count: int

    def written(self) -> tuple[bytes, bytes, bytes]:
        """Return the payload's parts that say so."""
        frame = frames.compress_always(self.levels.tobytes())
        head = bytes([self.exponent.shift]) + self.exponent.mask.to_bytes(2, "little") + bytes([self.bits])
        tail = self.origin.to_bytes(2, "little", signed=True) + bytes([self.merge, self.count])
        return head + len(frame).to_bytes(planes.LENGTH_BYTES, "little"), frame, tail

    def members(self, base: Elements) -> Iterator[npt.NDArray[np.intp]]:
        """Yield the places of each class's elements, in order."""
        expected = _expected(self.levels, self.exponent.of(base), self.bits)
        expected += np.int16(self.origin)
        expected >>= self.merge
        classes = np.clip(expected, 0, self.count - 1).astype(np.uint8)
        often = np.bincount(classes[:: classes.size // _SAMPLE + 1], minlength=self.count) > _SAMPLE // _OFTEN
        # A pass over all elements for each rare class would cost more than all else.
        seldom = np.flatnonzero(np.take(~often, classes))
        of_seldom = classes[seldom]
        seldom = seldom[np.argsort(of_seldom, kind="stable")]
        ends = np.cumsum(np.bincount(of_seldom, minlength=self.count))
        for number in range(self.count):
            if often[number]:
                yield np.flatnonzero(classes == number)
            else:
                yield seldom[ends[number - 1] if number else 0 : ends[number]]


def _read_sorting(reader: planes.Reader, base: Elements) -> _Sorting:
    shift, mask = reader.byte(), int.from_bytes(reader.take(2), "little")
    bits = reader.byte()
    if shift >= 8 * base.itemsize or mask > _MAX_MASK or mask >> 8 * base.itemsize or bits > _WHOLE:
        raise IntegrityError("A chunk's levels are laid out as none are.")
    frame = reader.take(reader.length())
    levels = np.frombuffer(frames.decompress(frame, _blocks(base.size, bits)), np.uint8)
    origin = int.from_bytes(reader.take(2), "little", signed=True)
    merge, classes = reader.byte(), reader.byte()
    if merge > _MAX_MERGE or not 1 <= classes <= _MAX_CLASSES:
        raise IntegrityError(f"A chunk's residuals are sorted into {classes} classes.")
    return _Sorting(_Exponent(shift, mask), bits, levels, origin, merge, classes)


def _blocks(count: int, bits: int) -> int:
    return (count + (1 << bits) - 1) >> bits


def _spread(levels: npt.NDArray[np.uint8], bits: int, count: int) -> npt.NDArray[np.uint8]:
    """Return each element's level, shape (count,)."""
    return np.repeat(levels, min(1 << bits, max(count, 1)))[:count]


def _expected(levels: npt.NDArray[np.uint8], exponents: npt.NDArray[np.int16], bits: int) -> npt.NDArray[np.int16]:
    """Return the expected size of each residual, shape (n,): an exponent of two with an offset."""
    expected = _spread(levels, bits, exponents.size).astype(np.int16)
    expected -= exponents
    return expected


def _levels(values: Elements, exponents: npt.NDArray[np.int16], bits: int) -> npt.NDArray[np.uint8]:
    """Return the level of each block: the exponent of the mean of residuals, in units that all elements share."""
    wide = values.itemsize == 8
    # Where signs differ, residuals have nothing to do with the step's size.
    kept = np.where(values >> (8 * values.itemsize - 3), 0, values) if values.itemsize > 1 else values
    sizes = kept.astype("<f8" if wide else "<f4")
    units = (exponents.astype("<u8") << 52).view("<f8") if wide else (exponents.astype("<u4") << 23).view("<f4")
    if exponents.any():
        with np.errstate(all="ignore"):
            sizes *= units
    means = _means(sizes, min(1 << bits, max(sizes.size, 1)))
    fields = means.view("<u8") >> 52 if wide else means.view("<u4") >> 23
    fields = np.where(np.isfinite(means), fields, 0).astype(np.int64)
    filled = fields > 0
    least = int(np.min(fields[filled])) if filled.any() else 1
    return np.where(filled, np.clip(fields - least + 1, 1, 255), 0).astype(np.uint8)


def _means(sizes: npt.NDArray[np.floating[Any]], block: int) -> npt.NDArray[np.floating[Any]]:
    """Return the mean of each block, the last one being what is left."""
    whole = sizes.size // block * block
    with np.errstate(all="ignore"):
        means = sizes[:whole].reshape(-1, block).mean(axis=1)
        return np.append(means, sizes[whole:].mean()) if whole < sizes.size else means


def _range(expected: npt.NDArray[np.int16], fineness: Fineness) -> tuple[int, int]:
    """Return the sizes between which nearly all lie, at most as many as there are classes for."""
    if not expected.size:
        return 0, 0
    sample = np.sort(expected[:: expected.size // _SAMPLE + 1])
    rare = sample.size // 400
    lowest, highest = int(sample[rare]), int(sample[-1 - rare])
    return max(lowest, highest - ((fineness.classes - 2) << fineness.merge)), highest


def _encode_class(values: Elements) -> list[Buffer]:
    filled = values != 0
    count = int(np.count_nonzero(filled))
    if count == 0:
        return [bytes([_ZERO])]
    if count > values.size * (1 - _SPARSE):
        return [bytes([_DENSE]), *numbers.encode(values)]
    places = np.flatnonzero(filled)
    left = numbers.encode(values[places] - 1)
    if count > values.size * (1 - _SPARSER):
        return [bytes([_BITMAP]), *bitmaps.encode(filled), *left]
    gaps = np.diff(places, prepend=-1) - 1
    return [bytes([_GAPS]) + count.to_bytes(4, "little"), *numbers.encode(gaps.astype("<u4")), *left]


def _decode_class(reader: planes.Reader, count: int, element_bytes: int) -> Elements:
    method = reader.byte()
    if method == _DENSE:
        return numbers.decode(reader, count, element_bytes)
    values = np.zeros(count, f"<u{element_bytes}")
    if method == _BITMAP:
        places = np.flatnonzero(bitmaps.decode(reader, count))
    elif method == _GAPS:
        places = _read_gaps(reader, count)
    elif method == _ZERO:
        return values
    else:
        raise IntegrityError(f"A chunk's class has the unknown method {method}.")
    if not places.size:
        raise IntegrityError("A chunk's class has no residuals, and says otherwise.")
    values[places] = numbers.decode(reader, places.size, element_bytes) + 1
    return values


def _read_gaps(reader: planes.Reader, count: int) -> npt.NDArray[np.int64]:
    filled = reader.length()
    if not 0 < filled <= count:
        raise IntegrityError(f"A chunk's class of {count} elements claims {filled} residuals.")
    gaps = numbers.decode(reader, filled, 4).astype(np.int64)
    places: npt.NDArray[np.int64] = np.cumsum(gaps + 1) - 1
    if places[-1] >= count:
        raise IntegrityError("A chunk's class has residuals after its end.")
    return places
