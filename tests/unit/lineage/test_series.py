"""Series of metrics: every value comes back, and a usual course takes little."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from mlver.errors import IntegrityError
from mlver.lineage.series import Rows, SeriesWriter, metric_names, read_series


def blob_of(*rows: Rows) -> bytes:
    writer = SeriesWriter()
    for each in rows:
        writer.append(each)
    blob = writer.finish()
    assert blob is not None
    return blob


def rows_of(names: tuple[str, ...], values: object, start: int = 0) -> Rows:
    table = np.asarray(values, "<f8").reshape(-1, len(names))
    places = np.arange(start, start + len(table), dtype="<i8")
    return Rows(names, places, 1_700_000_000_000_000 + 1000 * places, table)


@given(
    st.lists(st.floats(width=64), min_size=1, max_size=50),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=50, max_size=50),
)
def test_all_comes_back(values: list[float], steps: list[int]) -> None:
    rows = rows_of(("a",), values)
    rows = rows._replace(steps=np.array(steps[: len(values)], "<i8"))
    found = read_series(blob_of(rows))["a"]
    assert found.values.tobytes() == np.array(values, "<f8").tobytes(), "to the last bit, NaNs too"
    assert found.steps.tolist() == steps[: len(values)]
    assert found.times.tolist() == rows.times.tolist()


def test_many_blocks_and_orders_of_names() -> None:
    first = rows_of(("b", "a"), np.arange(100_000))
    second = rows_of(("a", "b"), np.arange(10), 50_000)
    found = read_series(blob_of(first, second))
    assert len(found["a"].values) == 50_005
    assert found["a"].values[:2].tolist() == [1, 3]
    assert found["b"].values[-1] == 9
    assert read_series(blob_of(first, second), ["b"]).keys() == {"b"}
    assert metric_names(blob_of(first)) == ["a", "b"]


def test_a_usual_course_takes_a_few_bytes_a_value() -> None:
    random = np.random.default_rng(0)
    loss = (np.exp(-np.arange(100_000) / 3e4) + random.normal(0, 0.01, 100_000)).astype("f4").astype("f8")
    assert len(blob_of(rows_of(("loss",), loss))) < 4.5 * 100_000
    assert len(blob_of(rows_of(("lr",), np.full(100_000, 1e-3)))) < 1000


@pytest.mark.parametrize("harm", [b"", b"else", slice(-1), slice(-100), "more"])
def test_damage_is_said(harm: object) -> None:
    blob = blob_of(rows_of(("a",), np.random.default_rng(0).normal(size=1000)))
    damaged = harm if isinstance(harm, bytes) else blob[harm] if isinstance(harm, slice) else blob + b"x"
    with pytest.raises(IntegrityError):
        read_series(damaged)
