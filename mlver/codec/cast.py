"""Encoding CAST: a tensor that was cast from another type, the base being the elements it was cast from.

Layout of the payload, in this order::

    u8       the cast, below
    u32      the bytes of the base before the element that corresponds to the first one
    …        as a payload of `mlver.codec.planes` without a moved sign: the residuals, then the raw size modulo W last
             bytes of the chunk, as they are

====== ============ ====================================================================================================
number from → to    predicted element of a base element
====== ============ ====================================================================================================
0      F32 → BF16   rounded to the nearest, ties to even; NaN is 0x7FC0
1      F32 → BF16   the 16 highest bits
2      BF16 → F32   the same, then 16 zero bits
3      F32 → F16    rounded to the nearest, ties to even; what is too large is infinite; NaN is 0x7E00
4      F16 → F32    the same value; NaN is 0x7FC00000
5      F64 → F32    as 3; NaN is 0x7FC00000
6      F32 → F64    as 4; NaN is 0x7FF8000000000000
====== ============ ====================================================================================================

W is the size of an element in bytes. The residual is the element less the predicted one as unsigned integers, in zigzag
order as in `mlver.codec.residuals`. What is left of the base has as many elements as the chunk, of the type it was cast
from; one that is shorter is followed by zeros, what is longer is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlver.codec import loops, planes, residuals
from mlver.codec.frames import Buffer
from mlver.codec.shapes import Elements
from mlver.errors import IntegrityError

_CASTS = (
    ("F32", "BF16"), ("F32", "BF16"), ("BF16", "F32"), ("F32", "F16"), ("F16", "F32"), ("F64", "F32"), ("F32", "F64")
)  # fmt: skip
_ROUNDED, _CUT, _WIDENED = range(3)
_BYTES = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8}
_NAN = {"F16": 0x7E00, "F32": 0x7FC00000, "F64": 0x7FF8 << 48}
_SAMPLE = 1024


def encode(raw: Buffer, dtype: str, base: Buffer, base_dtype: str, skip: int) -> tuple[Buffer, ...] | None:
    """Return the payload's parts, or None when there is no such cast.

    Args:
        raw: The chunk.
        dtype: safetensors name of its elements' type.
        base: What it may have been cast from.
        base_dtype: The type of the base's elements.
        skip: Bytes of the base before the element that corresponds to the first one.
    """
    known = [number for number, cast in enumerate(_CASTS) if cast == (base_dtype, dtype)]
    if not known:
        return None
    width = _BYTES[dtype]
    values = residuals.elements(raw, width)
    old = _base_elements(memoryview(base)[skip:], base_dtype, values.size)
    number = max(known, key=lambda cast: _hits(cast, values, old))
    split = loops.current.split(values, _predicted(number, old), False)
    head = bytes([number]) + skip.to_bytes(planes.LENGTH_BYTES, "little")
    return (head, *planes.encode_split(split, False, memoryview(raw)[values.nbytes :])[0])


def decode(payload: Buffer, raw_size: int, base: Buffer) -> memoryview:
    """Give back the `raw_size` bytes of a chunk.

    Raises:
        IntegrityError: `payload` is not the residuals of `raw_size` bytes.
    """
    reader = planes.Reader(memoryview(payload))
    number = reader.byte()
    if number >= len(_CASTS):
        raise IntegrityError(f"A chunk was cast in a way {number} that is not known.")
    base_dtype, dtype = _CASTS[number]
    skip = reader.length()
    old = _base_elements(memoryview(base)[skip:], base_dtype, raw_size // _BYTES[dtype])
    return planes.decode_joined(reader, raw_size, _predicted(number, old))


def _base_elements(base: Buffer, base_dtype: str, count: int) -> Elements:
    width = _BYTES[base_dtype]
    return residuals.elements(residuals.aligned(base, count * width), width)


def _hits(number: int, values: Elements, old: Elements) -> int:
    step = values.size // _SAMPLE + 1
    return int(np.count_nonzero(values[::step] == _predicted(number, old[::step])))


def _predicted(number: int, old: Elements) -> Elements:
    return _PREDICTORS[number](np.ascontiguousarray(old), *_CASTS[number])


def _rounded(old: Elements, _from: str, _to: str) -> Elements:
    rounded = (old + (0x7FFF + (old >> 16 & 1)).astype("<u4")) >> 16
    return np.where((old & 0x7FFFFFFF) > 0x7F800000, 0x7FC0, rounded).astype("<u2")


def _cut(old: Elements, _from: str, _to: str) -> Elements:
    return (old >> 16).astype("<u2")


def _widened(old: Elements, _from: str, _to: str) -> Elements:
    return (old.astype("<u4") << np.uint32(16)).astype("<u4", copy=False)


def _by_value(old: Elements, source: str, target: str) -> Elements:
    values: np.ndarray[Any, Any] = old.view(f"<f{_BYTES[source]}")
    with np.errstate(all="ignore"):
        bits = values.astype(f"<f{_BYTES[target]}").view(f"<u{_BYTES[target]}")
    # What a NaN becomes is the processor's choice.
    bits[np.isnan(values)] = _NAN[target]
    return bits


_PREDICTORS: tuple[Callable[[Elements, str, str], Elements], ...] = (_rounded, _cut, _widened, *[_by_value] * 4)
