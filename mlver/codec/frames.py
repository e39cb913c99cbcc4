"""zstd frames: the one place that calls zstandard, for whole chunks and for single planes.

Which parameters pay is decided on a sample of the data, so that what does not compress costs next to nothing.
Contexts are kept per thread: making one costs more than compressing 4 KB.

Source: RFC 8878 (the frame), https://facebook.github.io/zstd/zstd_manual.html (the parameters).
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import zstandard

from mlver.errors import IntegrityError

Buffer = bytes | bytearray | memoryview
Methods = tuple[str, ...]
"""Names of parameter sets to try, the fastest first; small data only meet the last."""

WEIGHTS: Methods = ("entropy", "quick")
"""For numbers: mostly noise with a skewed distribution, now and then repetition."""
BYTES: Methods = ("entropy", "text")
"""For everything else: text, code, images, and weights in formats that are not known."""

_PARAMETERS: dict[str, Callable[[], zstandard.ZstdCompressionParameters]] = {
    # Almost no search for matches, which in skewed noise only cost time and size: twice as fast as level 1.
    "entropy": lambda: zstandard.ZstdCompressionParameters.from_level(
        1, strategy=zstandard.STRATEGY_FAST, min_match=7, hash_log=6, window_log=20
    ),
    "quick": lambda: zstandard.ZstdCompressionParameters.from_level(1),
    "text": lambda: zstandard.ZstdCompressionParameters.from_level(3),
}

_SAMPLE_PIECES = 8
_SAMPLE_PIECE_BYTES = 512
_WHOLE_BYTES = 4 * _SAMPLE_PIECES * _SAMPLE_PIECE_BYTES
"""Up to this size the data are their own sample."""
_GAIN = 1 / 32
"""A frame that saves less than this part of the data is not worth its decoding."""
_SLOWER_GAIN = 1 / 10
"""What a method must save against one that stands before it, to be worth its time."""


class _Contexts(threading.local):
    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()
        self.compressors: dict[str, zstandard.ZstdCompressor] = {}

    def compressor(self, method: str) -> zstandard.ZstdCompressor:
        found = self.compressors.get(method)
        if found is None:
            found = zstandard.ZstdCompressor(compression_params=_PARAMETERS[method]())
            self.compressors[method] = found
        return found


_contexts = _Contexts()


def compress(data: Buffer, methods: Methods) -> tuple[str, bytes] | None:
    """Compress `data` by the method that does best on a sample of it.

    Returns:
        The method, and one zstd frame that declares its content size; None when that would save less than 1/32.
    """
    tried = sample(data)
    method, trial = _best(tried, methods if tried is not data else methods[-1:])
    if not _pays(trial, tried):
        return None
    packed = trial if tried is data else _contexts.compressor(method).compress(data)
    return (method, packed) if _pays(packed, data) else None


def compress_by(method: str, data: Buffer) -> bytes | None:
    """Compress `data` by a method as `compress` does, without a trial."""
    packed = _contexts.compressor(method).compress(data)
    return packed if _pays(packed, data) else None


def pays(sample: Buffer) -> bool:
    """Tell whether the quick method makes `sample` worth compressing."""
    return _pays(compress_always(sample), sample)


def compress_always(data: Buffer) -> bytes:
    """Compress `data` by the quick method into one zstd frame that declares its content size."""
    return _contexts.compressor("quick").compress(data)


def compress_skewed(data: Buffer) -> bytes | None:
    """Compress `data` that have no repetition, as `compress` does, without a trial."""
    return compress_by("entropy", data)


def decompress(frame: Buffer, size_bytes: int) -> bytes:
    """Give back the `size_bytes` bytes of one zstd frame.

    The size that the frame declares is checked first: zstandard allocates by it, whatever limit it is given.

    Raises:
        IntegrityError: `frame` is not exactly one valid frame of `size_bytes` bytes without a dictionary.
    """
    try:
        declared = zstandard.get_frame_parameters(frame).content_size
        if declared != size_bytes:
            raise IntegrityError(f"A compressed chunk declares {declared} bytes instead of {size_bytes}.")
        raw = _contexts.decompressor.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise IntegrityError(f"A compressed chunk is damaged: {error}.") from error
    # Skippable frames declare a size, too, and older releases of zstandard (0.22) give back nothing for them.
    if len(raw) != size_bytes:  # pragma: no cover - zstandard 0.23 and later refuse them themselves
        raise IntegrityError(f"A compressed chunk holds {len(raw)} bytes instead of {size_bytes}.")
    return raw


def sample(data: Buffer) -> Buffer:
    """Return pieces from all over `data`, the first and the last bytes among them, or `data` itself if it is small."""
    if len(data) <= _WHOLE_BYTES:
        return data
    view = memoryview(data)
    step = (len(data) - _SAMPLE_PIECE_BYTES) // (_SAMPLE_PIECES - 1)
    return b"".join(view[i * step : i * step + _SAMPLE_PIECE_BYTES] for i in range(_SAMPLE_PIECES))


def _best(sample: Buffer, methods: Methods) -> tuple[str, bytes]:
    best, *others = ((method, _contexts.compressor(method).compress(sample)) for method in methods)
    for other in others:
        if len(other[1]) < len(best[1]) * (1 - _SLOWER_GAIN):
            best = other
    return best


def _pays(packed: bytes, data: Buffer) -> bool:
    return len(packed) < len(data) * (1 - _GAIN)
