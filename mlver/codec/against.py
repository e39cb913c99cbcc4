"""Chunks that are encoded against a base: which encoding a chunk gets, and the way back.

Trials on a sample decide; where a sample cannot tell, what is in question is done in full and the smallest is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mlver.codec import alone, cast, delta, levels, residuals
from mlver.codec.encoded import CAST, DELTA, ELEMENT_BYTES, LEVELS, Effort, Encoded
from mlver.codec.frames import Buffer
from mlver.errors import IntegrityError

_PIECES = 8
_PIECE_BYTES: dict[Effort, int] = {"fast": 4096, "balanced": 8192, "max": 8192}
_WHOLE_BYTES = 1 << 17
"""Up to this size a chunk is its own sample."""
_NEAR = 0.1
"""Trials whose sizes differ by less than this part do not tell which is smaller."""
_WORTH_SORTING = 0.95
"""How small LEVELS must be against DELTA to be worth its time, which is three times as long."""
_COARSE = levels.Fineness(block_bits=None, merge=1, classes=8)
_FINE = levels.Fineness(block_bits=7, merge=1, classes=8)
_FINEST = levels.Fineness(block_bits=7, merge=0, classes=24)
_FINENESS: dict[tuple[Effort, bool], tuple[levels.Fineness, ...]] = {
    ("balanced", False): (_FINE,),
    ("balanced", True): (_COARSE,),
    ("max", False): (_FINEST,),
    ("max", True): (_FINEST, _COARSE),
}
"""What is tried, by effort and whether the chunk is small: there classes cost more than they tell."""
_CLEAR = 1 / 4
"""A cast that leaves less than this needs no other trial."""

_DECODERS: dict[int, Callable[[Buffer, int, Buffer], memoryview]] = {
    DELTA: delta.decode,
    LEVELS: levels.decode,
    CAST: cast.decode,
}


def encode(raw: Buffer, dtype: str, base: Buffer, base_dtype: str, effort: Effort) -> Encoded:
    """Encode one chunk of a known dtype with or without its base; see `mlver.codec.encode`."""
    if base_dtype != dtype:
        return _encode_cast(raw, dtype, base, base_dtype)
    base = residuals.aligned(base, len(raw))
    if len(raw) <= _WHOLE_BYTES:
        return _smallest([alone.encode(raw, dtype), *_against(raw, dtype, base, effort, is_small=True)])
    sample, of_base = (_sample(data, _PIECE_BYTES[effort]) for data in (raw, base))
    itself = alone.encode(sample, dtype).size_bytes
    tried = [*_against(sample, dtype, of_base, effort)]
    best = min(trial.size_bytes for trial in tried)
    if best > itself * (1 + _NEAR):
        return alone.encode(raw, dtype)
    if effort == "max" or best > itself * (1 - _NEAR):
        return _smallest([alone.encode(raw, dtype), *_against(raw, dtype, base, effort)])
    sizes = {trial.encoding: trial.size_bytes for trial in tried}
    sort = sizes.get(LEVELS, len(sample)) < sizes[DELTA] * _WORTH_SORTING
    return next(iter(_against(raw, dtype, base, effort, (LEVELS,) if sort else (DELTA,))))


def decode(encoding: int, payload: Buffer, raw_size: int, base: Buffer) -> memoryview:
    """Give back the `raw_size` bytes of a chunk; see `mlver.codec.decode`.

    Raises:
        IntegrityError: The encoding is unknown, or `payload` is not a valid encoding of `raw_size` bytes.
    """
    decoder = _DECODERS.get(encoding)
    if decoder is None:
        raise IntegrityError(f"A chunk has encoding {encoding}, which this version of mlver does not know.")
    return decoder(payload, raw_size, base)


def _against(
    raw: Buffer,
    dtype: str,
    base: Buffer,
    effort: Effort,
    wanted: tuple[int, ...] = (DELTA, LEVELS),
    is_small: bool = False,
) -> Iterable[Encoded]:
    """Yield `raw` in the encodings that `effort` allows, of those that are wanted."""
    width = ELEMENT_BYTES[dtype]
    values, old = residuals.elements(raw, width), residuals.elements(base, width)
    left = residuals.take(values, old, dtype)
    tail = memoryview(raw)[values.nbytes :]
    if DELTA in wanted:
        yield Encoded(DELTA, delta.encode(left, tail))
    if LEVELS in wanted and effort != "fast" and values.size:
        for fineness in _FINENESS[effort, is_small]:
            yield Encoded(LEVELS, levels.encode(left, old, tail, dtype, fineness))


def _encode_cast(raw: Buffer, dtype: str, base: Buffer, base_dtype: str) -> Encoded:
    parts = cast.encode(raw, dtype, base, base_dtype)
    if parts is None:
        return alone.encode(raw, dtype)
    encoded = Encoded(CAST, parts)
    return encoded if encoded.size_bytes < len(raw) * _CLEAR else _smallest([alone.encode(raw, dtype), encoded])


def _smallest(candidates: Iterable[Encoded]) -> Encoded:
    return min(candidates, key=lambda candidate: candidate.size_bytes)


def _sample(data: Buffer, piece_bytes: int) -> bytes:
    """Return pieces of whole elements from all over `data`."""
    view = memoryview(data)
    step = (len(data) - piece_bytes) // (_PIECES - 1) & ~7
    return b"".join(view[at * step : at * step + piece_bytes] for at in range(_PIECES))
