"""Numbers of about one size, a little above their entropy: a byte that varies, and below it bits that are noise.

Byte planes cut a number wherever a byte ends, and half of the time that is amid its highest bits. Here the cut comes
`shift` bits from the bottom, chosen so that the upper part is some ten at most times as large as its mean. That part
goes through an entropy coder; what is below is packed as it is. Layout, in this order::

    u8       shift: bits that are cut off, less than the number's
    …        descriptor of a plane (see `mlver.codec.planes`): of every number, the upper part, at most 255
    u32      size in bytes of the escapes
    …        the stored bytes of the plane
    …        as a payload of `mlver.codec.planes`, not moved: the upper parts of the numbers whose plane has 255;
             nothing if there are none
    …        shift / 8 planes of n bytes: the lowest byte of each number, the next one, …
    …        of the shift % 8 bits above those: if bit 2 of `shift` is set, the lowest four, packed; then if bit 1
             is set the next two, packed; then if bit 0 is set the next one, packed

n numbers of k bits (4, 2 or 1) are packed into ``m = ceil(n k / 8)`` bytes: byte j has the numbers j, j + m, j + 2 m, …
from the lowest bits up; where there is no such number, the bits are zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mlver.codec import planes
from mlver.codec.frames import Buffer
from mlver.errors import IntegrityError

Numbers = npt.NDArray[np.unsignedinteger[Any]]
Plane = planes.Plane

_ESCAPE = 255
_SAMPLE = 1024
_FINENESS_BITS = 4
"""The upper part keeps so many bits of a number of the size that three in four do not exceed."""


def encode(values: Numbers) -> list[Buffer]:
    """Return the parts of numbers, shape (n,), n > 0."""
    shift = _shift(values)
    upper: Numbers = values.copy()
    upper >>= shift
    plane = np.minimum(upper, _ESCAPE).astype(np.uint8)
    header, stored = bytearray([shift]), list[Buffer]()
    planes.store_skewed(plane, header, stored)
    escapes = b"".join(_escapes(upper, plane))
    header += len(escapes).to_bytes(planes.LENGTH_BYTES, "little")
    return [bytes(header), *stored, escapes, *_lower(values, shift)]


def decode(reader: planes.Reader, count: int, element_bytes: int) -> Numbers:
    """Read `count` numbers, u8 to u64 of `element_bytes`; the array may be written to.

    Raises:
        IntegrityError: What is left of the payload does not begin with them.
    """
    shift = reader.byte()
    if shift >= 8 * element_bytes:
        raise IntegrityError(f"A chunk's numbers are cut at bit {shift}, and have fewer.")
    descriptor = reader.descriptor(count)
    escape_bytes = reader.length()
    plane = planes.load(reader, descriptor, count)
    values = plane.astype(f"<u{element_bytes}")
    _restore_escapes(values, plane, reader.take(escape_bytes))
    if shift:
        values <<= shift
    for byte in range(shift // 8):
        values |= reader.plane(count).astype(values.dtype) << (8 * byte)
    at = shift & ~7
    for bits in (4, 2, 1):
        if shift & bits:
            values |= _unpacked(reader, count, bits).astype(values.dtype) << at
            at += bits
    return values


def _shift(values: Numbers) -> int:
    sample = np.sort(values[:: values.size // _SAMPLE + 1])
    size = int(sample[sample.size * 3 // 4]).bit_length()
    outlier = int(sample[sample.size * 199 // 200]).bit_length()
    # Outliers are dear; but not if their size is another one altogether, as where signs differ.
    wanted = size - _FINENESS_BITS if outlier > size + 8 else max(size - _FINENESS_BITS, outlier - 8)
    return min(max(0, wanted), 8 * values.itemsize - 1)


def _escapes(upper: Numbers, plane: Plane) -> tuple[Buffer, ...]:
    places = np.flatnonzero(plane == _ESCAPE)
    if not places.size:
        return ()
    return planes.encode(upper[places].tobytes(), upper.itemsize, move_sign=False)


def _restore_escapes(values: Numbers, plane: Plane, stored: memoryview) -> None:
    places = np.flatnonzero(plane == _ESCAPE)
    if places.size:
        escaped = planes.decode(stored, places.size * values.itemsize)
        values[places] = np.frombuffer(escaped, values.dtype)
    elif stored:
        raise IntegrityError("A chunk has escapes where none are called for.")


def _lower(values: Numbers, shift: int) -> list[Buffer]:
    parts: list[Buffer] = [(values >> (8 * byte)).astype(np.uint8).data for byte in range(shift // 8)]
    at = shift & ~7
    for bits in (4, 2, 1):
        if shift & bits:
            parts.append(_packed((values >> at).astype(np.uint8) & np.uint8((1 << bits) - 1), bits).data)
            at += bits
    return parts


def _packed(values: Plane, bits: int) -> Plane:
    length = (values.size * bits + 7) // 8
    packed = values[:length].copy()
    for lane in range(1, 8 // bits):
        part = values[lane * length : (lane + 1) * length]
        packed[: part.size] |= part << (lane * bits)
    return packed


def _unpacked(reader: planes.Reader, count: int, bits: int) -> Plane:
    packed = reader.plane((count * bits + 7) // 8)
    lanes = [(packed >> (lane * bits)) & ((1 << bits) - 1) for lane in range(8 // bits)]
    return np.concatenate(lanes)[:count]
