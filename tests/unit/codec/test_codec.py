"""The codec's encodings: what they cost, what they refuse."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zstandard

from mlver import codec
from mlver.errors import IntegrityError

MIB = 1 << 20
DTYPES = [
    "BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "I16", "U16", "F16", "BF16",
    "I32", "U32", "F32", "F64", "I64", "U64", "C64", "C128",
]  # fmt: skip


def payload(encoded: codec.Encoded) -> bytes:
    return b"".join(encoded.parts)


def round_trip(raw: bytes, dtype: str | None) -> codec.Encoded:
    encoded = codec.encode(raw, dtype)
    assert bytes(codec.decode(encoded.encoding, payload(encoded), len(raw))) == raw
    assert encoded.size_bytes == len(payload(encoded))
    return encoded


def normal(count: int, scale: float = 0.02, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(count, dtype=np.float32) * scale).astype("<f4")


def bf16(values: np.ndarray) -> bytes:
    return (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()


@pytest.mark.parametrize("dtype", [*DTYPES, None, "F4_OF_THE_FUTURE"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 1023, 4096, 20_001, MIB - 1, MIB, MIB + 5])
def test_every_dtype_and_size_comes_back(dtype: str | None, size: int) -> None:
    noise = np.random.default_rng(size).bytes(size)
    for raw in (noise, bytes(size), (normal(size // 4 + 1).tobytes())[:size], (b"ab\0" * (size // 3 + 1))[:size]):
        assert round_trip(raw, dtype).size_bytes <= size


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_constant_chunk_costs_a_few_bytes(dtype: str) -> None:
    for element in (b"\0" * 16, b"\x80\x3f" * 8, b"\0\0\x80\x3f" * 4, b"\xff" * 16):
        raw = element * (MIB // 16)
        assert round_trip(raw, dtype).size_bytes <= 128


@pytest.mark.parametrize("dtype", ["BF16", "F32", "F64", "I64"])
def test_zeros_cost_two_bytes_a_plane(dtype: str) -> None:
    widths = {"BF16": 2, "F32": 4, "F64": 8, "I64": 8}
    assert round_trip(bytes(MIB), dtype).size_bytes == 1 + 2 * widths[dtype]


@pytest.mark.parametrize("dtype", [*DTYPES, None])
def test_noise_costs_nothing_and_is_not_copied(dtype: str | None) -> None:
    noise = np.random.default_rng(1).bytes(MIB)
    encoded = round_trip(noise, dtype)
    assert encoded.encoding == codec.RAW
    assert encoded.parts[0] is noise


def test_weights_come_near_their_entropy() -> None:
    # An exponent of a normal value has 2.57 bits; sign and mantissa are noise.
    assert round_trip(bf16(normal(MIB // 2)), "BF16").size_bytes < 0.667 * MIB
    assert round_trip(normal(MIB // 4).tobytes(), "F32").size_bytes < 0.835 * MIB
    assert round_trip(normal(MIB // 2).astype("<f2").tobytes(), "F16").size_bytes < 0.85 * MIB


def test_a_cast_up_costs_only_what_it_holds() -> None:
    assert (
        round_trip((np.frombuffer(bf16(normal(MIB // 4)), "<u2").astype("<u4") << 16).tobytes(), "F32").size_bytes
        < 0.34 * MIB
    )


def test_outliers_among_the_exponents_are_escaped() -> None:
    values = normal(MIB // 2)
    values[::1000] = 1e30
    values[1::1000] = 0
    raw = bf16(values)
    assert round_trip(raw, "BF16").size_bytes < 0.68 * MIB


@pytest.mark.parametrize("dtype", [None, "U8", "BF16"])
@pytest.mark.parametrize("backwards", [False, True])
def test_what_compresses_in_part_is_found(dtype: str | None, backwards: bool) -> None:
    noise = np.random.default_rng(0).bytes(MIB // 2)
    words = b"some words, " * (MIB // 24)
    assert round_trip(words + noise if backwards else noise + words, dtype).size_bytes < 0.52 * MIB


@pytest.mark.parametrize("where", [0.0, 0.3, 0.7])
def test_stretches_of_zeros_are_found(where: float) -> None:
    values = normal(MIB // 2)
    start = int(where * values.size)
    values[start : start + int(0.3 * values.size)] = 0
    assert round_trip(bf16(values), "BF16").size_bytes < 0.55 * MIB


def test_integers_and_masks() -> None:
    assert round_trip(np.arange(MIB // 8, dtype="<i8").tobytes(), "I64").size_bytes < 0.005 * MIB
    mask = np.random.default_rng(0).random(MIB) < 0.1
    assert round_trip(mask.astype("u1").tobytes(), "BOOL").size_bytes < 0.125 * MIB


@pytest.mark.parametrize("dtype", ["BF16", "F32", "I64", "U8"])
@pytest.mark.parametrize("tail", [0, 1])
def test_pruned_tensors_cost_their_places_and_values(dtype: str, tail: int) -> None:
    rng = np.random.default_rng(0)
    width = {"BF16": 2, "F32": 4, "I64": 8, "U8": 1}[dtype]
    values = (
        normal(MIB // 4) if width == 4 else rng.integers(1, 2 ** (8 * width - 1), MIB // width).astype(f"<i{width}")
    )
    raw = (values * (rng.random(values.size) < 0.1)).astype(values.dtype).tobytes() + bytes(tail)
    signs = 1.0 if dtype == "F32" else 0.0  # a product with zero may be negative
    encoded = round_trip(raw, dtype)
    assert encoded.encoding == codec.SPARSE
    assert encoded.size_bytes < (0.1 + (0.55 + signs) / (8 * width)) * MIB


def test_empty_rows_cost_nothing() -> None:
    rows = normal(MIB // 2).reshape(-1, 1024)
    rows[np.random.default_rng(0).random(len(rows)) < 0.6] = 0
    assert round_trip(bf16(rows.ravel()), "BF16").size_bytes < 0.68 * np.count_nonzero(rows) * 2


def test_a_fifth_of_rows_empty_is_worth_a_bitmap_but_a_fifth_of_bytes_is_not() -> None:
    rng = np.random.default_rng(0)
    rows = normal(MIB // 2).reshape(-1, 1024) * (rng.random(MIB // 2048) < 0.8)[:, None]
    assert round_trip(bf16(rows.ravel()), "BF16").encoding == codec.SPARSE
    quantised = np.clip(rng.standard_normal(MIB) * 2, -8, 8).astype("i1")
    assert round_trip(quantised.tobytes(), "I8").encoding == codec.PLANES


def test_sequences_of_ids_are_compressed_whole() -> None:
    rng = np.random.default_rng(0)
    phrases = rng.integers(0, 50_000, (300, 12)).astype("<i4")
    encoded = round_trip(phrases[rng.integers(0, 300, 20_000)].tobytes(), "I32")
    assert encoded.encoding == codec.ZSTD


def test_text_is_compressed_whole() -> None:
    text = "".join(f"line {i} of a file of words\n" for i in range(40_000)).encode()
    encoded = round_trip(text, None)
    assert encoded.encoding == codec.ZSTD
    assert encoded.size_bytes < len(text) / 3


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_taken(kind: type) -> None:
    for dtype, raw in (
        (None, b"text " * 9000),
        ("BF16", bf16(normal(40_000))),
        ("U8", b"\x01\x02" * 9000),
        (None, b"x"),
    ):
        encoded = codec.encode(kind(raw), dtype)
        assert bytes(codec.decode(encoded.encoding, kind(payload(encoded)), len(raw))) == raw


def test_the_input_is_left_as_it_was() -> None:
    for dtype in DTYPES:
        raw = bytearray(normal(20_000).tobytes())
        before = bytes(raw)
        codec.encode(raw, dtype)
        assert raw == before


def test_a_chunk_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than"):
        codec.encode(bytes(codec.MAX_CHUNK_BYTES + 1), None)
    with pytest.raises(IntegrityError, match="at most"):
        codec.decode(codec.RAW, b"", codec.MAX_CHUNK_BYTES + 1)
    with pytest.raises(IntegrityError, match="at most"):
        codec.decode(codec.RAW, b"", -1)


def test_threads_share_nothing() -> None:
    chunks = [bf16(normal(MIB // 2, seed=seed)) for seed in range(8)]

    def there_and_back(raw: bytes) -> bool:
        encoded = codec.encode(raw, "BF16")
        return bytes(codec.decode(encoded.encoding, payload(encoded), len(raw))) == raw

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(there_and_back, chunks * 4))


def test_bytes_do_not_import_numpy() -> None:
    script = (
        "import sys; from mlver import codec; e = codec.encode(b'text ' * 9000, None);"
        "codec.decode(e.encoding, e.parts[0], 45000); assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("number", [4, 15, 32, 255, -1, 256])
def test_an_unknown_encoding_is_refused(number: int) -> None:
    with pytest.raises(IntegrityError, match="does not know"):
        codec.decode(number, b"\0" * 16, 16)


def test_an_encoding_against_a_base_needs_one() -> None:
    with pytest.raises(IntegrityError, match="needs a base"):
        codec.decode(16, b"\0" * 16, 16)
    with pytest.raises(IntegrityError, match="does not know"):
        codec.decode(31, b"\0" * 16, 16, base=b"\0" * 16)


def refused(encoding: int, data: bytes, raw_size: int) -> None:
    """Check that decoding fails as it must, and without allocating more than a little."""
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError):
            codec.decode(encoding, data, raw_size)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def bomb(size: int) -> bytes:
    return zstandard.ZstdCompressor(level=19).compress(bytes(size))


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    codec.decode(codec.PLANES, bytes([1, 2, 0]), 100)
    frame = bomb(64 * MIB)
    length = len(frame).to_bytes(4, "little")
    refused(codec.ZSTD, frame, 4096)
    refused(codec.PLANES, bytes([1, 1]) + length + frame, 4096)
    refused(codec.PLANES, bytes([1, 3, 0, 0, 0, 0, 0]) + length + frame, 4096)


def test_a_bomb_without_a_declared_size_is_refused() -> None:
    writer = zstandard.ZstdCompressor(level=19).compressobj()
    refused(codec.ZSTD, writer.compress(bytes(64 * MIB)) + writer.flush(), 4096)


def test_frames_that_are_not_exactly_one_are_refused() -> None:
    frame = zstandard.ZstdCompressor().compress(b"abc" * 1000)
    skippable = b"\x50\x2a\x4d\x18" + (3000).to_bytes(4, "little") + bytes(3000)
    for wrong in (frame + b"\0", frame + frame, frame[:-1], b"", b"\0", skippable, skippable + frame):
        refused(codec.ZSTD, wrong, 3000)
    for wrong_size in (0, 2999, 3001):
        refused(codec.ZSTD, frame, wrong_size)


@pytest.mark.parametrize("raw_size", [0, 3, 5])
def test_a_raw_chunk_of_another_size_is_refused(raw_size: int) -> None:
    refused(codec.RAW, b"1234", raw_size)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes([0, 2, 0]),
        bytes([3, 2, 0]),
        bytes([16, 2, 0]),
        bytes([0x81, 2, 0]),
        bytes([1]),
        bytes([1, 4, 0]),
        bytes([1, 2]),
        bytes([1, 2, 0, 0]),
        bytes([1, 0]) + bytes(99),
        bytes([1, 0]) + bytes(101),
        bytes([1, 1, 0, 0, 0, 0]),
        bytes([1, 1, 255, 255, 255, 255]),
        bytes([1, 3, 0, 255, 255, 255, 255, 0, 0, 0, 0]),
        bytes([1, 3, 0, 0]),
        bytes([0xFF]),
    ],
)
def test_malformed_planes_are_refused(data: bytes) -> None:
    refused(codec.PLANES, data, 100)


def test_planes_with_a_wrong_number_of_escapes_are_refused() -> None:
    pairs = zstandard.ZstdCompressor().compress(bytes([0xF0] + [0] * 49))
    tail = len(pairs).to_bytes(4, "little")
    good = bytes([1, 3, 5]) + (1).to_bytes(4, "little") + tail + b"\x99" + pairs
    assert bytes(codec.decode(codec.PLANES, good, 100)) == bytes([5, 0x99] + [5] * 98)
    refused(codec.PLANES, bytes([1, 3, 5]) + (0).to_bytes(4, "little") + tail + pairs, 100)
    refused(codec.PLANES, bytes([1, 3, 5]) + (2).to_bytes(4, "little") + tail + b"\x99\x98" + pairs, 100)


def frame_of(bitmap: bytes) -> bytes:
    frame = zstandard.ZstdCompressor().compress(bitmap)
    return len(frame).to_bytes(4, "little") + frame


PLAIN = bytes([2, 0, 0])
"""The head of planes of two bytes that are stored as they are."""


def test_the_layout_of_sparse_chunks_is_that_of_the_document() -> None:
    stored = bytes([2]) + frame_of(b"\x05\x02") + PLAIN + b"bdfaceT"
    assert bytes(codec.decode(codec.SPARSE, stored, 21)) == b"ab\0\0cd" + bytes(12) + b"efT"
    apart = bytes([0x82]) + frame_of(b"\x05\x02") + frame_of(b"\x09\x02") + PLAIN + b"bdfaceT"
    assert bytes(codec.decode(codec.SPARSE, apart, 21)) == b"a\xe2\0\0cd\0\x80" + bytes(10) + b"e\xe6T"
    for whole in (stored, apart):
        for end in range(len(whole)):
            refused(codec.SPARSE, whole[:end], 21)
        refused(codec.SPARSE, whole + b"\0", 21)


@pytest.mark.parametrize(
    "wrong",
    [
        bytes([2]) + frame_of(b"\x05\x06") + PLAIN + b"bdfaceT",  # a bit after the last element
        bytes([0x82]) + frame_of(b"\x05\x02") + frame_of(b"\x05\x06") + PLAIN + b"bdfaceT",
        bytes([2]) + frame_of(b"\x05\x01") + PLAIN + b"bdfaceTT",  # more values than places
        bytes([2]) + frame_of(b"\x05\x03") + PLAIN + b"bdfaceT",  # fewer
        bytes([2]) + frame_of(b"\x05") + PLAIN + b"bdfaceT",
        bytes([2]) + frame_of(b"\x05\x02\0") + PLAIN + b"bdfaceT",
        bytes([3]) + frame_of(b"\x05\x02") + PLAIN + b"bdfaceT",
        bytes([2]) + b"\xff\xff\xff\xff" + frame_of(b"\x05\x02") + PLAIN + b"bdfaceT",
        bytes([2]) + frame_of(bytes(16 * MIB)) + PLAIN,
    ],
)
def test_malformed_sparse_chunks_are_refused(wrong: bytes) -> None:
    refused(codec.SPARSE, wrong, 21)


def test_the_layout_of_planes_is_that_of_the_document() -> None:
    # Two BF16 elements, -1.5 (0xBFC0) and 1.0 (0x3F80), and a last odd byte; exponents 127, then sign and mantissa.
    stored = bytes([0x82, 2, 127, 0]) + bytes([0xC0, 0x00]) + b"\x55"
    assert bytes(codec.decode(codec.PLANES, stored, 5)) == b"\xc0\xbf\x80\x3f\x55"
    # One F32 element without a moved sign: planes from the most significant byte down.
    assert bytes(codec.decode(codec.PLANES, bytes([4, 0, 0, 0, 0, 0xBF, 0xC0, 0x12, 0x34]), 4)) == b"\x34\x12\xc0\xbf"
    assert (
        bytes(codec.decode(codec.PLANES, bytes([0x84, 0, 0, 0, 0, 0x7F, 0xC0, 0x12, 0x34]), 4)) == b"\x34\x12\xc0\xbf"
    )
