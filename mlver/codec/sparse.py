"""Pruned tensors and tables with empty rows: which elements are not zero, and those elements as planes.

zstd spends its time on the gaps and codes them badly: of a matrix with nine random tenths zero this keeps half the
bytes at four times the speed. A weight that was multiplied by a mask is often -0.0, so the signs of all elements may be
kept apart, a bit each.

Layout of the payload, in this order::

    u8           bits 0–3: element size W in bytes: 1, 2, 4 or 8; bits 4–6: zero; bit 7: the signs are apart
    u32, …       size in bytes of a zstd frame, and the frame: the bitmap of the elements that are not zero
    u32, …       if the signs are apart, size and frame: the bitmap of the elements whose highest bit is set; in what
                 follows that bit is zero, and an element of which nothing else is set counts as zero
    …            as a payload of `mlver.codec.planes`: the elements that are not zero, then the raw size modulo W last
                 bytes of the chunk

n is the raw size divided by W, rounded down. A bitmap has n / 8 bytes, rounded up, which its frame declares as its
content size: element i is bit ``i % 8`` (0 is the lowest) of byte ``i / 8``; the bits after the last element are zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlver.codec import bitmaps, loops, planes
from mlver.codec.frames import Buffer
from mlver.codec.shapes import Elements
from mlver.errors import IntegrityError

_SIGNS_APART = 0x80
_PROBES = 4096
_ZEROS = {1: 0.6, 2: 0.1, 4: 0.1, 8: 0.1}
"""The least part of zeros, by element size, that is worth a bitmap; of single bytes zstd itself codes half as well."""


def encode(raw: Buffer, element_bytes: int, move_sign: bool) -> tuple[Buffer, ...] | None:
    """Encode a chunk as the places and values of its non-zero elements.

    Args:
        raw: The chunk.
        element_bytes: 1, 2, 4 or 8.
        move_sign: As in `mlver.codec.planes.encode`.

    Returns:
        The payload's parts, or None when there are too few zeros, or nothing else.
    """
    elements: Elements = np.frombuffer(raw, dtype=f"<u{element_bytes}", count=len(raw) // element_bytes)
    zeros_abound, signs_apart = _probe(elements)
    if not zeros_abound:
        return None
    places, signs, filled = loops.current.split_sparse(elements, signs_apart)
    values = filled.tobytes() + bytes(memoryview(raw)[elements.nbytes :])
    header = bytes([element_bytes | (_SIGNS_APART if signs_apart else 0)])
    maps = bitmaps.encode(places) + (() if signs is None else bitmaps.encode(signs))
    return (header, *maps, *planes.encode(values, element_bytes, move_sign))


def decode(payload: Buffer, raw_size: int) -> memoryview:
    """Give back the `raw_size` bytes of a chunk.

    Raises:
        IntegrityError: `payload` is not the places and values of `raw_size` bytes.
    """
    reader = planes.Reader(memoryview(payload))
    element_bytes, signs_apart = planes.flagged(reader.byte())
    count, tail = divmod(raw_size, element_bytes)
    places, filled = bitmaps.decode(reader, count)
    signs = bitmaps.decode(reader, count)[0] if signs_apart else None
    values = planes.decode(reader.rest, filled * element_bytes + tail)
    out = np.empty(raw_size, np.uint8)
    elements: Elements = out[: raw_size - tail].view(f"<u{element_bytes}")
    if not loops.current.join_sparse(places, signs, np.frombuffer(values, elements.dtype, count=filled), elements):
        raise IntegrityError("A chunk's bitmap is longer than the chunk.")
    out[raw_size - tail :] = np.frombuffer(values, np.uint8)[len(values) - tail :]
    return out.data


def _probe(elements: Elements) -> tuple[bool, bool]:
    """Tell from a sample whether there are zeros enough, and whether some are negative."""
    probes = elements[:: elements.size // _PROBES + 1]
    negative = int(np.count_nonzero(probes == _sign_bit(elements)))
    zeros = probes.size - int(np.count_nonzero(probes)) + negative
    # Nothing but zeros is a case for constant planes.
    return _ZEROS[elements.itemsize] * probes.size < zeros and (zeros < probes.size or negative > 0), negative > 0


def _sign_bit(elements: Elements) -> Any:
    return elements.dtype.type(1 << (elements.itemsize * 8 - 1))
