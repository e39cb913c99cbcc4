"""Byte planes: a tensor's chunk with the bytes of equal significance put together, each plane stored as it pays.

In weights the exponents are few and skewed while the mantissas are noise; apart, the former compress and the latter
are copied. Layout of the payload, in this order::

    u8       bits 0–3: element size W in bytes: 1, 2, 4 or 8; bits 4–6: zero; bit 7: the sign is moved (below)
    W ×      one descriptor a plane, the most significant plane first:
             u8 0                 RAW       the plane's n bytes are stored as they are
             u8 1, u32 length     ZSTD      `length` bytes are stored: one zstd frame with its content size, which is n
             u8 2, u8 value       CONSTANT  nothing is stored: all n bytes are `value`
             u8 3, u8 start,      NIBBLES   `escapes` bytes, then `length` bytes: one zstd frame with its content size,
             u32 escapes,                   which is n / 2 rounded up. Byte i of its content holds the nibbles of plane
             u32 length                     byte 2i (low half) and 2i + 1 (high half). Nibble v below 15 is the byte
                                            (start + v) modulo 256; nibble 15 takes the next of the escape bytes.
    …        the stored bytes of the planes, in the same order
    …        the raw size modulo W last bytes of the chunk, as they are

n is the raw size divided by W, rounded down. Elements are little-endian: without a moved sign, byte i of the plane
number p (0 is the most significant) is byte ``i * W + W - 1 - p`` of the chunk. With it (W is not 1), the nine highest
bits of every element are first rotated left by one: in BF16 and F32 plane 0 is then exactly the exponent, and bit 7 of
plane 1 is the sign. If n is odd, the last high nibble is zero. All of the payload is accounted for: a byte more or
less is an error.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np

from mlver.codec import frames, loops, nibbles
from mlver.codec.encoded import Method
from mlver.codec.frames import Buffer
from mlver.codec.shapes import Elements, Plane, Split
from mlver.errors import IntegrityError

_SIGN_MOVED = 0x80
_RAW, _ZSTD, _CONSTANT, _NIBBLES = 0, 1, 2, 3
BY_FRAME = Method(_ZSTD, parameters="quick")
"""One zstd frame, for a plane so small that a trial of others takes longer."""
AS_IT_IS = Method(_RAW)
"""For a plane that is noise."""
LENGTH_BYTES = 4
_LENGTH = struct.Struct("<I")


def encode(raw: Buffer, element_bytes: int, move_sign: bool) -> tuple[Buffer, ...]:
    """Encode a chunk as planes.

    Args:
        raw: The chunk.
        element_bytes: 1, 2, 4 or 8.
        move_sign: Put the sign beside the mantissa, so that the exponent is a plane of its own.

    Returns:
        The payload's parts. They are larger than `raw`, by the header, when no plane is worth compressing.
    """
    return encode_with(raw, element_bytes, move_sign)[0]


def encode_with(
    raw: Buffer, element_bytes: int, move_sign: bool, methods: Sequence[Method] = ()
) -> tuple[tuple[Buffer, ...], tuple[Method, ...]]:
    """Do as `encode` does, by methods that suited a chunk before; return also those that were taken."""
    count = len(raw) // element_bytes
    elements = np.frombuffer(raw, dtype=f"<u{element_bytes}", count=count)
    split = loops.current.split(elements, None, move_sign)
    return encode_split(split, move_sign, memoryview(raw)[elements.nbytes :], methods)


def encode_split(
    split: Split, sign_moved: bool, tail: Buffer, methods: Sequence[Method] = ()
) -> tuple[tuple[Buffer, ...], tuple[Method, ...]]:
    """Return the payload's parts for planes, and how each is stored.

    Args:
        split: The planes.
        sign_moved: Whether the sign is beside the mantissa.
        tail: The chunk's bytes after the last element.
        methods: What to try first for each plane.
    """
    element_bytes = len(split.planes)
    header = bytearray([element_bytes | (_SIGN_MOVED if sign_moved else 0)])
    stored: list[Buffer] = []
    taken: list[Method] = []
    for number, plane in enumerate(split.planes):
        shift = 8 * (element_bytes - 1 - number)
        if plane.size and not split.varying >> shift & 0xFF:
            header += bytes([_CONSTANT, split.first >> shift & 0xFF])
            taken.append(Method(_CONSTANT))
        else:
            taken.append(store(plane, header, stored, methods[number] if methods else None))
    stored.append(tail)
    return (bytes(header), *stored), tuple(taken)


def decode(payload: Buffer, raw_size: int) -> memoryview:
    """Give back the `raw_size` bytes of a chunk.

    Raises:
        IntegrityError: `payload` is not the planes of `raw_size` bytes.
    """
    return decode_joined(Reader(memoryview(payload)), raw_size, None)


def decodes_to(parts: Sequence[Buffer], raw: Buffer) -> bool:
    """Tell whether a payload in parts gives back a chunk.

    Raises:
        IntegrityError: The payload is not the planes of a chunk of this size.
    """
    return is_joined(Reader.of(parts), raw, None)


def decode_joined(reader: Reader, raw_size: int, expected: Elements | None) -> memoryview:
    """Give back the `raw_size` bytes of a chunk whose planes are all that is left of a payload.

    Args:
        reader: What is left.
        raw_size: Size of the chunk in bytes.
        expected: What is expected of the elements, if the planes are of residuals; the sign is not moved then.

    Raises:
        IntegrityError: They are not the planes of `raw_size` bytes.
    """
    planes, sign_moved, tail = _read_all(reader, raw_size, expected)
    out = np.empty(raw_size, np.uint8)
    loops.current.join(planes, expected, sign_moved, out[: raw_size - tail.size].view(f"<u{len(planes)}"))
    out[raw_size - tail.size :] = tail
    return out.data


def is_joined(reader: Reader, raw: Buffer, expected: Elements | None) -> bool:
    """Tell whether `decode_joined` gives back `raw`, at a fraction of the time: nothing is written.

    Raises:
        IntegrityError: What is left of the payload is not the planes of a chunk of this size.
    """
    planes, sign_moved, tail = _read_all(reader, len(raw), expected)
    values = np.frombuffer(raw, f"<u{len(planes)}", count=len(raw) // len(planes))
    return (
        loops.current.is_joined(planes, expected, sign_moved, values) and tail.data == memoryview(raw)[values.nbytes :]
    )


def _read_all(reader: Reader, raw_size: int, expected: Elements | None) -> tuple[list[Plane | int], bool, Plane]:
    """Read all that is left of a payload: planes, whether the sign is moved, and the bytes after the last element."""
    element_bytes, sign_moved = flagged(reader.byte())
    if sign_moved and element_bytes == 1:
        raise IntegrityError("A chunk of single bytes has no sign to move.")
    if expected is not None and (sign_moved or element_bytes != expected.itemsize):
        raise IntegrityError("A chunk's residuals are of another size than its elements.")
    count = raw_size // element_bytes
    descriptors = [reader.descriptor(count) for _ in range(element_bytes)]
    planes = [load(reader, descriptor, count) for descriptor in descriptors]
    tail = reader.plane(raw_size % element_bytes)
    reader.end()
    return planes, sign_moved, tail


def decode_values(reader: Reader, count: int, element_bytes: int) -> Elements:
    """Read the planes of `count` elements, without a moved sign, from the beginning of what is left of a payload.

    Raises:
        IntegrityError: It does not begin with them.
    """
    if reader.byte() != element_bytes:
        raise IntegrityError("A chunk's residuals are of another size than its elements.")
    descriptors = [reader.descriptor(count) for _ in range(element_bytes)]
    planes = [load(reader, descriptor, count) for descriptor in descriptors]
    values: Elements = np.empty(count, f"<u{element_bytes}")
    loops.current.join(planes, None, False, values)
    return values


class Descriptor(NamedTuple):
    """How one plane is stored; `argument` is the constant value or the window's start."""

    method: int
    argument: int = 0
    escapes: int = 0
    length: int = 0


def flagged(head: int) -> tuple[int, bool]:
    """Take a payload's first byte apart: the element size in bytes, and the flag in bit 7.

    Raises:
        IntegrityError: The size is not 1, 2, 4 or 8.
    """
    element_bytes = head & ~_SIGN_MOVED
    if element_bytes not in (1, 2, 4, 8):
        raise IntegrityError(f"A chunk's payload begins with {head:#04x}, which says nothing.")
    return element_bytes, element_bytes != head


class Reader:
    """What is left of a payload; reading beyond its end raises `IntegrityError`.

    Args:
        rest: What is left, or its beginning.
        more: What comes after that, in parts.
    """

    __slots__ = ("_at", "_more", "_part", "_size")

    def __init__(self, rest: memoryview, more: Sequence[Buffer] = ()) -> None:
        self._part = rest
        self._at, self._size = 0, len(rest)
        self._more = list(more)

    @classmethod
    def of(cls, parts: Sequence[Buffer]) -> Self:
        """Return a reader of a payload in parts, which are not put together as long as each is read by itself."""
        return cls(memoryview(b""), parts)

    @property
    def rest(self) -> memoryview:
        """What is left of the part that is being read."""
        return self._part[self._at :]

    def take(self, size_bytes: int) -> memoryview:
        """Read so many bytes, without a copy."""
        start = self._advance(size_bytes)
        return self._part[start : self._at]

    def plane(self, size_bytes: int) -> Plane:
        """Read so many bytes as a plane."""
        return np.frombuffer(self.take(size_bytes), np.uint8)

    def byte(self) -> int:
        """Read a u8."""
        at = self._advance(1)  # which may begin another part
        return self._part[at]

    def length(self) -> int:
        """Read a u32."""
        start = self._advance(LENGTH_BYTES)
        return int(_LENGTH.unpack_from(self._part, start)[0])

    def _advance(self, size_bytes: int) -> int:
        """Go on by so many bytes, and return where in the part they begin."""
        start = self._at
        if start + size_bytes > self._size:
            start = self._join(size_bytes)
        self._at = start + size_bytes
        return start

    def _join(self, size_bytes: int) -> int:
        """Begin another part that has so many bytes at least, with what was left of this one before it."""
        rest: memoryview = self.rest
        while size_bytes > len(rest) and self._more:
            part = self._more.pop(0)
            rest = memoryview(part if not rest else bytes(rest) + bytes(part))
        if size_bytes > len(rest):
            raise IntegrityError("A chunk's planes are cut short.")
        self._part, self._size = rest, len(rest)
        return 0

    def descriptor(self, count: int) -> Descriptor:
        """Read the descriptor of a plane of `count` bytes."""
        method = self.byte()
        if method == _RAW:
            return Descriptor(method, length=count)
        if method == _ZSTD:
            return Descriptor(method, length=self.length())
        if method == _CONSTANT:
            return Descriptor(method, argument=self.byte())
        if method == _NIBBLES:
            return Descriptor(method, self.byte(), self.length(), self.length())
        raise IntegrityError(f"A chunk's plane has the unknown method {method}.")

    def end(self) -> None:
        """Check that nothing is left."""
        left = self._size - self._at + sum(map(len, self._more))
        if left:
            raise IntegrityError(f"A chunk's planes are followed by {left} bytes that do not belong there.")


def store(plane: Plane, header: bytearray, stored: list[Buffer], likely: Method | None = None) -> Method:
    """Append the descriptor of a plane that is not constant to `header`, and its bytes to `stored`.

    Args:
        plane: The plane.
        header: What precedes the bytes of all planes.
        stored: Their bytes.
        likely: What to try first; if it can be done, nothing else is looked at.

    Returns:
        How it is stored.
    """
    if likely is not None and _is_stored(plane, likely, header, stored):
        return likely
    sample = frames.sample(plane.data)
    # Noise, which is what mantissas are, is told first and fastest.
    if frames.pays(sample):
        start = nibbles.window(np.frombuffer(sample, np.uint8))
        if start is not None and _store_nibbles(plane, start, header, stored):
            return Method(_NIBBLES, start)
        packed = frames.compress(plane.data, frames.WEIGHTS)
        if packed is not None:
            _store_frame(packed[1], header, stored)
            return Method(_ZSTD, parameters=packed[0])
    _store_raw(plane, header, stored)
    return Method(_RAW)


def _is_stored(plane: Plane, method: Method, header: bytearray, stored: list[Buffer]) -> bool:
    """Store a plane by a method, and tell whether that could be done."""
    if method.number == _RAW:
        _store_raw(plane, header, stored)
        return True
    if method.number == _NIBBLES:
        return _store_nibbles(plane, method.start, header, stored)
    frame = frames.compress_by(method.parameters, plane.data) if method.number == _ZSTD else None
    if frame is not None:
        _store_frame(frame, header, stored)
    return frame is not None


def store_skewed(plane: Plane, header: bytearray, stored: list[Buffer]) -> None:
    """Do as `store` does, with fewer trials, for a plane that is known to be skewed and not to repeat."""
    if not plane.size:
        _store_raw(plane, header, stored)
        return
    start = nibbles.window(np.frombuffer(frames.sample(plane.data), np.uint8))
    if start is not None and _store_nibbles(plane, start, header, stored):
        return
    frame = frames.compress_skewed(plane.data)
    if frame is None:
        _store_raw(plane, header, stored)
    else:
        _store_frame(frame, header, stored)


def _store_nibbles(plane: Plane, start: int, header: bytearray, stored: list[Buffer]) -> bool:
    packed = nibbles.pack(plane, start)
    if packed is None:
        return False
    pairs, escaped = packed
    frame = frames.compress_always(pairs.data)
    header += bytes([_NIBBLES, start]) + _length(escaped.size) + _length(len(frame))
    stored += [escaped.data, frame]
    return True


def _store_frame(frame: bytes, header: bytearray, stored: list[Buffer]) -> None:
    header += bytes([_ZSTD]) + _length(len(frame))
    stored.append(frame)


def _store_raw(plane: Plane, header: bytearray, stored: list[Buffer]) -> None:
    header.append(_RAW)
    stored.append(plane.data)


def _length(value: int) -> bytes:
    return value.to_bytes(LENGTH_BYTES, "little")


def load(reader: Reader, descriptor: Descriptor, count: int) -> Plane | int:
    """Read the bytes of a plane of `count` bytes, which may be read-only; of a constant one, its value."""
    if descriptor.method == _CONSTANT:
        return descriptor.argument
    escaped = reader.plane(descriptor.escapes)
    stored = reader.take(descriptor.length)
    if descriptor.method == _RAW:
        return np.frombuffer(stored, np.uint8)
    if descriptor.method == _ZSTD:
        return np.frombuffer(frames.decompress(stored, count), np.uint8)
    pairs = np.frombuffer(frames.decompress(stored, (count + 1) // 2), np.uint8)
    return nibbles.unpack(pairs, escaped, descriptor.argument, count)
