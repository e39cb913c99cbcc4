"""Encoding DELTA: residuals against the base as byte planes.

Layout of the payload, in this order::

    …        the head, see `mlver.codec.residuals`
    …        as a payload of `mlver.codec.planes` without a moved sign: the residuals, then the raw size modulo W last
             bytes of the chunk, as they are
"""

from __future__ import annotations

from collections.abc import Sequence

from mlver.codec import loops, planes, residuals
from mlver.codec.encoded import Method
from mlver.codec.frames import Buffer
from mlver.codec.residuals import View
from mlver.codec.shapes import Elements


def encode(view: View) -> tuple[Buffer, ...]:
    """Return the payload's parts for a chunk."""
    return encode_with(view)[0]


def encode_with(view: View, methods: Sequence[Method] = ()) -> tuple[tuple[Buffer, ...], tuple[Method, ...]]:
    """Return the payload's parts for a chunk, and how each plane is stored; `methods` are tried first."""
    split = loops.current.split(view.values, view.expected, False)
    head = residuals.write_head(view.expectation, view.values.itemsize)
    parts, taken = planes.encode_split(split, False, view.tail, methods)
    return (head, *parts), taken


def decode(payload: Buffer, raw_size: int, base: Buffer) -> memoryview:
    """Give back the `raw_size` bytes of a chunk.

    Raises:
        IntegrityError: `payload` is not the residuals of `raw_size` bytes.
    """
    reader = planes.Reader(memoryview(payload))
    return planes.decode_joined(reader, raw_size, _read_expected(reader, raw_size, base))


def decodes_to(parts: Sequence[Buffer], raw: Buffer, base: Buffer) -> bool:
    """Tell whether a payload in parts gives back a chunk.

    Raises:
        IntegrityError: The payload is not the residuals of a chunk of this size.
    """
    reader = planes.Reader.of(parts)
    return planes.is_joined(reader, raw, _read_expected(reader, len(raw), base))


def _read_expected(reader: planes.Reader, raw_size: int, base: Buffer) -> Elements:
    """Read the head of a payload, and return what is expected of the elements, shape (n,)."""
    element_bytes, expectation = residuals.read_head(reader, raw_size)
    old = residuals.elements(residuals.aligned(base, raw_size), element_bytes)
    return residuals.expected(old, expectation)
