"""Bitmaps, a bit an element, in zstd frames: which elements are not zero, or negative.

Layout: u32 size in bytes of the frame, and the frame. Its content has n / 8 bytes, rounded up: element i is bit
``i % 8`` (0 is the lowest) of byte ``i / 8``; the bits after the last element are zero.
"""

from __future__ import annotations

import numpy as np

from mlver.codec import frames, planes
from mlver.codec.shapes import Plane


def encode(bitmap: Plane) -> tuple[bytes, bytes]:
    """Return the parts of a bitmap."""
    frame = frames.compress_always(bitmap.data)
    return len(frame).to_bytes(planes.LENGTH_BYTES, "little"), frame


def decode(reader: planes.Reader, count: int) -> tuple[Plane, int]:
    """Read a bitmap of `count` bits, and count those that are set; bits after the last are not looked at.

    Raises:
        IntegrityError: There is none.
    """
    bitmap = frames.decompress(reader.take(reader.length()), (count + 7) // 8)
    return np.frombuffer(bitmap, np.uint8), int.from_bytes(bitmap, "little").bit_count()
