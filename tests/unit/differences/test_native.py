"""The compiled sums against float64, and that whatever they do not know is left to NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlver.differences import native
from mlver.differences.elements import decode
from mlver.differences.magnitude import measure, measure_unchanged

pytestmark = pytest.mark.skipif(native.current is None, reason="there was no compiler")


@pytest.fixture(params=[native.LIBRARY, native.LIBRARY_AVX2], ids=["any", "avx2"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each library that runs on this machine takes its turn."""
    plain = native.load(native.LIBRARY)
    assert plain is not None
    if request.param == native.LIBRARY_AVX2 and not plain["has_avx2"]():
        pytest.skip("this machine has no AVX2")
    monkeypatch.setattr(native, "current", native.load(request.param))


def made(dtype: str, count: int, seed: int, scale: float = 0.05) -> bytes:
    floats = (np.random.default_rng(seed).normal(size=count) * scale).astype("f4")
    return floats.tobytes() if dtype == "F32" else (floats.view("u4") >> 16).astype("u2").tobytes()


def check(before: bytes, after: bytes, dtype: str) -> None:
    found = native.compare(before, after, dtype)
    assert found is not None
    old, new = (decode(raw, dtype).astype("f8") for raw in (before, after))
    bits = "u4" if dtype == "F32" else "u2"
    assert found.elements == len(old)
    assert found.changed == np.count_nonzero(np.frombuffer(before, bits) != np.frombuffer(after, bits))
    sums = [np.dot(old, old), np.dot(new, new), np.dot(new - old, new - old)]
    assert found[2:5] == pytest.approx(sums, rel=1e-12)
    assert found.product == pytest.approx(float(np.dot(old, new)), rel=1e-12, abs=1e-12 * (sums[0] * sums[1]) ** 0.5)
    assert found.max_abs == np.abs(new - old).max(initial=0.0)
    assert found[7:] == (0, 0, 0, 0)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("dtype", ["F32", "BF16"])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 8, 9, 1000, 262_144, 300_001])
def test_sums_are_those_of_float64(dtype: str, count: int) -> None:
    before, after = made(dtype, count, 1), made(dtype, count, 2)
    check(before, after, dtype)
    check(before, before, dtype)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e30, 3e37])
def test_squares_that_float32_cannot_hold(scale: float) -> None:
    check(made("F32", 1001, 3, scale), made("F32", 1001, 4, scale), "F32")


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("place", range(9))
def test_the_largest_step_is_found_at_every_place(place: int) -> None:
    before = np.zeros(9, "f4")
    for step in (7.5, -7.5):
        after = before.copy()
        after[place] = step
        check(before.tobytes(), after.tobytes(), "F32")


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("place", [0, 3, 8])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinities_are_left_to_numpy(place: int, value: float) -> None:
    before = np.ones(9, "f4")
    after = before.copy()
    after[place] = value
    for pair in ((before, after), (after, before), (after, after)):
        assert native.compare(pair[0].tobytes(), pair[1].tobytes(), "F32") is None
    found = measure(before.tobytes(), after.tobytes(), "F32", "F32")
    assert (found.changed, found.to_nan + found.to_inf, found.from_square) == (1, 1, 8.0)
    assert measure_unchanged(after.tobytes(), "F32").appeared == 0


@pytest.mark.usefixtures("kernel")
def test_any_address_will_do() -> None:
    before, after = made("F32", 1001, 5), made("F32", 1001, 6)
    shifted = memoryview(b"x" + before)[1:], memoryview(b"xyz" + after)[3:]
    assert native.compare(shifted[0], shifted[1], "F32") == native.compare(before, after, "F32")


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(("before", "after"), [(b"1234", b"12345678"), (b"123456", b"123456")])
def test_sizes_that_cannot_be_are_refused_before_anything_is_read(before: bytes, after: bytes) -> None:
    with pytest.raises(ValueError, match="not as many elements"):
        native.compare(before, after, "F32")


def test_other_types_and_a_missing_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert native.compare(b"12345678", b"12345678", "F64") is None
    assert native.load(tmp_path / "none.so") is None
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"no library")
    assert native.load(broken) is None
    raw: tuple[Any, Any] = made("F32", 40_000, 7), made("F32", 40_000, 8)
    compiled = measure(*raw, "F32", "F32")
    monkeypatch.setattr(native, "current", None)
    assert native.compare(*raw, "F32") is None
    assert measure(*raw, "F32", "F32") == pytest.approx(compiled, rel=1e-6, abs=1e-6)
