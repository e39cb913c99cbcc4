"""Figures against the same computed in float64, element by element decoded in plain Python.

All of it with the compiled kernel, if there is one, and without.
"""

from __future__ import annotations

import functools
import math
import struct
from typing import Any

import numpy as np
import pytest

from mlver.differences import native
from mlver.differences.element_kinds import Kind, element_bits, kind_of
from mlver.differences.elements import decode
from mlver.differences.figures import Figures
from mlver.differences.magnitude import measure, measure_all, measure_unchanged

Array = np.ndarray[Any, Any]
NUMPY = {
    "F32": "f4", "F64": "f8", "F16": "f2", "I8": "i1", "U8": "u1", "I16": "i2", "U16": "u2", "I32": "i4", "U32": "u4",
    "I64": "i8", "U64": "u8", "C64": "c8", "C128": "c16",
}  # fmt: skip
MINI = {"F8_E4M3": (4, 3), "F8_E5M2": (5, 2), "F8_E4M3FNUZ": (4, 3), "F8_E5M2FNUZ": (5, 2), "F4": (2, 1)}
PACKED = {"F4", "U4", "I4", "U2", "I2"}
ALL = [*NUMPY, "BOOL", "BF16", "F8_E8M0", *MINI, "U4", "I4", "U2", "I2"]


@pytest.fixture(autouse=True, params=["numpy", "kernel"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the kernel does what it can."""
    if request.param == "numpy":
        monkeypatch.setattr(native, "current", None)
    elif native.current is None:
        pytest.skip("there was no compiler")


def scalar(pattern: int, dtype: str) -> float:
    """Return the value of one bit pattern, from the definition of the type."""
    if dtype == "BF16":
        return float(struct.unpack("<f", struct.pack("<I", pattern << 16))[0])
    if dtype == "F8_E8M0":
        return math.nan if pattern == 255 else 2.0 ** (pattern - 127)
    if dtype[0] in "UI":
        bits = element_bits(dtype)
        return pattern - (1 << bits) if dtype[0] == "I" and pattern >> (bits - 1) else pattern
    exponent_bits, mantissa_bits = MINI[dtype]
    unsigned_zero = dtype.endswith("FNUZ")
    bias = (1 << (exponent_bits - 1)) - (not unsigned_zero)
    sign = -1 if pattern >> (exponent_bits + mantissa_bits) else 1
    exponent, mantissa = pattern >> mantissa_bits & (1 << exponent_bits) - 1, pattern & (1 << mantissa_bits) - 1
    top = (1 << exponent_bits) - 1
    if unsigned_zero and sign < 0 and not exponent and not mantissa:
        return math.nan
    if dtype == "F8_E4M3" and exponent == top and mantissa == 7:
        return math.nan
    if dtype == "F8_E5M2" and exponent == top:
        return math.nan if mantissa else sign * math.inf
    fraction = mantissa / (1 << mantissa_bits) + (exponent > 0)
    return float(sign * fraction * 2.0 ** (max(exponent, 1) - bias))


@functools.lru_cache(8)
def patterns(raw: bytes, dtype: str) -> list[int]:
    bits = element_bits(dtype)
    if bits < 8:
        return [byte >> shift & (1 << bits) - 1 for byte in raw for shift in range(0, 8, bits)]
    return [int.from_bytes(raw[at : at + bits // 8], "little") for at in range(0, len(raw), bits // 8)]


@functools.lru_cache(8)
def wide(raw: bytes, dtype: str) -> Array:
    """Return the elements as float64, or complex128."""
    if dtype == "BOOL":
        return np.asarray(np.not_equal(np.frombuffer(raw, "u1"), 0), "f8")
    if dtype in NUMPY:
        array = np.frombuffer(raw, NUMPY[dtype])
        return np.asarray(array, "c16" if dtype[0] == "C" else "f8")
    return np.array([scalar(pattern, dtype) for pattern in patterns(raw, dtype)], dtype="f8")


def made(dtype: str, count: int, seed: int) -> bytes:
    """Return the bytes of `count` elements like those of weights."""
    random = np.random.default_rng(seed)
    values = random.normal(scale=0.05, size=count)
    if dtype in ("F32", "F64", "F16"):
        return values.astype(NUMPY[dtype]).tobytes()
    if dtype == "BF16":
        return (values.astype("f4").view("u4") >> 16).astype("u2").tobytes()
    if dtype[0] == "C":
        return (values + 1j * random.normal(size=count)).astype(NUMPY[dtype]).tobytes()
    if dtype == "BOOL":
        return random.integers(0, 2, count).astype("u1").tobytes()
    size_bytes = count * element_bits(dtype) // 8
    raw = random.integers(0, 256, size_bytes).astype("u1")
    if dtype.startswith("F8_E8"):
        raw = 120 + raw % 16
    elif dtype.startswith("F8"):
        raw &= 0xBB  # neither NaN nor infinite: one bit of the exponent is never set
        raw[raw == 0x80] = 0  # NaN in some
    elif dtype in ("I64", "U64"):
        raw.reshape(-1, 8)[:, 5:] = 0  # float64 holds these
    return raw.tobytes()


def agree(figures: Figures, before: Array, after: Array) -> None:
    """Check figures of finite elements against float64, to a millionth."""
    delta = after - before
    norm = float(np.linalg.norm(before))
    expected = float(np.linalg.norm(delta)) / norm if norm else (math.inf if np.any(delta) else 0.0)
    assert figures.elements == len(before)
    assert figures.relative_change == pytest.approx(expected, rel=1e-6)
    assert figures.max_abs == pytest.approx(float(np.abs(delta).max(initial=0)), rel=1e-6)
    if norm and np.any(after):
        cosine = np.vdot(before, after).real / (norm * np.linalg.norm(after))
        assert figures.cosine == pytest.approx(float(cosine), rel=1e-6, abs=1e-9)
    else:
        assert figures.cosine is None


@pytest.mark.parametrize(
    ("dtype", "count"),
    [*((dtype, count) for dtype in ALL for count in (0, 4, 1000, 20_480)), *((dtype, 100_000) for dtype in NUMPY)],
)
def test_figures_agree_with_float64(dtype: str, count: int) -> None:
    before, after = made(dtype, count, 1), made(dtype, count, 2)
    figures = measure(before, after, dtype, dtype)
    agree(figures, wide(before, dtype), wide(after, dtype))
    if dtype in PACKED:
        assert figures.changed == np.count_nonzero(wide(before, dtype) != wide(after, dtype))
    else:
        assert figures.changed == sum(map(int.__ne__, patterns(before, dtype), patterns(after, dtype)))
    unchanged = measure_unchanged(before, dtype)
    agree(unchanged, wide(before, dtype), wide(before, dtype))
    assert unchanged.changed == 0


@pytest.mark.parametrize("dtype", [name for name in ALL if name not in NUMPY])
def test_every_bit_pattern_is_decoded(dtype: str) -> None:
    raw = np.arange(1 << 16, dtype="<u2").tobytes() if dtype == "BF16" else bytes(range(256))
    np.testing.assert_array_equal(decode(raw, dtype), wide(raw, dtype))


def test_the_largest_numbers_of_eight_bits_are_those_of_their_definitions() -> None:
    largest = {name: np.nanmax(decode(bytes(range(128)), name)) for name in MINI}
    assert largest == {"F8_E4M3": 448, "F8_E5M2": np.inf, "F8_E4M3FNUZ": 240, "F8_E5M2FNUZ": 57344, "F4": 6}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *(("F32", "BF16"), ("BF16", "F32"), ("F64", "F16"), ("F32", "F8_E4M3"), ("I64", "F32"), ("U8", "I64")),
        *(("U64", "I64"), ("C64", "F32"), ("F4", "F32"), ("I4", "I8"), ("BOOL", "U8")),
    ],
)
def test_recast_elements_are_compared_by_value(before: str, after: str) -> None:
    old, new = made(before, 20_480, 3), made(after, 20_480, 4)
    figures = measure(old, new, before, after)
    agree(figures, wide(old, before), wide(new, after))
    assert figures.changed == np.count_nonzero(wide(old, before) != wide(new, after))


def test_casting_back_and_forth_changes_nothing() -> None:
    halves = made("F16", 5000, 5)
    floats = wide(halves, "F16").astype("f4").tobytes()
    assert measure(halves, floats, "F16", "F32").changed == 0


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-3, 0.7, 1.1, 123.456])
@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
def test_equal_elements_do_not_add_up_their_rounding(dtype: str, value: float) -> None:
    def full(number: float) -> bytes:
        floats = np.full(1 << 18, number, "f4")
        return {"F32": floats, "F16": floats.astype("f2"), "BF16": (floats.view("u4") >> 16).astype("u2")}[
            dtype
        ].tobytes()

    before, after = full(value), full(value * 1.25)
    old, new = (np.full(1 << 18, wide(raw[: element_bits(dtype) // 8], dtype)[0]) for raw in (before, after))
    agree(measure(before, after, dtype, dtype), old, new)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-12, 1e12, 1e19, 1e37])
def test_squares_that_float32_cannot_hold(scale: float) -> None:
    old, new = (np.frombuffer(made("F32", 40_000, seed), "f4") * np.float32(scale) for seed in (6, 7))
    agree(measure(old.tobytes(), new.tobytes(), "F32", "F32"), old.astype("f8"), new.astype("f8"))
    agree(measure_unchanged(old.tobytes(), "F32"), old.astype("f8"), old.astype("f8"))


def test_a_change_too_small_for_the_squares_of_float32() -> None:
    old = np.zeros(40_000, "f4")
    old[0] = 1
    new = old.copy()
    new[1:] = 1e-25
    agree(measure(old.tobytes(), new.tobytes(), "F32", "F32"), old.astype("f8"), new.astype("f8"))


@pytest.mark.parametrize("scales", [(1e-25, 1), (1, 1e-25), (1e19, 1)])
def test_only_one_side_has_such_squares(scales: tuple[float, float]) -> None:
    old, new = (np.frombuffer(made("F32", 40_000, 6), "f4") * np.float32(scale) for scale in scales)
    agree(measure(old.tobytes(), new.tobytes(), "F32", "F32"), old.astype("f8"), new.astype("f8"))


@pytest.mark.parametrize("count", [100, 40_000])
@pytest.mark.parametrize("dtype", ["F32", "F64", "BF16", "F16", "C64"])
def test_zeros(dtype: str, count: int) -> None:
    zeros, ones = bytes(count * element_bits(dtype) // 8), made(dtype, count, 8)
    assert measure(zeros, ones, dtype, dtype).relative_change == math.inf
    assert measure(ones, zeros, dtype, dtype).relative_change == pytest.approx(1)
    assert measure(ones, zeros, dtype, dtype).cosine is None
    assert measure(zeros, zeros, dtype, dtype) == Figures(elements=count)
    assert measure_unchanged(zeros, dtype) == Figures(elements=count)


def test_a_zero_that_changed_its_sign_changed() -> None:
    figures = measure(struct.pack("<2f", 0.0, 1.0), struct.pack("<2f", -0.0, 1.0), "F32", "F32")
    assert (figures.changed, figures.relative_change, figures.changed_fraction) == (1, 0.0, 0.5)


@pytest.mark.parametrize("count", [8, 40_000])
@pytest.mark.parametrize("dtype", ["F32", "F64", "F16"])
def test_nan_and_infinities_are_counted_and_left_out(dtype: str, count: int) -> None:
    old, new = (np.frombuffer(made(dtype, count, seed), NUMPY[dtype]).copy() for seed in (9, 10))
    old[0], old[1], new[1], new[2], new[3], new[4] = np.nan, np.inf, np.inf, np.nan, -np.inf, np.nan
    figures = measure(old.tobytes(), new.tobytes(), dtype, dtype)
    assert (figures.from_nan, figures.from_inf, figures.to_nan, figures.to_inf) == (1, 1, 2, 2)
    assert figures.appeared == 2
    kept = np.isfinite(old) & np.isfinite(new)
    agree(figures._replace(elements=int(kept.sum())), old[kept].astype("f8"), new[kept].astype("f8"))
    assert figures.changed == count - np.count_nonzero(old == new)
    assert old[1] == new[1]
    same = measure_unchanged(new.tobytes(), dtype)
    assert (same.from_nan, same.to_nan, same.from_inf, same.to_inf, same.appeared) == (2, 2, 2, 2, 0)


@pytest.mark.parametrize("count", [8, 40_000])
@pytest.mark.parametrize("dtype", ALL)
def test_elements_of_any_bits_are_measured_without_a_word(dtype: str, count: int) -> None:
    before, after = (np.random.default_rng(seed).bytes(count * element_bits(dtype) // 8) for seed in (1, 2))
    assert measure(before, after, dtype, dtype).elements == count
    assert measure(np.random.default_rng(3).bytes(4 * count), after, "F32", dtype).elements == count
    assert measure_unchanged(before, dtype).changed == 0


def test_a_nan_that_stayed_did_not_change() -> None:
    both = struct.pack("<2f", math.nan, 1.0)
    assert measure(both, both, "F32", "F32").changed == 0
    assert measure(both, struct.pack("<2d", math.nan, 1.0), "F32", "F64").changed == 0


def test_steps_of_large_integers_are_not_lost() -> None:
    old, new = (struct.pack("<3q", 1 << 62, -(1 << 63), 5) for _ in range(2))
    new = struct.pack("<3q", (1 << 62) + 1, (1 << 63) - 1, 5)
    figures = measure(old, new, "I64", "I64")
    assert (figures.changed, figures.max_abs) == (2, float((1 << 64) - 1))
    assert measure(struct.pack("<Q", (1 << 64) - 1), struct.pack("<Q", (1 << 64) - 2), "U64", "U64").max_abs == 1


def test_of_unknown_types_only_bytes_are_told() -> None:
    assert kind_of("Q4_K") is Kind.BYTES
    assert measure(b"abcd", b"abxd", "Q4_K", "Q4_K") == Figures(elements=4, changed=1)
    assert measure_unchanged(b"abcd", "Q4_K") == Figures(elements=4)


def test_parts_add_up_to_the_whole() -> None:
    before, after = made("F32", 600_000, 11), made("F32", 600_000, 12)
    agree(measure_all(before, after, "F32", "F32"), wide(before, "F32"), wide(after, "F32"))
    recast = made("F16", 600_000, 12)
    agree(measure_all(before, recast, "F32", "F16"), wide(before, "F32"), wide(recast, "F16"))


def test_what_lies_at_an_odd_address_is_read_all_the_same() -> None:
    before, after = made("F32", 40_000, 13), made("F32", 40_000, 14)
    shifted = memoryview(b"x" + before)[1:]
    assert measure(shifted, after, "F32", "F32") == measure(before, after, "F32", "F32")
