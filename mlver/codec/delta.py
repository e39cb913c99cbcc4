"""Encoding DELTA: residuals against the base as byte planes; the quickest of the encodings against a base.

Layout of the payload, in this order::

    …        the head, see `mlver.codec.residuals`
    …        as a payload of `mlver.codec.planes` without a moved sign: the residuals, then the raw size modulo W last
             bytes of the chunk, as they are
"""

from __future__ import annotations

import numpy as np

from mlver.codec import planes, residuals
from mlver.codec.frames import Buffer
from mlver.codec.residuals import Residuals
from mlver.errors import IntegrityError


def encode(left: Residuals, tail: Buffer) -> tuple[Buffer, ...]:
    """Return the payload's parts for a chunk's residuals, and `tail`, its bytes after the last element."""
    data: Buffer = left.values.view(np.uint8).data
    if len(tail):
        data = bytes(data) + bytes(tail)
    return (left.head, *planes.encode(data, left.values.itemsize, move_sign=False))


def decode(payload: Buffer, raw_size: int, base: Buffer) -> memoryview:
    """Give back the `raw_size` bytes of a chunk.

    Raises:
        IntegrityError: `payload` is not the residuals of `raw_size` bytes.
    """
    reader = planes.Reader(memoryview(payload))
    undo = residuals.read_head(reader)
    if reader.rest[:1] != bytes([undo.element_bytes]):
        raise IntegrityError("A chunk's residuals are of another size than its elements.")
    out = np.frombuffer(planes.decode(reader.rest, raw_size), np.uint8)
    values = residuals.elements(out.data, undo.element_bytes)
    undo(values, residuals.elements(residuals.aligned(base, raw_size), undo.element_bytes))
    return out.data
