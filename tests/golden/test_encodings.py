"""docs/format.md suffices to decode what is stored with a base: the second reader gives back what the codec wrote."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mlver import codec
from mlver.codec import against, delta, grid, levels, residuals
from mlver.codec.shapes import Cut, Expectation, Factors
from tests.golden import reader

COUNT = 3001
WIDTHS = {"F32": 4, "BF16": 2, "F64": 8, "I16": 2, "U8": 1}


def elements(dtype: str, scale: float) -> tuple[bytes, bytes]:
    """Return a chunk and its base, with an odd byte where an element has several."""
    rng = np.random.default_rng(0)
    width = WIDTHS[dtype]
    if dtype in ("F32", "BF16", "F64"):
        old = rng.normal(scale=0.03, size=COUNT)
        new = old + rng.normal(scale=scale, size=COUNT) * (np.arange(COUNT) > 300)
        new[::200] *= -1
        if dtype == "F64":
            pair = new.astype("<f8").tobytes(), old.astype("<f8").tobytes()
        else:
            bits = [values.astype("<f4").view("<u4") for values in (new, old)]
            shorten = 16 if dtype == "BF16" else 0
            pair = tuple((each >> shorten).astype(f"<u{width}").tobytes() for each in bits)  # type: ignore[assignment]
    else:
        values = rng.integers(0, 200, COUNT).astype(f"<u{width}")
        pair = (values + rng.integers(0, 3, COUNT).astype(f"<u{width}")).tobytes(), values.tobytes()
    return pair[0] + b"T" * (width > 1), pair[1]


@pytest.mark.parametrize("dtype", WIDTHS)
@pytest.mark.parametrize("scale", [1e-7, 1e-4])
def test_differences_come_back_through_the_second_reader(dtype: str, scale: float) -> None:
    raw, base = elements(dtype, scale)
    seen: Counter[str] = Counter()
    plain = against.plain_view(raw, dtype, residuals.aligned(base, len(raw)))
    steps = Expectation(None, 0, (np.arange(50, dtype="<i2") - 20) * 999, 90, plain.exponent)
    views = [plain, plain._replace(expectation=steps, expected=residuals.expected(plain.base, steps))]
    for view in views:
        payload = b"".join(delta.encode(view))
        assert reader.decode(codec.DELTA, payload, len(raw), seen, base) == raw
        for cut in (levels.PLANE, levels.CODED, Cut(0, 8)):
            payload = b"".join(levels.encode(view, cut))
            assert reader.decode(codec.LEVELS, payload, len(raw), seen, base) == raw
    assert {"DELTA", "LEVELS", "steps", "symbols"} <= seen.keys()
    if scale == 1e-4 and dtype in ("F32", "F64"):
        assert {"escape", "low bits"} <= seen.keys()


@pytest.mark.parametrize("dtype", grid.MANTISSAS)
@pytest.mark.parametrize("columns", [0, 60])
@pytest.mark.parametrize("count", [COUNT, 60_000])
def test_grids_come_back_through_the_second_reader(dtype: str, columns: int, count: int) -> None:
    rng = np.random.default_rng(0)
    old = rng.normal(scale=rng.choice([1e-3, 0.03, 1e-9], count))
    # Steps as large as the elements and by column, elements that stay, special ones and zeros.
    new = old + rng.normal(scale=1e-3, size=count) * np.resize(np.exp2(np.arange(60) / 9), count)
    new[:300] = old[:300]
    new[400:404] = [0.0, np.inf, np.nan, 1e-41]
    old[500:503] = [np.nan, -np.inf, 0.0]
    if dtype == "F16":
        raw, base = (values.astype("<f2").tobytes() for values in (new, old))
    else:
        shorten = 16 if dtype == "BF16" else 0
        raw, base = (
            (values.astype("<f4").view("<u4") >> shorten).astype(f"<u{4 - shorten // 8}").tobytes()
            for values in (new, old)
        )
    raw += b"T"
    plain = against.plain_view(raw, dtype, residuals.aligned(base, len(raw)))
    steps = Expectation(None, 0, (np.arange(50, dtype="<i2") - 20) * 999, 90, plain.exponent)
    seen: Counter[str] = Counter()
    for view in (plain, plain._replace(expectation=steps, expected=residuals.expected(plain.base, steps))):
        payload = b"".join(grid.encode(view, dtype, columns))
        assert bytes(codec.decode(codec.GRID, payload, len(raw), base)) == raw
        assert reader.decode(codec.GRID, payload, len(raw), seen, base) == raw
    assert {"GRID", "escape", "depth", "low bits"} <= seen.keys()
    assert bool(seen["offsets"]) == (columns > 0)
    # Without offsets the steps of a block are no bell curve.
    assert seen["known tables"] if columns and count == COUNT else seen["symbols"]
    if not columns and count == COUNT:
        assert seen["known tables"] < seen["symbols"]


@pytest.mark.parametrize("kind", ["F32", "BF16"])
@pytest.mark.parametrize("column", [0, 17])
def test_factors_come_back_through_the_second_reader(kind: str, column: int) -> None:
    rng = np.random.default_rng(0)
    of_rows, of_columns = (rng.integers(-(1 << 22), 1 << 22, (3, many), dtype="<i4") for many in (31, 99))
    bits = rng.normal(scale=0.03, size=COUNT).astype("<f4").view("<u4")
    bits[:8] = [0, 1 << 31, 5, 0x7F800000, 0xFF800000, 0x7FC01234, 0x7F7FFFFF, 0xFF7FFFFF]
    values = bits if kind == "F32" else (bits >> 16).astype("<u2")
    raw = rng.permutation(values).tobytes()
    plain = against.plain_view(raw, kind, values.tobytes())
    seen: Counter[str] = Counter()
    for exponent in (-46, -80, 80, -1000):
        told = Expectation(factors=Factors(int(kind == "BF16"), column, of_rows, of_columns, exponent))
        view = plain._replace(expectation=told, expected=residuals.expected(plain.base, told))
        payload = b"".join(delta.encode(view))
        assert bytes(codec.decode(codec.DELTA, payload, len(raw), values.tobytes())) == raw
        assert reader.decode(codec.DELTA, payload, len(raw), seen, values.tobytes()) == raw
        payload = b"".join(levels.encode(view, levels.CODED))
        assert reader.decode(codec.LEVELS, payload, len(raw), seen, values.tobytes()) == raw
    assert seen["factors"]


def test_tables_come_back_through_the_second_reader() -> None:
    old = np.random.default_rng(1).normal(scale=0.03, size=30_000).astype("<f4")
    new = old.copy()
    for _ in range(40):
        new *= np.float32(1 - 3e-7)
    seen: Counter[str] = Counter()
    for effort in ("fast", "balanced", "max"):
        encoded = codec.encode(new.tobytes(), "F32", old.tobytes(), effort)
        payload = b"".join(encoded.parts)
        assert reader.decode(encoded.encoding, payload, new.nbytes, seen, old.tobytes()) == new.tobytes()
    assert seen["table"]


@pytest.mark.parametrize(("start", "end"), sorted(set(reader.CASTS)))
@pytest.mark.parametrize("skip", [0, 8])
def test_casts_come_back_through_the_second_reader(start: str, end: str, skip: int) -> None:
    values = np.random.default_rng(2).normal(size=2000).astype("<f4")
    values[:6] = [0, -0.0, np.inf, -np.inf, np.nan, 1e30]
    with np.errstate(over="ignore"):
        forms = {
            "F32": values.tobytes(),
            "F64": values.astype("<f8").tobytes(),
            "F16": values.astype("<f2").tobytes(),
            "BF16": (values.view("<u4") >> 16).astype("<u2").tobytes(),
        }
    seen: Counter[str] = Counter()
    raw, base = forms[end], b"skipped!"[:skip] + forms[start]
    encoded = codec.encode(raw, end, base, base_dtype=start, base_skip=skip)
    assert encoded.encoding == codec.CAST
    assert reader.decode(codec.CAST, b"".join(encoded.parts), len(raw), seen, base) == raw
