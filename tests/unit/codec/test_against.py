"""Encodings against a base: what they cost, which is chosen, how their bytes lie, what they refuse."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import zstandard

from mlver import codec
from mlver.codec import (
    against,
    delta,
    entropy,
    factors,
    grid,
    levels,
    library,
    loops,
    native,
    planes,
    portable,
    portable_entropy,
    residuals,
)
from mlver.codec.frames import Buffer
from mlver.codec.shapes import Coded, Cut, Expectation
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


def forms(raw: bytes, base: bytes, dtype: str) -> list[tuple[int, bytes]]:
    """Return both encodings of a chunk in every way, whichever would be chosen."""
    plain = against.plain_view(raw, dtype, base)
    steps = Expectation(None, 0, np.arange(-50, 50, dtype="<i2") * 300, 100, plain.exponent)
    views = [plain, plain._replace(expectation=steps, expected=residuals.expected(plain.base, steps))]
    found = [(codec.DELTA, b"".join(delta.encode(view))) for view in views]
    for cut in (levels.PLANE, levels.CODED):
        found += [(codec.LEVELS, b"".join(levels.encode(view, cut))) for view in views]
    if dtype in grid.MANTISSAS:
        found += [(codec.GRID, b"".join(grid.encode(view, dtype, columns))) for view in views for columns in (0, 50)]
    return found


def refused(encoding: int, data: bytes, raw_size: int, base: bytes) -> None:
    """Check that decoding fails as it must, and without allocating more than a little."""
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError):
            codec.decode(encoding, data, raw_size, base)
        # The tables of an entropy coder take 1 MiB, those of numpy 2.3, whatever a payload says.
        assert tracemalloc.get_traced_memory()[1] < 3 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", ["F32", "BF16", "I64", "U8"])
def test_cut_or_grown_payloads_are_refused(dtype: str) -> None:
    old = normal(3000)
    raw, base = (old + normal(3000, 1e-5, 1)).astype("<f4").tobytes(), old.tobytes()
    for encoding, stored in forms(raw, base, dtype):
        assert bytes(codec.decode(encoding, stored, len(raw), base)) == raw
        for end in range(0, len(stored), len(stored) // 20 + 1):
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


def i16(*values: int) -> bytes:
    return np.array(values, "<i2").tobytes()


def u32(*values: int) -> bytes:
    return np.array(values, "<u4").tobytes()


def test_the_layout_of_steps_is_that_of_the_document() -> None:
    # Bits 8 to 11 are the exponent; three columns, of steps that are units of 2 ** -14 at exponent -12.
    base = u16(0x0200, 0x0500, 0x8500, 0x0200, 0x0FFF)
    steps = bytes([0x42]) + u32(3) + bytes([8]) + u16(15) + i16(-12) + frame_of(i16(16, -24, 40))
    stored = steps + bytes([2, 2, 0, 2, 0]) + b"T"
    # 16 * 2 ** 14 / 2 ** (2 + 12) is 16; -24 at exponent 5 is -3, 40 is 5 and downwards in a negative element; then 16
    # again, and -24 at exponent 15 is -0.003, which rounds to 0.
    wanted = u16(0x0210, 0x04FD, 0x84FB, 0x0210, 0x0FFF) + b"T"
    assert bytes(codec.decode(codec.DELTA, stored, 11, base)) == wanted
    for end in range(len(stored)):
        refused(codec.DELTA, stored[:end], 11, base)
    for columns in (0, 6, 0xFFFFFFFF):
        refused(codec.DELTA, stored[:1] + u32(columns) + stored[5:], 11, base)
    refused(codec.DELTA, stored[:5] + bytes([16]) + stored[6:], 11, base)
    # Halves go up: -1.5 to -1, and 1.5 to 2.
    for step, wanted_step in [(-12, 0xFFFF), (12, 2)]:
        stored = bytes([0x42]) + u32(1) + bytes([8]) + u16(15) + i16(-12) + frame_of(i16(step)) + bytes([2, 2, 0, 2, 0])
        assert bytes(codec.decode(codec.DELTA, stored, 2, u16(0x0500))) == u16((0x0500 + wanted_step) & 0xFFFF)


def test_the_layout_of_levels_is_that_of_the_document() -> None:
    # Bits 4 to 7 are the exponent. Blocks of levels 3, 0 and 2, the last one of a single element.
    base = u16(0x10, 0x20, *[0x30] * 126, *[0x77] * 128, 0x10)
    head = bytes([2]) + bytes([4]) + u16(15) + i16(1) + bytes([2, 2]) + frame_of(bytes([3, 0, 2]))
    # Classes: 1 + 3 - 1 = 3, 1 + 3 - 2 = 2, then 126 times 1, which are coded; of the last block 1 + 2 - 1 = 2.
    sizes = u32(126, 2, 1)
    # Upper parts of the classes 3, 2 and 2: 5, an escape, 7. The first has a low bit.
    plane, low = bytes([0]) + bytes([5, 255, 7]), bytes([1])
    # Class 1 has symbols 0 and 63, a half each; class 0 none. One lane; its state codes 125 zeros and an escape.
    shares = bytes([2, 0, 64]) + u16(66) + b"\x80\x10" + bytes(62) + b"\x80\x10"
    states, words = portable_entropy.encode_symbols(
        np.full(126, 1, np.uint8), np.append(np.zeros(125, np.uint8), np.uint8(63)), table(1, {0: 2048, 63: 2048}), 1
    )
    coded = shares + u16(1) + states.tobytes() + u32(words.size) + words.tobytes()
    # The escapes in the order of the elements: 0x200 of the plane, 0x264 of the coded.
    escapes = bytes([2]) + bytes([0, 0]) + bytes([2, 2, 0x00, 0x64])
    stored = head + sizes + plane + coded + low + escapes + b"T"
    # Zigzag: 11 is -6, 0x200 is 0x100, 0x264 is 0x132, 7 is -4.
    wanted = u16(0x0A, 0x120, *[0x30] * 125, 0x162, *[0x77] * 128, 0x0C) + b"T"
    assert bytes(codec.decode(codec.LEVELS, stored, 515, base)) == wanted
    for end in range(len(stored)):
        refused(codec.LEVELS, stored[:end], 515, base)
    refused(codec.LEVELS, stored + b"\0", 515, base)
    refused(codec.LEVELS, stored, 513, base)
    at = len(head)
    for wrong in (
        u32(125, 2, 1), u32(127, 2, 1), u32(130, 2, 1), u32(126, 1, 1), u32(126, 3, 1), u32(126, 130, 1),
        u32(126, 2, 0), u32(126, 2, 2), u32(0xFFFFFFFF, 2, 1), u32(126, 0xFFFFFFFF, 1), u32(126, 2, 0xFFFFFFFF),
        u32(0, 2, 1),
    ):  # fmt: skip
        refused(codec.LEVELS, stored[:at] + wrong + stored[at + 12 :], 515, base)
    for place, value in [(0, 0x03), (1, 16), (6, 65), (7, 65), (len(head + sizes + plane + coded), 3)]:
        refused(codec.LEVELS, stored[:place] + bytes([value]) + stored[place + 1 :], 515, base)


def test_the_layout_of_grids_is_that_of_the_document() -> None:
    # Bits 8 to 14 are the exponent. Two columns; blocks of levels 1, 0 and 2, the last one of two elements.
    base = u16(0x0F10, 0, 0, 0, *[0x0F10] * 124, *[0x7777] * 128, 0x0F10, 0x8F10)
    head = bytes([2, 8]) + i16(47) + u32(2) + frame_of(bytes([0, 1])) + frame_of(bytes([1, 0, 2]))
    # Steps are 48 to 50, so grids begin at 12: there 0x0F10 is at 0x410, and 0x8835 at -0x13 with low bits of 5.
    # 0x8245 is at 0, 1 below the grid, with its mantissa and sign as low bits; 0 is an escape by its depth.
    wanted = u16(0x0F0F, 0x8835, 0x8245, 0, *[0x0F10] * 124, *[0x7777] * 128, 0x4F10, 0x8F12) + b"T"
    symbols = [1, 37, 0, 0, *[0] * 124, 63, 3, 1, 63]
    classes = [28, 41, 40, 41, *[28, 29] * 62, 29, 30, 44, 44]
    states, words = portable_entropy.encode_symbols(
        np.array(classes, np.uint8), np.array(symbols, np.uint8), grid.known_shares(), 1
    )
    coded = b"\0" + u16(1) + states.tobytes() + u32(words.size) + words.tobytes()
    low, escapes = bytes([0x55, 0x14]), bytes([2, 0, 0, 0x00, 0x4F, 0x00, 0x10])
    stored = head + u32(2, 2, 2) + coded + low + escapes + b"T"
    assert bytes(codec.decode(codec.GRID, stored, 517, base)) == wanted
    for end in range(len(stored)):
        refused(codec.GRID, stored[:end], 517, base)
    refused(codec.GRID, stored + b"\0", 517, base)
    refused(codec.GRID, stored, 515, base)
    at = len(head)
    for wrong in (u32(1, 2, 2), u32(3, 2, 2), u32(2, 1, 2), u32(2, 3, 2), u32(2, 2, 1), u32(2, 2, 3)):
        refused(codec.GRID, stored[:at] + wrong + stored[at + 12 :], 517, base)
    for wrong in (u32(0xFFFFFFFF, 2, 2), u32(2, 0xFFFFFFFF, 2), u32(2, 2, 0xFFFFFFFF)):
        refused(codec.GRID, stored[:at] + wrong + stored[at + 12 :], 517, base)
    for place, value in [(0, 8), (0, 3), (1, 0), (1, 15), (5, 1), (7, 1), (at + 13, 2), (len(head + coded) + 13, 0x34)]:
        refused(codec.GRID, stored[:place] + bytes([value]) + stored[place + 1 :], 517, base)


def test_known_tables_are_whole_and_have_every_symbol() -> None:
    shares = grid.known_shares()
    assert (shares.sum(axis=1) == 4096).all()
    assert shares.min() == 1
    means = (shares[:44, 1:].astype(int) * ((np.arange(1, 64) + 1) // 2)).sum(axis=1) / 4096
    # Rounding up the rare ones shows where nearly all are zero.
    assert means[20:40] == pytest.approx(np.exp2(np.arange(20, 40) / 4 - 8), abs=0.5)


def test_steps_beyond_the_exponents_are_cheaper_on_a_grid() -> None:
    rng = np.random.default_rng(0)
    old = (rng.normal(size=16_384) * 1e-3).astype("<f4")
    raw = (old + rng.normal(size=16_384) * 1e-3).astype("<f4").tobytes()
    encoded = codec.encode(raw, "F32", old.tobytes(), "balanced")
    plain = against.plain_view(raw, "F32", old.tobytes())
    assert encoded.encoding == codec.GRID
    assert encoded.size_bytes < 0.98 * sum(map(len, levels.encode(plain, levels.CODED)))
    # What a bell curve of known width leaves: bits below 2 ** -24 of each element, and those that say where it is.
    normal_bits = np.log2(np.sqrt(2 * np.pi * np.e) * 1e-3) - np.log2(np.spacing(np.abs(np.frombuffer(raw, "<f4"))))
    assert encoded.size_bytes * 8 < 1.006 * normal_bits.sum()


def table(number: int, shares: dict[int, int]) -> np.ndarray:
    """Return shares of one class."""
    found = np.zeros((64, 64), np.uint16)
    for symbol, share in shares.items():
        found[number, symbol] = share
    return found


def test_the_layout_of_casts_is_that_of_the_document() -> None:
    base = np.array([0x3F808000, 0x3F818000, 0x7F800001], "<u4").tobytes()
    stored = bytes(5) + bytes([2, 0, 0]) + bytes([0, 0, 0]) + bytes([0, 1, 2]) + b"T"
    # Ties go to even; NaN is 0x7FC0; residuals 0, -1, 1.
    assert bytes(codec.decode(codec.CAST, stored, 7, base)) == u16(0x3F80, 0x3F81, 0x7FC1) + b"T"
    assert bytes(codec.decode(codec.CAST, bytes([1]) + stored[1:], 7, base)) == u16(0x3F80, 0x3F80, 0x7F81) + b"T"
    skipping = bytes([0, 4, 0, 0, 0]) + stored[5:]
    assert bytes(codec.decode(codec.CAST, skipping, 7, b"skip" + base)) == u16(0x3F80, 0x3F81, 0x7FC1) + b"T"
    # What is skipped may be more than there is: then all elements are predicted from zeros.
    assert (
        bytes(codec.decode(codec.CAST, bytes([0, 255, 255, 255, 255]) + stored[5:], 7, base))
        == u16(0, 0xFFFF, 1) + b"T"
    )
    for wrong in (b"", bytes([7]) + stored[1:], bytes([2]) + stored[1:], stored[:-1], stored + b"\0", bytes([0])):
        refused(codec.CAST, wrong, 7, base)


def coded(classes: np.ndarray, symbols: np.ndarray) -> bytes:
    """Return the payload of symbols, after checking that it comes back."""
    stored = b"".join(map(bytes, entropy.encode(classes, symbols, (13, 64))))
    reader = planes.Reader(memoryview(stored))
    assert (entropy.decode(reader, classes) == symbols).all()
    reader.end()
    return stored


@pytest.mark.parametrize("count", [1, 2, 100, 16_383, 16_384, 16_385, 18_431, 18_432, 40_001])
def test_symbols_come_back(count: int) -> None:
    rng = np.random.default_rng(count)
    classes = rng.integers(0, 64, count).astype(np.uint8)
    for symbols in (
        np.zeros(count), np.full(count, 63), rng.integers(0, 64, count), np.minimum(rng.geometric(0.6, count) - 1, 63),
        np.arange(count) == count - 1,
    ):  # fmt: skip
        coded(classes, symbols.astype(np.uint8))


def test_symbols_cost_their_entropy() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 300_000).astype(np.uint8)
    odds = np.array([0.001, 0.02, 0.3])[classes]
    symbols = (rng.random(classes.size) < odds).astype(np.uint8)
    entropy_bits = -(odds * np.log2(odds) + (1 - odds) * np.log2(1 - odds)).sum()
    assert len(coded(classes, symbols)) < 1.02 * entropy_bits / 8 + 400
    assert len(coded(classes, np.zeros_like(symbols))) < 600


def test_symbols_that_say_what_cannot_be_are_refused() -> None:
    classes = np.array([0, 1, 1], np.uint8)
    head, shares = bytes([2, 1, 2]), b"\x80\x20\x80\x10\x80\x10"
    states, words = portable_entropy.encode_symbols(
        classes, np.array([0, 1, 0], np.uint8), table(0, {0: 4096}) + table(1, {0: 2048, 1: 2048}), 1
    )
    tail = u16(1) + states.tobytes() + u32(words.size) + words.tobytes()
    good = head + u16(6) + shares + tail
    assert entropy.decode(planes.Reader(memoryview(good)), classes).tolist() == [0, 1, 0]
    for wrong in (
        bytes([0]) + good[1:],
        bytes([65]) + good[1:],
        bytes([2, 1, 65]) + good[3:],
        bytes([2, 1, 3]) + good[3:],  # a share that is not there
        bytes([2, 1, 1]) + good[3:],
        head + u16(5) + shares[:5] + tail,  # half a share
        head + u16(6) + b"\x80\x80" + shares[2:] + tail,
        head + u16(6) + b"\x80\x21" + shares[2:] + tail,  # too much in all
        head + u16(6) + b"\x80\x1f" + shares[2:] + tail,
        head + u16(6) + shares + u16(0) + tail[2:],
        head + u16(6) + shares + u16(257) + tail[2:],
        head + u16(6) + shares + u16(1) + u32(int(states[0]) ^ 8) + tail[6:],
        head + u16(6) + shares + tail[:6] + u32(words.size + 1) + tail[10:] + b"xx",
        *(good[:end] for end in range(len(good))),
    ):
        with pytest.raises(IntegrityError):
            entropy.decode(planes.Reader(memoryview(wrong)), classes)


def test_heads_that_say_what_cannot_be_are_refused() -> None:
    base = u16(10, 0x1000, 7)
    rest = bytes([2, 0, 0]) + bytes(6)
    zeros = frame_of(bytes(256))
    assert bytes(codec.decode(codec.DELTA, bytes([0x82, 15]) + zeros + rest, 6, base)) == base
    refused(codec.DELTA, bytes([0x82, 16]) + zeros + rest, 6, base)
    # Residuals of four bytes for elements of two.
    refused(codec.DELTA, bytes([2]) + bytes([4, 0, 0, 0, 0]) + bytes(8), 8, u16(1, 2, 3, 4))


@pytest.mark.parametrize("lanes", [1, 5, 8, 16, 24, 64])
def test_words_and_shares_that_are_too_few_or_too_many_are_refused(lanes: int) -> None:
    symbols = np.random.default_rng(0).integers(0, 60, 4000).astype(np.uint8)
    classes = np.full(4000, 1, np.uint8)
    shares = np.zeros((64, 64), np.uint16)
    shares[1, :60] = 68
    shares[1, 60] = 16
    states, words = portable_entropy.encode_symbols(classes, symbols, shares, lanes)
    coded = Coded(np.empty(0, np.uint8), np.empty(0, np.uint8), states, words)
    decoded = loops.current.decode(classes, coded, shares)
    assert decoded is not None
    assert (decoded == symbols).all()
    for wrong in (words[:-1], words[1:], words[:0], words[:700], np.append(words, words[:1])):
        assert loops.current.decode(classes, coded._replace(words=wrong), shares) is None
    for share in (15, 17, 65535):
        shares[1, 60] = share
        assert loops.current.decode(classes, coded, shares) is None


def test_rows_that_went_the_same_way_cost_what_is_left() -> None:
    old = normal(MIB // 4).reshape(-1, 512)
    steps = normal(512, 1e-3, 1)
    raw = (old + steps + normal(MIB // 4, 1e-5, 2).reshape(old.shape)).astype("<f4").tobytes()
    plain, by_column = (
        codec.encode(raw, "F32", old.tobytes(), "balanced", columns=columns).size_bytes for columns in (0, 512)
    )
    assert by_column < plain - 0.1 * MIB
    assert cost(raw, "F32", old.tobytes(), "balanced").size_bytes == plain
    # What the columns say of rows that went each its own way is not stored.
    raw = (old + normal(MIB // 4, 1e-3, 2).reshape(old.shape)).astype("<f4").tobytes()
    plain, by_column = (
        codec.encode(raw, "F32", old.tobytes(), "balanced", columns=columns).size_bytes for columns in (0, 512)
    )
    assert by_column == plain


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
    assert (
        bytes(codec.decode(codec.CAST, bytes([number]) + bytes(4) + zeros, 2 * width, base.tobytes()))
        == predicted.tobytes()
    )


def merged(dtype: str, rows: int, columns: int, rank: int, scale: float = 1e-3) -> tuple[bytes, bytes]:
    """Return a matrix to which one of low rank was added, and the matrix it was added to."""
    old = normal(rows * columns).reshape(rows, columns)
    if dtype == "BF16":
        old = (old.view("<u4") & 0xFFFF0000).view("<f4")
    new = old + normal(rows * rank, scale, 1).reshape(rows, rank) @ normal(rank * columns, 1, 2).reshape(rank, columns)
    return (new.tobytes(), old.tobytes()) if dtype == "F32" else (bf16(new), bf16(old))


def of_rows(raw: bytes, dtype: str, base: bytes, effort: codec.Effort, columns: int, column: int = 0) -> int:
    encoded = codec.encode(raw, dtype, base, effort, columns=columns, column=column)
    assert bytes(codec.decode(encoded.encoding, payload(encoded), len(raw), base)) == raw
    return encoded.size_bytes


@pytest.mark.parametrize("effort", ["balanced", "max"])
@pytest.mark.parametrize(("dtype", "bar"), [("F32", 0.13), ("BF16", 0.12)])
def test_a_merged_adapter_costs_about_what_it_carries(dtype: str, bar: float, effort: codec.Effort) -> None:
    raw, base = merged(dtype, 400, 512, 8)
    assert of_rows(raw, dtype, base, effort, 512) < bar * len(raw)
    assert of_rows(raw, dtype, base, effort, 0) > 2 * bar * len(raw)
    # A chunk begins and ends somewhere in a row.
    width = len(raw) // (400 * 512)
    part = slice(700 * width, (399 * 512 + 5) * width)
    assert of_rows(raw[part], dtype, base[part], effort, 512, 700 - 512) < bar * len(raw)


def test_a_change_of_full_rank_has_no_factors() -> None:
    old, step = normal(400 * 512), normal(400 * 512, 1e-4, 3)
    raw = (old + step).astype("<f4").tobytes()
    assert factors.find(elements(raw), elements(old.tobytes()), "F32", 512, 0, 1 / 2) is None


@pytest.mark.parametrize("bits", [0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001])
@pytest.mark.parametrize("base_too", [False, True])
def test_infinities_and_nans_do_not_disturb_the_search_for_factors(bits: int, base_too: bool) -> None:
    raw, base = merged("F32", 400, 512, 8)
    for where in (0, 300 * 512 + 7, 400 * 512 - 1):
        changed, old = (np.frombuffer(each, "<u4").copy() for each in (raw, base))
        changed[where] = bits
        if base_too:
            old[where] = 0x7F800000
        of_rows(changed.tobytes(), "F32", old.tobytes(), "balanced", 512)
        of_rows(changed.tobytes(), "F32", old.tobytes(), "balanced", 512, 500)


def elements(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<u4")


def test_the_layout_of_factors_is_that_of_the_document() -> None:
    # Two columns, beginning with the second; rank 1; in eighths. Three integers of the rows, then two of the columns.
    base = np.array([1, 2, -1, np.inf], "<f4").tobytes()
    numbers = [3, -2, 1, 1000, 500]
    zigzag = np.array([2 * n if n >= 0 else -2 * n - 1 for n in numbers], "<u4")
    planes_of = b"".join(planes.encode(zigzag.data.cast("B"), 4, False))
    head = bytes([0]) + u32(2, 1) + bytes([1]) + i16(-3) + u32(len(planes_of)) + planes_of
    rest = bytes([4, 2, 0, 2, 0, 2, 0, 2, 0])
    wanted = np.array([1 + 1500 / 8, 2 - 2000 / 8, -1 - 1000 / 8, np.inf], "<f4").tobytes()

    def stored(head: bytes, flags: int = 0x24) -> bytes:
        return bytes([flags]) + head + rest

    assert len(numbers) > 4, "more integers than elements"
    refused(codec.DELTA, stored(head), 16, base)
    base, wanted = base + bytes(4), wanted + np.float32(500 / 8).tobytes()
    assert bytes(codec.decode(codec.DELTA, stored(head), 20, base)) == wanted
    for end in range(len(stored(head))):
        refused(codec.DELTA, stored(head)[:end], 20, base)
    for flags in (0x20, 0x22, 0x28, 0xA4, 0x64, 0x34):
        refused(codec.DELTA, stored(head, flags), 20, base)
    for place, wrong in [(0, 1), (0, 2), (1, 1), (1, 6), (5, 2), (9, 0), (9, 65), (9, 2)]:
        refused(codec.DELTA, stored(head[:place] + bytes([wrong]) + head[place + 1 :]), 20, base)
    for exponent in (-1001, 101):
        refused(codec.DELTA, stored(head[:10] + i16(exponent) + head[12:]), 20, base)
    large = b"".join(planes.encode(np.array([1 << 24 | 2, 0, 0, 0, 0], "<u4").data.cast("B"), 4, False))
    refused(codec.DELTA, stored(head[:12] + u32(len(large)) + large), 20, base)


needs_kernel = pytest.mark.skipif(not library.is_available(), reason="the kernel was not compiled: dev/build")


def assert_coded_alike(
    classes: np.ndarray, symbols: np.ndarray, numbers: tuple[int, int], lanes: int, known: np.ndarray | None = None
) -> Coded:
    found = native.code(classes, symbols, *numbers, lanes, known)
    wanted = portable.code(classes, symbols, *numbers, lanes, known)
    assert [part.tolist() for part in found] == [part.tolist() for part in wanted]
    for loop in (native, portable):
        decoded = loop.decode(classes, found, known)
        assert decoded is not None
        assert (decoded == symbols).all()
    return found


@needs_kernel
@pytest.mark.parametrize("lanes", [1, 8, 16, 24, 48, 256])
@pytest.mark.parametrize("count", [1, 255, 4096, 9001])
def test_symbols_are_the_same_by_both_implementations(lanes: int, count: int) -> None:
    rng = np.random.default_rng(lanes)
    classes = rng.integers(0, 20, count).astype(np.uint8)
    symbols = np.minimum(rng.geometric(1 / (1 + classes)) - 1, 63).astype(np.uint8)
    assert (native.count(classes, symbols) == portable.count(classes, symbols)).all()
    assert_coded_alike(classes, symbols, (13, 64), lanes)


@needs_kernel
@pytest.mark.parametrize("numbers", [(13, 64), (1, 1), (64, 64)])
@pytest.mark.parametrize("count", [1, 30, 5_000, 400_000])
def test_tables_are_the_same_by_both_implementations(numbers: tuple[int, int], count: int) -> None:
    rng = np.random.default_rng(count)
    of_class = rng.permutation(rng.exponential(1, 64) * (np.arange(64) > 8))
    classes = rng.choice(64, count, p=of_class / of_class.sum()).astype(np.uint8)
    width = np.append(rng.uniform(0.1, 20, 55), np.zeros(9))
    symbols = np.minimum(rng.exponential(1, count) * width[classes], 63).astype(np.uint8)
    coded = assert_coded_alike(classes, symbols, numbers, 16)
    assert coded.stored.size <= numbers[1]
    stored_bytes = coded.written.nbytes + coded.words.nbytes
    assert stored_bytes >= entropy.bits(portable.count(classes, symbols)) / 8 * 0.99 - 2 * 16


@needs_kernel
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("count", [40, 3_000, 200_000])
def test_known_shares_are_taken_where_they_make_less(scale: float, count: int) -> None:
    rng = np.random.default_rng(count)
    known = grid.known_shares()
    classes = rng.integers(24, 40, count).astype(np.uint8)
    odds = known[classes].astype(float)
    symbols = (rng.random(count)[:, None] * 4096 >= np.cumsum(odds, axis=1)).sum(axis=1)
    symbols = np.minimum(symbols * scale, 63).astype(np.uint8)
    coded = assert_coded_alike(classes, symbols, (64, 64), 8, known)
    # Those that are as foretold need no table, however many; of others a few do not pay for one.
    assert (coded.stored.size == 0) == (scale == 1.0 or count == 40)
    assert coded.written.size == 0 or coded.stored.size > 0
    missing = known.copy()
    missing[classes[0], symbols[0]] = 0
    assert assert_coded_alike(classes, symbols, (64, 64), 8, missing).stored.size > 0


@needs_kernel
@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
@pytest.mark.parametrize(("rows", "columns", "steps"), [(9, 16, (1, 1)), (100, 700, (11, 2)), (40, 33, (3, 1))])
def test_agreement_is_the_same_by_both_implementations(
    dtype: str, rows: int, columns: int, steps: tuple[int, int]
) -> None:
    rng = np.random.default_rng(rows)
    base = rng.integers(0, 1 << 16, rows * columns + 5).astype(dtype) << (16 if dtype == "<u4" else 0)
    new = base + rng.integers(0, 3, base.size).astype(dtype) - base.dtype.type(1)
    found = {loop.agreement(new, base, columns, *steps) for loop in (native, portable)}
    assert len(found) == 1
    assert 0 < found.pop() < rows * columns
    base |= base.dtype.type(1 << (8 * base.itemsize - 1))  # negative ones, whose bits grow as they fall
    looked_at = -(-rows // steps[0]) * -(-columns // steps[1])
    for loop in (native, portable):
        assert loop.agreement(base - base.dtype.type(1), base, columns, *steps) == looked_at


@needs_kernel
@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16", "I16", "F64", "I8"])
@pytest.mark.parametrize("cut", [levels.PLANE, levels.CODED, Cut(2, 8), Cut(0, 5)])
@pytest.mark.parametrize("moved", [1e-6, 1e-3, 0.3])
def test_residuals_are_sorted_the_same_by_both_implementations(
    monkeypatch: pytest.MonkeyPatch, dtype: str, cut: Cut, moved: float
) -> None:
    rng = np.random.default_rng(7)
    old = rng.normal(size=4000) * np.exp(rng.normal(size=4000) * 3)
    new = old + rng.normal(size=4000) * moved
    kind = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I16": "<i2", "I8": "i1"}.get(dtype)
    raw, base = (bf16(each) if kind is None else (each % 100).astype(kind).tobytes() for each in (new, old))
    written = []
    for loop in (native, portable):
        monkeypatch.setattr(loops, "current", loop)
        written.append(b"".join(levels.encode(against.plain_view(raw, dtype, base), cut)))
    assert written[0] == written[1]
    for loop in (native, portable):
        monkeypatch.setattr(loops, "current", loop)
        assert bytes(levels.decode(written[0], len(raw), base)) == raw
        assert levels.decodes_to([written[0]], raw, base)


@pytest.mark.parametrize("effort", ["fast", "balanced"])
@pytest.mark.parametrize("dtype", ["F32", "BF16"])
@pytest.mark.parametrize("with_base", [True, False])
def test_chunk_follows_the_one_before_it_where_that_suits_it(effort: codec.Effort, dtype: str, with_base: bool) -> None:
    def chunk(seed: int, moved: float) -> tuple[bytes, bytes]:
        old = normal(MIB // 2, seed=seed)
        new = old + normal(MIB // 2, moved, seed + 1)
        return (new.tobytes(), old.tobytes()) if dtype == "F32" else (bf16(new), bf16(old))

    def encode(pair: tuple[bytes, bytes], choice: codec.Choice | None) -> codec.Encoded:
        raw, base = pair[0], pair[1] if with_base else None
        encoded = codec.encode(raw, dtype, base, effort, choice=choice)
        assert codec.decodes_to(encoded, raw, base if encoded.encoding in codec.BASE_ENCODINGS else None)
        assert bytes(codec.decode(encoded.encoding, payload(encoded), len(raw), base)) == raw
        return encoded

    first = encode(chunk(0, 1e-4), None)
    assert first.choice is not None
    alike = encode(chunk(2, 1e-4), first.choice)
    assert alike.choice is first.choice
    assert alike.size_bytes == pytest.approx(encode(chunk(2, 1e-4), None).size_bytes, rel=1e-3)
    other = (bytes(2 * MIB), bytes(range(256)) * (2 * MIB // 256))
    assert encode(other, first.choice).size_bytes == encode(other, None).size_bytes


@pytest.mark.parametrize(
    ("dtype", "kind", "scale", "step", "encoding"),
    [
        ("F32", "<f4", 1, 1e-3, codec.GRID),
        ("F64", "<f8", 1, 1e-3, codec.LEVELS),
        ("I32", "<i4", 1000, 3, codec.DELTA),
    ],
    ids=["grid", "levels", "delta"],
)
def test_a_vector_follows_that_of_another_layer_and_a_small_matrix_none(
    dtype: str, kind: str, scale: float, step: float, encoding: int
) -> None:
    def layer(seed: int) -> tuple[bytes, bytes]:
        old, moves = (np.random.default_rng(seed + more).normal(size=4096) for more in (0, 1))
        return (old * scale + moves * step).astype(kind).tobytes(), (old * scale).astype(kind).tobytes()

    def encode(pair: tuple[bytes, bytes], choice: codec.Choice | None, columns: int = 0) -> codec.Encoded:
        raw, base = pair
        encoded = codec.encode(raw, dtype, base, "balanced", columns=columns, choice=choice)
        assert codec.decodes_to(encoded, raw, base)
        return encoded

    first = encode(layer(0), None)
    assert (first.encoding, first.choice is None) == (encoding, False)
    followed, afresh = encode(layer(2), first.choice), encode(layer(2), None)
    assert (followed.encoding, followed.choice is first.choice) == (encoding, True)
    assert followed.size_bytes == pytest.approx(afresh.size_bytes, rel=0.05)
    assert encode(layer(0), None, columns=32).choice is None
    assert encode(layer(2), first.choice, columns=32).choice is None
    still = (layer(2)[1],) * 2
    assert encode(still, first.choice).size_bytes == encode(still, None).size_bytes


def test_a_large_chunk_is_on_no_grid_as_a_small_one_is() -> None:
    old = normal(MIB // 2, seed=0)
    raw = (old + normal(MIB // 2, 1e-3, 1)).tobytes()
    small = codec.encode(raw[:16384], "F32", old[:4096].tobytes(), "balanced")
    assert small.choice is not None
    assert small.encoding == codec.GRID
    followed = codec.encode(raw, "F32", old.tobytes(), "balanced", choice=small.choice)
    assert payload(followed) == payload(codec.encode(raw, "F32", old.tobytes(), "balanced"))


def test_chunk_with_a_base_follows_none_that_had_none() -> None:
    old = normal(MIB // 2, seed=0)
    alone = codec.encode(old.tobytes(), "F32", None, "balanced")
    assert alone.choice is not None
    raw = (old + normal(MIB // 2, 1e-4, 1)).tobytes()
    afresh = codec.encode(raw, "F32", old.tobytes(), "balanced")
    followed = codec.encode(raw, "F32", old.tobytes(), "balanced", choice=alone.choice)
    assert followed.encoding == afresh.encoding
    assert followed.encoding in codec.BASE_ENCODINGS
    assert payload(followed) == payload(afresh)


@pytest.mark.parametrize(("part", "about"), [(0.8, 0.1), (0.4, 0.05), (0.1, 0.05), (0.0, 0.05)])
def test_a_chunk_may_take_a_little_more_or_less_than_the_one_before_it(part: float, about: float) -> None:
    choice, size = codec.Choice(codec.LEVELS, part), 1 << 20
    assert all(choice.foretold(int(size * (part + sign * about * 0.99)), size) for sign in (-1, 1))
    assert not any(choice.foretold(int(size * (part + sign * about * 1.01)), size) for sign in (-1, 1))


def test_a_plane_is_not_stored_as_the_one_before_it_where_that_gains_nothing() -> None:
    """Of noise no frame is made though the plane before it was one: it is found out anew what suits."""
    rng = np.random.default_rng(0)
    repeated = np.tile(np.frombuffer(rng.bytes(999), np.uint8), 100)
    noise = np.frombuffer(rng.bytes(repeated.size), np.uint8)
    stored: list[Buffer] = []
    method = planes.store(repeated, bytearray(), stored)
    assert method.parameters
    again = planes.store(noise, bytearray(), stored, method)
    assert again == planes.store(noise, bytearray(), [], None)
    assert bytes(stored[-1]) == noise.tobytes()


def test_chunk_follows_in_the_table_of_the_one_before_it() -> None:
    def decayed(seed: int) -> tuple[bytes, bytes]:
        old = normal(MIB // 4, seed=seed)
        return (old * np.float32(1 - 1e-5)).tobytes(), old.tobytes()

    raw, base = decayed(0)
    first = codec.encode(raw, "F32", base, "balanced")
    assert first.choice is not None
    assert first.choice.has_table
    raw, base = decayed(1)
    assert codec.encode(raw, "F32", base, "balanced", choice=first.choice).choice is first.choice


def test_chunk_whose_columns_moved_alike_follows_none() -> None:
    def moved(seed: int) -> tuple[bytes, bytes]:
        old = normal(MIB // 4, seed=seed)
        steps = np.tile(normal(512, 1e-4, seed + 1), MIB // 4 // 512) * (1 + normal(MIB // 4, 0.05, seed + 2))
        return (old + steps).tobytes(), old.tobytes()

    raw, base = moved(0)
    first = codec.encode(raw, "F32", base, "balanced", columns=512)
    assert first.choice is not None
    assert first.choice.has_steps
    raw, base = moved(2)
    plain = first.choice._replace(has_steps=False)
    afresh = codec.encode(raw, "F32", base, "balanced", columns=512)
    for choice in (first.choice, plain):
        followed = codec.encode(raw, "F32", base, "balanced", columns=512, choice=choice)
        assert followed.choice is not choice
        assert followed.size_bytes == afresh.size_bytes
