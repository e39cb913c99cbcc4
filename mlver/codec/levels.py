"""Encoding LEVELS: residuals by the size that the base leads one to expect of them.

An optimiser's step is about as large for every weight of a neighbourhood, so in units of the last place it is the
larger, the smaller the weight's exponent. The expected size therefore is the neighbourhood's level (stored, a byte a
block of elements) less the exponent of the base's element, and that is the element's class. Residuals of many bits are
cut where the class says: what is above has about one distribution, whatever the class, and goes to a plane for zstd;
what is below is noise, and is stored bit by bit. Residuals of few bits go through an entropy coder with a table for
each class: where most are zero, far below a bit an element.

Layout of the payload, in this order::

    …          the head, see `mlver.codec.residuals`
    u8, u16    shift and mask: the exponent of a base element is e = a >> shift & mask
    i16        origin
    u8, u8     Z and P, each at most 64
    u32, …     size in bytes of a zstd frame, and the frame: the level of each block of 128 elements, u8
    u32, u32   number of coded residuals and of escapes
    u32        size in bytes of the low bits
    …          descriptor of the plane, see `mlver.codec.planes`
    …          the stored bytes of the plane
    …          if there are coded residuals, these, see `mlver.codec.entropy`
    …          the low bits
    …          if there are escapes, these as a payload of `mlver.codec.planes`, not moved
    …          the raw size modulo W last bytes of the chunk, as they are

All residuals of a block of level 0 are zero. Those of other blocks are of class ``origin + level - e``, moved into
0 … 63. Of class c, the lowest ``c - Z`` bits are low bits (none if that is negative, at most 6, 12, 24 or 56 if W is 1,
2, 4 or 8), and the rest is the upper part. Low bits are end to end in the order of the elements, the lowest bit first,
from the lowest bit of each byte up; what is left of the last byte is zero. Upper parts of classes from P on make the
plane, at most 255; those of classes below are coded, at most 63. Those that reach this limit are escaped: they are
listed, in the order of the elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mlver.codec import entropy, frames, loops, planes, residuals
from mlver.codec.frames import Buffer
from mlver.codec.residuals import View
from mlver.codec.shapes import (
    BLOCK,
    MAX_CLASSES,
    Cut,
    Elements,
    Exponent,
    Plane,
    Residuals,
    Sorted,
    Sorting,
)
from mlver.errors import IntegrityError

PLANE = Cut(2, 12)
"""For residuals of many bits: what is above goes to a plane, which is fast."""
CODED = Cut(4, MAX_CLASSES)
"""For residuals of few bits: all are coded."""
_TABLES = (PLANE.coded + 1, MAX_CLASSES)


def sort(view: View, cut: Cut) -> tuple[Sorting, Sorted]:
    """Return the residuals of a chunk by class, and which these are."""
    return loops.current.sort(view.values, view.expected, view.base, view.exponent, cut)


def encode(view: View, cut: Cut, in_haste: bool = False) -> tuple[Buffer, ...]:
    """Return the payload's parts for a chunk; in haste, without a search for how its few escapes are stored."""
    sorting, found = sort(view, cut)
    width = view.values.itemsize
    header = bytearray(residuals.write_head(view.expectation, width)) + residuals.write_exponent(view.exponent)
    header += sorting.origin.to_bytes(2, "little", signed=True) + bytes([sorting.unshifted, sorting.coded])
    frame = frames.compress_always(sorting.levels.data)
    header += _length(len(frame)) + frame
    header += _length(found.symbols.size) + _length(found.escapes.size) + _length(found.low.size)
    stored: list[Buffer] = []
    planes.store_skewed(found.plane, header, stored)
    if found.symbols.size:
        stored += entropy.encode(found.classes, found.symbols, _TABLES)
    stored.append(found.low.data)
    if found.escapes.size:
        methods = (*[planes.BY_FRAME] * (width - 1), planes.AS_IT_IS) if in_haste else ()
        stored += planes.encode_with(found.escapes.view(np.uint8).data, width, False, methods)[0]
    return (bytes(header), *stored, view.tail)


def decode(payload: Buffer, raw_size: int, base: Buffer) -> memoryview:
    """Give back the `raw_size` bytes of a chunk.

    Raises:
        IntegrityError: `payload` is not the sorted residuals of `raw_size` bytes.
    """
    read = _read(planes.Reader(memoryview(payload)), raw_size, base)
    out = np.empty(raw_size, np.uint8)
    values = out[: read.base.nbytes].view(read.base.dtype)
    if not loops.current.merge(read.parts, read.expected, read.base, read.exponent, read.sorting, values):
        raise IntegrityError("A chunk's residuals are damaged, or not as many as its classes.")
    out[values.nbytes :] = read.tail
    return out.data


def decodes_to(parts: Sequence[Buffer], raw: Buffer, base: Buffer) -> bool:
    """Tell whether a payload in parts gives back a chunk.

    Raises:
        IntegrityError: The payload is not the sorted residuals of a chunk of this size.
    """
    read = _read(planes.Reader.of(parts), len(raw), base)
    values = residuals.elements(raw, read.base.itemsize)
    return (
        loops.current.is_merged(read.parts, read.expected, read.base, read.exponent, read.sorting, values)
        and read.tail.data == memoryview(raw)[values.nbytes :]
    )


class _Read(NamedTuple):
    """A payload, read: its residuals, all that is needed to merge them, and the bytes after the last element."""

    parts: Residuals
    expected: Elements
    base: Elements
    exponent: Exponent
    sorting: Sorting
    tail: Plane


def _read(reader: planes.Reader, raw_size: int, base: Buffer) -> _Read:
    width, expectation = residuals.read_head(reader, raw_size)
    old = residuals.elements(residuals.aligned(base, raw_size), width)
    exponent = residuals.read_exponent(reader, width)
    sorting = _read_sorting(reader, old.size)
    parts = _read_parts(reader, sorting, old.dtype, old.size)
    tail = reader.plane(raw_size - old.nbytes)
    reader.end()
    return _Read(parts, residuals.expected(old, expectation), old, exponent, sorting, tail)


def _read_sorting(reader: planes.Reader, count: int) -> Sorting:
    origin = int.from_bytes(reader.take(2), "little", signed=True)
    unshifted, coded = reader.byte(), reader.byte()
    if unshifted > MAX_CLASSES or coded > MAX_CLASSES:
        raise IntegrityError("A chunk's residuals are sorted as none are.")
    levels = frames.decompress(reader.take(reader.length()), (count + BLOCK - 1) // BLOCK)
    return Sorting(np.frombuffer(levels, np.uint8), origin, unshifted, coded)


def _read_parts(reader: planes.Reader, sorting: Sorting, kind: np.dtype[Any], count: int) -> Residuals:
    coded, escaped, low_bytes = reader.length(), reader.length(), reader.length()
    measured = _measured(sorting.levels, count)
    if coded > measured or escaped > measured:
        raise IntegrityError(f"A chunk claims {coded} coded residuals and {escaped} escapes of {measured}.")
    descriptor = reader.descriptor(measured - coded)
    loaded = planes.load(reader, descriptor, measured - coded)
    plane = np.full(measured - coded, loaded, np.uint8) if isinstance(loaded, int) else loaded
    symbols = entropy.read(reader) if coded else None
    low = reader.plane(low_bytes)
    escapes = planes.decode_values(reader, escaped, kind.itemsize) if escaped else np.empty(0, kind)
    return Residuals(plane, coded, symbols, escapes, low)


def _measured(levels: Plane, count: int) -> int:
    """Return the number of elements whose residuals are not all zero by their level."""
    if not levels.size:
        return 0
    missing = levels.size * BLOCK - count if levels[-1] else 0
    return int(np.count_nonzero(levels)) * BLOCK - missing


def _length(value: int) -> bytes:
    return value.to_bytes(planes.LENGTH_BYTES, "little")
