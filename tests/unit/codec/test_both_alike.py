"""Grids and symbols by the compiled loops and the portable ones: the same bytes, and the same refusals."""

from __future__ import annotations

import numpy as np
import pytest

from mlver import codec
from mlver.codec import against, grid, library, loops, native, portable
from mlver.codec.shapes import SYMBOLS

IMPLEMENTATIONS = [native, portable] if library.is_available() else [portable]
BOTH = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
KINDS = {"F32": "<u4", "BF16": "<u2", "F16": "<u2"}


def chunk(dtype: str, moved: float, count: int = 3000, zeros: float = 0.0) -> tuple[bytes, bytes]:
    """Return a chunk of weights and its base, which is that part of it zero that `zeros` says."""
    rng = np.random.default_rng(5)
    old = rng.normal(0, 0.02, count).astype("<f4") * (rng.random(count) >= zeros)
    new = (old + rng.normal(0, moved, count)).astype("<f4")
    if dtype == "F32":
        return new.tobytes(), old.astype("<f4").tobytes()
    if dtype == "F16":
        return new.astype("<f2").tobytes(), old.astype("<f2").tobytes()
    return tuple((each.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes() for each in (new, old))  # type: ignore[return-value]


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("columns", [0, 50])
@pytest.mark.parametrize(
    ("moved", "zeros"), [(0.0, 0.0), (1e-5, 0.0), (1e-3, 0.0), (0.02, 0.0), (0.5, 0.3), (1e-3, 1.0)]
)
def test_elements_are_put_on_a_grid_the_same_by_both(
    monkeypatch: pytest.MonkeyPatch, dtype: str, columns: int, moved: float, zeros: float
) -> None:
    raw, base = chunk(dtype, moved, zeros=zeros)
    written = []
    for loop in IMPLEMENTATIONS:
        monkeypatch.setattr(loops, "current", loop)
        written.append(b"".join(grid.encode(against.plain_view(raw, dtype, base), dtype, columns)))
    assert len(set(written)) == 1
    for loop in IMPLEMENTATIONS:
        monkeypatch.setattr(loops, "current", loop)
        assert bytes(codec.decode(codec.GRID, written[0], len(raw), base)) == raw
        assert grid.decodes_to([written[0]], raw, base)
        assert not grid.decodes_to([written[0]], raw[:-1] + bytes([raw[-1] ^ 1]), base)


@pytest.mark.parametrize("dtype", KINDS)
def test_elements_that_all_stay_on_their_grid_have_no_escapes(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """All are far above the grid, and each moved by a few of its units."""
    kind = np.dtype(KINDS[dtype])
    base = np.full(1000, 1.0, "<f2").view("<u2") if dtype == "F16" else np.full(1000, 0x3F80, "<u2")
    old = base.astype(kind) << (kind.itemsize * 8 - 16)
    new = old + (np.arange(1000) % 7).astype(kind)
    for loop in IMPLEMENTATIONS:
        monkeypatch.setattr(loops, "current", loop)
        view = against.plain_view(new.tobytes(), dtype, old.tobytes())
        parts = loop.place(view.values, view.expected, grid.fit(view, dtype, 0))
        assert (parts.escapes.size, parts.depths.size) == (0, 0)
        payload = b"".join(grid.encode(view, dtype, 0))
        assert bytes(codec.decode(codec.GRID, payload, new.nbytes, old.tobytes())) == new.tobytes()


@BOTH
@pytest.mark.parametrize("dtype", ["F32", "F16"])
def test_parts_that_do_not_fit_a_grid_are_refused(implementation: loops.Loops, dtype: str) -> None:
    kind = {"F32": "<f4", "F16": "<f2"}[dtype]
    raw, base = chunk(dtype, 0.02, zeros=0.3)
    numbers = np.frombuffer(raw, kind).copy()
    numbers[::100], numbers[1::100] = 5.0, 0.0  # farther than a symbol tells, and deeper than any depth
    view = against.plain_view(numbers.tobytes(), dtype, base)
    fitted = grid.fit(view, dtype, 0)
    parts = implementation.place(view.values, view.expected, fitted)
    assert min(parts.depths.size, parts.escapes.size, parts.low.size) > 0
    out = np.empty_like(view.values)
    assert implementation.displace(parts, view.expected, fitted, out)
    assert (out == view.values).all()
    others = [
        parts._replace(depths=parts.depths[:-1]),
        parts._replace(depths=np.append(parts.depths, np.uint8(0))),
        parts._replace(escapes=parts.escapes[:-1]),
        parts._replace(escapes=np.append(parts.escapes, parts.escapes[:1])),
        parts._replace(low=parts.low[:-1]),
        parts._replace(low=np.append(parts.low, np.uint8(0))),
    ]
    if dtype == "F16":  # deeper than there are exponents
        others.append(parts._replace(depths=np.minimum(parts.depths + np.uint8(40), SYMBOLS - 2).astype(np.uint8)))
        others[-1].depths[parts.depths == SYMBOLS - 1] = SYMBOLS - 1
    for other in others:
        assert not implementation.displace(other, view.expected, fitted, out)
        assert not implementation.is_displaced(other, view.expected, fitted, view.values)


@BOTH
def test_shares_that_are_not_all_are_refused(implementation: loops.Loops) -> None:
    classes = np.zeros(500, np.uint8)
    symbols = (np.arange(500) % 3).astype(np.uint8)
    coded = implementation.code(classes, symbols, 1, 64, 8)
    decoded = implementation.decode(classes, coded)
    assert decoded is not None
    assert (decoded == symbols).all()
    assert coded.stored.tolist() == [3]
    for wrong in (1, 2):
        written = coded.written.copy()
        written[0] ^= wrong
        assert implementation.decode(classes, coded._replace(written=written)) is None
    for lost in (coded.words[:-1], np.append(coded.words, np.uint16(0))):
        assert implementation.decode(classes, coded._replace(words=lost)) is None
