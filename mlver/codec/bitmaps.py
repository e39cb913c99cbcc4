"""Bitmaps, a bit an element, in zstd frames: which elements are not zero, or negative.

Layout: u32 size in bytes of the frame, and the frame. Its content has n / 8 bytes, rounded up: element i is bit
``i % 8`` (0 is the lowest) of byte ``i / 8``; the bits after the last element are zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlver.codec import frames, planes
from mlver.errors import IntegrityError


def encode(bits: npt.NDArray[np.bool_]) -> tuple[bytes, bytes]:
    """Return the parts of a bitmap, shape (n,)."""
    frame = frames.compress_always(np.packbits(bits, bitorder="little").data)
    return len(frame).to_bytes(planes.LENGTH_BYTES, "little"), frame


def decode(reader: planes.Reader, count: int) -> npt.NDArray[np.bool_]:
    """Read a bitmap of `count` bits.

    Raises:
        IntegrityError: There is none, or bits are set after the last.
    """
    bitmap = frames.decompress(reader.take(reader.length()), (count + 7) // 8)
    bits = np.unpackbits(np.frombuffer(bitmap, np.uint8), bitorder="little")
    if bits[count:].any():
        raise IntegrityError("A chunk's bitmap is longer than the chunk.")
    return bits[:count].view(np.bool_)
