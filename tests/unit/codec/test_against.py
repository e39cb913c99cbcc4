"""Encodings against a base: what they cost, which is chosen, how their bytes lie, what they refuse."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import zstandard

from mlver import codec
from mlver.codec import delta, levels, numbers, planes, residuals
from mlver.errors import IntegrityError

MIB = 1 << 20
EFFORTS: tuple[codec.Effort, ...] = ("fast", "balanced", "max")
DTYPES = [
    "BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "I16", "U16", "F16", "BF16",
    "I32", "U32", "F32", "F64", "I64", "U64", "C64", "C128",
]  # fmt: skip


def payload(encoded: codec.Encoded) -> bytes:
    return b"".join(encoded.parts)


def normal(count: int, scale: float = 0.02, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(count, dtype=np.float32) * scale).astype("<f4")


def bf16(values: np.ndarray) -> bytes:
    return ((values.astype("<f4").view("<u4") + 0x7FFF) >> 16).astype("<u2").tobytes()


def cost(raw: bytes, dtype: str, base: bytes, effort: codec.Effort, base_dtype: str | None = None) -> codec.Encoded:
    """Encode, check that it comes back, and return what is stored."""
    encoded = codec.encode(raw, dtype, base, effort, base_dtype=base_dtype)
    assert bytes(codec.decode(encoded.encoding, payload(encoded), len(raw), base)) == raw
    assert encoded.size_bytes <= len(raw)
    return encoded


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 3, 8, 9, 17, 1023, 20_001, 200_003])
def test_every_dtype_and_size_comes_back(effort: codec.Effort, dtype: str, size: int) -> None:
    old = normal(size // 4 + 1).tobytes()[:size]
    new = (normal(size // 4 + 1) + normal(size // 4 + 1, 1e-5, 1)).astype("<f4").tobytes()[:size]
    for base in (old, old[: size // 2], old + b"more", np.random.default_rng(0).bytes(size), b""):
        encoded = cost(new, dtype, base, effort)
        if size <= 131072:
            assert encoded.size_bytes <= codec.encode(new, dtype).size_bytes


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_equal_chunk_costs_nothing(effort: codec.Effort, dtype: str) -> None:
    raw = normal(MIB // 4).tobytes()
    encoded = cost(raw, dtype, raw, effort)
    assert encoded.encoding in codec.BASE_ENCODINGS
    assert encoded.size_bytes <= 20


@pytest.mark.parametrize(("effort", "bar"), [("fast", 0.522), ("balanced", 0.522), ("max", 0.490)])
def test_a_step_costs_its_entropy(effort: codec.Effort, bar: float) -> None:
    # The entropy of a normal step of 1e-5 in units of the last place of these weights is 0.484 of 32 bits.
    old = normal(MIB // 4)
    raw = (old + normal(MIB // 4, 1e-5, 1)).astype("<f4").tobytes()
    assert cost(raw, "F32", old.tobytes(), effort).size_bytes < bar * MIB


@pytest.mark.parametrize(("effort", "bar"), [("fast", 0.0960), ("balanced", 0.0625), ("max", 0.0615)])
def test_rounded_steps_cost_less_than_a_bit_an_element(effort: codec.Effort, bar: float) -> None:
    old = normal(MIB // 2)
    new = old + normal(MIB // 2, 1e-5, 1)
    assert cost(bf16(new), "BF16", bf16(old), effort).size_bytes < bar * MIB


@pytest.mark.parametrize("effort", EFFORTS)
def test_rows_that_only_decay_cost_next_to_nothing(effort: codec.Effort) -> None:
    old = normal(MIB // 4)
    new = old.copy()
    for _ in range(40):
        new *= np.float32(1 - 3e-7)
    assert cost(new.tobytes(), "F32", old.tobytes(), effort).size_bytes < 0.02 * MIB


def test_levels_follow_the_neighbourhood() -> None:
    old = normal(MIB // 4).reshape(-1, 256)
    steps = normal(MIB // 4, 1.0, 1).reshape(-1, 256) * np.float32(2.0) ** -np.random.default_rng(0).integers(
        10, 24, (len(old), 1)
    )
    raw = (old + steps).astype("<f4").tobytes()
    fine, coarse = (cost(raw, "F32", old.tobytes(), effort).size_bytes for effort in ("max", "fast"))
    assert fine < 0.905 * coarse


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("dtype", ["F32", "BF16", "I64", "U8"])
def test_a_base_that_does_not_help_is_left_alone(effort: codec.Effort, dtype: str) -> None:
    raw, base = normal(MIB // 4).tobytes(), np.random.default_rng(5).bytes(MIB)
    encoded = cost(raw, dtype, base, effort)
    assert encoded.encoding not in codec.BASE_ENCODINGS
    assert encoded.size_bytes == codec.encode(raw, dtype).size_bytes


@pytest.mark.parametrize("effort", EFFORTS)
def test_rows_that_were_appended_cost_what_they_are(effort: codec.Effort) -> None:
    old = normal(MIB // 8).tobytes()
    raw = old + normal(MIB // 8, seed=1).tobytes()
    encoded = cost(raw, "F32", old, effort)
    assert encoded.size_bytes < 0.45 * MIB


@pytest.mark.parametrize(
    ("source", "target", "bar"),
    [("F32", "BF16", 20), ("F32", "F16", 20), ("BF16", "F32", 20), ("F16", "F32", 20), ("F64", "F32", 20)],
)
def test_a_cast_costs_nothing(source: str, target: str, bar: int) -> None:
    values = normal(MIB // 4).astype("<f8") + 1e-9
    forms = {
        "F64": values.tobytes(),
        "F32": values.astype("<f4").tobytes(),
        "F16": values.astype("<f4").astype("<f2").tobytes(),
    }
    single = values.astype("<f4").view("<u4")
    forms["BF16"] = ((single + 0x7FFF + (single >> 16 & 1)) >> 16).astype("<u2").tobytes()
    if target == "F32" and source in ("BF16", "F16"):
        base = forms[source]
        wide = np.frombuffer(base, "<u2").astype("<u4") << 16
        raw = wide.tobytes() if source == "BF16" else np.frombuffer(base, "<f2").astype("<f4").tobytes()
    else:
        base, raw = forms[source], forms[target]
    encoded = cost(raw, target, base, "fast", source)
    assert encoded.encoding == codec.CAST
    assert encoded.size_bytes <= bar


def test_a_cast_that_cuts_is_told_from_one_that_rounds() -> None:
    single = normal(MIB // 4).view("<u4")
    encoded = cost((single >> 16).astype("<u2").tobytes(), "BF16", single.tobytes(), "fast", "F32")
    assert encoded.size_bytes <= 20


def test_types_that_are_not_cast_are_stored_alone() -> None:
    raw = normal(4000).tobytes()
    assert cost(raw, "F32", raw, "max", "I64").encoding not in codec.BASE_ENCODINGS


SPECIAL = np.array(
    [0, 0x80000000, 1, 0x80000001, 0x7F800000, 0xFF800000, 0x7FC00001, 0x7FA00000, 0xFFFFFFFF, 0x7F7FFFFF], "<u4"
)


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16", "F64", "F8_E4M3"])
def test_zeros_infinities_and_nans_come_back_bit_for_bit(effort: codec.Effort, dtype: str) -> None:
    rng = np.random.default_rng(0)
    raw, base = (SPECIAL[rng.integers(0, SPECIAL.size, 5000)].tobytes() for _ in range(2))
    cost(raw, dtype, base, effort)
    for source in ("F32", "F64", "BF16", "F16"):
        cost(raw, dtype, base * 2, effort, source)


def test_buffers_are_left_as_they_were() -> None:
    raw, base = bytearray(normal(40_000).tobytes()), bytearray(normal(40_000, seed=1).tobytes())
    before = bytes(raw), bytes(base)
    for effort in EFFORTS:
        encoded = codec.encode(memoryview(raw), "F32", memoryview(base), effort)
        assert bytes(codec.decode(encoded.encoding, bytearray(payload(encoded)), len(raw), base)) == before[0]
    assert (bytes(raw), bytes(base)) == before


def forms(raw: bytes, base: bytes, dtype: str, width: int) -> list[tuple[int, bytes]]:
    """Return both encodings of a chunk, whichever would be chosen."""
    old = residuals.elements(base, width)
    left = residuals.take(residuals.elements(raw, width), old, dtype)
    fineness = levels.Fineness(7, 0, 24)
    return [
        (codec.DELTA, b"".join(delta.encode(left, b""))),
        (codec.LEVELS, b"".join(levels.encode(left, old, b"", dtype, fineness))),
    ]


def refused(encoding: int, data: bytes, raw_size: int, base: bytes) -> None:
    """Check that decoding fails as it must, and without allocating more than a little."""
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError):
            codec.decode(encoding, data, raw_size, base)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("dtype", "width"), [("F32", 4), ("BF16", 2), ("I64", 8), ("U8", 1)])
def test_cut_or_grown_payloads_are_refused(dtype: str, width: int) -> None:
    old = normal(3000)
    raw, base = (old + normal(3000, 1e-5, 1)).astype("<f4").tobytes(), old.tobytes()
    for encoding, stored in forms(raw, base, dtype, width):
        assert bytes(codec.decode(encoding, stored, len(raw), base)) == raw
        for end in range(0, len(stored), 7):
            refused(encoding, stored[:end], len(raw), base)
        refused(encoding, stored + b"\0", len(raw), base)
        refused(encoding, stored, len(raw) + 64, base)


def frame_of(content: bytes) -> bytes:
    frame = zstandard.ZstdCompressor().compress(content)
    return len(frame).to_bytes(4, "little") + frame


def u16(*values: int) -> bytes:
    return np.array(values, "<u2").tobytes()


def test_the_layout_of_deltas_is_that_of_the_document() -> None:
    base = u16(10, 0x1000, 7)
    # Residuals +1, -1, 0 in zigzag order: 2, 1, 0; two planes stored as they are, and a last odd byte.
    stored = bytes([2]) + bytes([2, 0, 0]) + bytes([0, 0, 0]) + bytes([2, 1, 0]) + b"T"
    assert bytes(codec.decode(codec.DELTA, stored, 7, base)) == u16(11, 0x0FFF, 7) + b"T"
    table = np.zeros(128, "<u2")
    table[1] = 5
    # A table by bits 12 to 18: the second element has 1 there, and 5 more.
    with_table = bytes([0x82, 12]) + frame_of(table.tobytes()) + stored[1:]
    assert bytes(codec.decode(codec.DELTA, with_table, 7, base)) == u16(11, 0x1004, 7) + b"T"
    # A base that ends early is followed by zeros.
    assert bytes(codec.decode(codec.DELTA, stored, 7, base[:2])) == u16(11, 0xFFFF, 0) + b"T"


def test_the_layout_of_levels_is_that_of_the_document() -> None:
    # Bits 4 to 7 are the exponent: 1, 2, 1, 2, 1; blocks of four of levels 3 and 1.
    base = u16(0x10, 0x20, 0x11, 0x21, 0x12)
    head = bytes([2]) + bytes([4]) + (15).to_bytes(2, "little") + bytes([2]) + frame_of(bytes([3, 1]))
    # 3 - 1 = 2, 3 - 2 = 1, 2, 1 and 1 - 1 = 0: with origin 0, unmerged, three classes.
    head += (0).to_bytes(2, "little", signed=True) + bytes([0, 3])
    zero = bytes([0])
    # The class 1 has its second residual only: one of two, a zero before it; residual 3 is stored as 2.
    one_gap = bytes([0]) + bytes([2, 1]) + (0).to_bytes(4, "little")
    gaps = bytes([3]) + (1).to_bytes(4, "little") + one_gap + bytes([0, 2, 2]) + (0).to_bytes(4, "little")
    # The class 2 has residuals 0x15 and 0x2A, cut at bit 4: 1 and 2, then nibbles 5 and 10 in one byte.
    dense = bytes([1]) + bytes([4, 0]) + (0).to_bytes(4, "little") + bytes([1, 2]) + bytes([0xA5])
    stored = head + zero + gaps + dense + b"T"
    # Zigzag: 3 is -2, 0x15 is -11, 0x2A is 21.
    wanted = u16(0x10 - 11, 0x20, 0x11 + 21, 0x21 - 2, 0x12) + b"T"
    assert bytes(codec.decode(codec.LEVELS, stored, 11, base)) == wanted
    for end in range(len(stored)):
        refused(codec.LEVELS, stored[:end], 11, base)
    refused(codec.LEVELS, stored + b"\0", 11, base)
    for at, value in [(0, 0x03), (1, 64), (3, 0xFF), (4, 32)]:
        refused(codec.LEVELS, stored[:at] + bytes([value]) + stored[at + 1 :], 11, base)
    bitmap = bytes([2]) + frame_of(bytes([0b10])) + bytes([0, 2, 2]) + (0).to_bytes(4, "little")
    assert bytes(codec.decode(codec.LEVELS, head + zero + bitmap + dense + b"T", 11, base)) == wanted
    for wrong in (
        bytes([2]) + frame_of(bytes([0b110])) + gaps,  # a bit after the last element
        bytes([2]) + frame_of(bytes([0])) + gaps,  # no residual at all
        gaps[:1] + (3).to_bytes(4, "little") + gaps[5:],  # more residuals than elements
        gaps[:1] + (0).to_bytes(4, "little") + gaps[5:],
        gaps[:7] + bytes([2]) + gaps[8:],  # a residual after the end
        gaps[:1] + b"\xff\xff\xff\xff" + gaps[5:],
        bytes([4]),
    ):
        refused(codec.LEVELS, head + zero + wrong + dense + b"T", 11, base)
    for classes in (0, 65, 255):
        refused(codec.LEVELS, head[:-1] + bytes([classes]) + zero + gaps + dense + b"T", 11, base)
    refused(codec.LEVELS, head[:-2] + bytes([16, 3]) + zero + gaps + dense + b"T", 11, base)


def test_the_layout_of_casts_is_that_of_the_document() -> None:
    base = np.array([0x3F808000, 0x3F818000, 0x7F800001], "<u4").tobytes()
    stored = bytes([0]) + bytes([2, 0, 0]) + bytes([0, 0, 0]) + bytes([0, 1, 2]) + b"T"
    # Ties go to even; NaN is 0x7FC0; residuals 0, -1, 1.
    assert bytes(codec.decode(codec.CAST, stored, 7, base)) == u16(0x3F80, 0x3F81, 0x7FC1) + b"T"
    assert bytes(codec.decode(codec.CAST, bytes([1]) + stored[1:], 7, base)) == u16(0x3F80, 0x3F80, 0x7F81) + b"T"
    for wrong in (b"", bytes([7]) + stored[1:], bytes([2]) + stored[1:], stored[:-1], stored + b"\0", bytes([0])):
        refused(codec.CAST, wrong, 7, base)


@pytest.mark.parametrize("values", [[0], [255], [254, 255, 256], [1, 1 << 31], list(range(1000)), [7] * 50 + [1 << 20]])
@pytest.mark.parametrize("scale", [1, 3, 77, 5000])
def test_numbers_come_back_with_any_cut(values: list[int], scale: int) -> None:
    given = np.minimum(np.array(values, "<u8") * scale, 0xFFFFFFFF).astype("<u4")
    stored = b"".join(numbers.encode(given))
    reader = planes.Reader(memoryview(stored))
    assert (numbers.decode(reader, given.size, 4) == given).all()
    reader.end()


def test_numbers_with_escapes_that_are_missing_or_needless_are_refused() -> None:
    for stored in (
        bytes([0, 2, 255]) + (0).to_bytes(4, "little"),
        bytes([0, 2, 254]) + (1).to_bytes(4, "little") + b"x",
        bytes([32, 2, 1]) + (0).to_bytes(4, "little"),
    ):
        with pytest.raises(IntegrityError):
            numbers.decode(planes.Reader(memoryview(stored)), 3, 4)


def test_heads_that_say_what_cannot_be_are_refused() -> None:
    base = u16(10, 0x1000, 7)
    rest = bytes([2, 0, 0]) + bytes(6)
    table = frame_of(bytes(256))
    assert bytes(codec.decode(codec.DELTA, bytes([0x82, 15]) + table + rest, 6, base)) == base
    refused(codec.DELTA, bytes([0x82, 16]) + table + rest, 6, base)
    # Residuals of four bytes for elements of two.
    refused(codec.DELTA, bytes([2]) + bytes([4, 0, 0, 0, 0]) + bytes(8), 8, u16(1, 2, 3, 4))
    # One block of six bytes of one class, all zero: a mask of eight bits is the widest that a byte has.
    for shift, mask, merge, good in [(0, 255, 15, True), (0, 256, 0, False), (8, 1, 0, False), (0, 1, 16, False)]:
        stored = bytes([1, shift]) + mask.to_bytes(2, "little") + bytes([31]) + frame_of(b"\0")
        stored += bytes(2) + bytes([merge, 1]) + bytes([0])
        if good:
            assert bytes(codec.decode(codec.LEVELS, stored, 6, base)) == base
        else:
            refused(codec.LEVELS, stored, 6, base)


def test_a_class_of_zeros_is_one_byte() -> None:
    assert levels._encode_class(np.zeros(500, "<u4")) == [bytes([0])]


def test_signs_that_differ_do_not_make_all_numbers_coarse() -> None:
    # Numbers of 12 bits, one in fifty of 32: about 11.5 bits each, and 32 for the few.
    rng = np.random.default_rng(0)
    values = rng.exponential(1000, 100_000).astype("<u4")
    values[::50] |= 0xC0000000
    size = sum(map(len, numbers.encode(values)))
    assert size < 1.05 * (100_000 * (np.log2(1000 * np.e) / 8) + 2000 * 4)


@pytest.mark.parametrize(
    ("number", "base", "predicted"),
    [
        (3, np.array([0xFFC12345, 0x7F800001], "<u4"), np.array([0x7E00] * 2, "<u2")),
        (4, np.array([0xFE01, 0x7C01], "<u2"), np.array([0x7FC00000] * 2, "<u4")),
        (5, np.array([(0xFFF8 << 48) | 5, (0x7FF0 << 48) | 1], "<u8"), np.array([0x7FC00000] * 2, "<u4")),
        (6, np.array([0xFFC12345, 0x7F800001], "<u4"), np.array([0x7FF8 << 48] * 2, "<u8")),
    ],
)
def test_what_a_nan_is_cast_to_does_not_depend_on_the_processor(
    number: int, base: np.ndarray, predicted: np.ndarray
) -> None:
    width = predicted.itemsize
    zeros = bytes([width]) + bytes([2, 0]) * width
    assert bytes(codec.decode(codec.CAST, bytes([number]) + zeros, 2 * width, base.tobytes())) == predicted.tobytes()
