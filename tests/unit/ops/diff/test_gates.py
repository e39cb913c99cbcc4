from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlver.errors import MlverError, NotFoundError
from mlver.expressions import Expression, ExpressionError
from mlver.ops.diff.gates import check_frozen, check_limits
from mlver.ops.diff.result import DiffResult
from tests.unit.ops.diff.conftest import Keeper, Raw


def f32(*values: float) -> tuple[str, tuple[int, ...], bytes]:
    return "F32", (len(values),), np.array(values, "f4").tobytes()


@pytest.fixture
def result(keeper: Keeper) -> DiffResult:
    before: Raw = {
        "encoder.a": f32(1, 2),
        "encoder.b": f32(3, 4),
        "encoder.moved": f32(9, 9, 9),
        "head.w": f32(1, 0),
        "head.b": f32(0, 0),
        "gone.w": f32(5),
        "size.w": f32(1, 2, 3),
    }
    after: Raw = {
        "encoder.a": f32(1, 2),
        "encoder.b": f32(3, 4),
        "other.moved": f32(9, 9, 9),
        "head.w": f32(1, 0.5),
        "head.b": f32(0, 1),
        "new.w": f32(5, 6, 7, 8),
        "size.w": f32(1, 2),
    }
    keeper.add({"m.safetensors": before}, metrics={"acc": 0.9, "loss": 1.0, "old": 1})
    keeper.add({"m.safetensors": after}, metrics={"acc": 0.88, "loss": 1.0, "new": 2})
    return keeper.diff("m:v0", "m:v1")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("encoder.?", []),
        ("encoder.*", ["encoder.moved"]),
        ("head.*", ["head.b", "head.w"]),
        ("*.b", ["head.b"]),
        ("gone.w", ["gone.w"]),
        ("new.*", ["new.w"]),
        ("size.w", ["size.w"]),
    ],
)
def test_frozen(result: DiffResult, pattern: str, names: list[str]) -> None:
    found = check_frozen(result, [pattern])
    assert sorted(failure.subject for failure in found) == names
    assert all(failure.gate == pattern for failure in found)


def test_messages_say_what_happened(result: DiffResult) -> None:
    messages = [failure.message for failure in check_frozen(result, ["encoder.moved", "gone.w", "new.w", "head.w"])]
    assert messages == [
        "Tensor encoder.moved was renamed, which --expect-frozen 'encoder.moved' forbids.",
        "Tensor gone.w was removed, which --expect-frozen 'gone.w' forbids.",
        "Tensor new.w was added, which --expect-frozen 'new.w' forbids.",
        "Tensor head.w changed, which --expect-frozen 'head.w' forbids.",
    ]


def test_a_pattern_that_protects_nothing_is_refused(result: DiffResult) -> None:
    with pytest.raises(NotFoundError, match=r"No tensor matches 'encodr\.\*'"):
        check_frozen(result, ["encodr.*"])


@pytest.mark.parametrize(
    ("text", "subjects"),
    [
        ("relative_change > 0.4 and name != 'size.w'", ["head.b", "head.w", "size.w"]),
        ("name = 'head.w' and dtype = 'F32'", ["head.w"]),
        ("changed_fraction > 0.9", ["size.w"]),
        ("max_abs >= 1", ["head.b", "size.w"]),
        ("new_nan > 0 or new_inf > 0", ["size.w"]),
        ("acc < -0.01", ["metrics"]),
        ("acc < -0.05", []),
        ("loss != 0", []),
        ("acc < 0 and name = 'head.w'", ["head.w"]),
        ("acc > 0 and name = 'head.w'", []),
    ],
)
def test_limits(result: DiffResult, text: str, subjects: list[str]) -> None:
    # size.w has another number of elements: what was not measured fails whatever asks for it.
    assert [failure.subject for failure in check_limits(result, [Expression(text)])] == subjects


def test_messages_name_the_figures(result: DiffResult) -> None:
    found = check_limits(result, [Expression("max_abs > 0.9"), Expression("acc < 0"), Expression("cosine < 1")])
    assert [failure.message for failure in found] == [
        "Tensor head.b: --fail-if 'max_abs > 0.9' holds (max_abs 1).",
        "Tensor size.w: max_abs is not known (another number of elements), so --fail-if 'max_abs > 0.9' fails.",
        "--fail-if 'acc < 0' holds (changes: acc -0.02).",
        "Tensor head.b: cosine is not known (it is not defined), so --fail-if 'cosine < 1' fails.",
        "Tensor head.w: --fail-if 'cosine < 1' holds (cosine 0.8944).",
        "Tensor size.w: cosine is not known (another number of elements), so --fail-if 'cosine < 1' fails.",
    ]


def test_measures_cannot_be_asked_for_without_reading(keeper: Keeper, result: DiffResult) -> None:
    unread = keeper.diff("m:v0", "m:v1", names_only=True)
    with pytest.raises(ExpressionError, match="'max_abs' is not known without reading weights"):
        check_limits(unread, [Expression("name = 'x' or max_abs > 1")])
    assert [failure.subject for failure in check_limits(unread, [Expression("name = 'head.w'")])] == ["head.w"]


def test_unknown_names_point_at_the_place(result: DiffResult) -> None:
    with pytest.raises(ExpressionError) as caught:
        check_limits(result, [Expression("max_abs > 1 or los > 1")])
    assert (caught.value.position, caught.value.hint) == (15, "Did you mean 'loss'?")


@pytest.mark.parametrize(("metric", "where"), [("old", "m:v1"), ("new", "m:v0")])
def test_a_metric_of_one_side_only_cannot_be_judged(result: DiffResult, metric: str, where: str) -> None:
    with pytest.raises(MlverError, match=f"Metric '{metric}' is not known of {where}"):
        check_limits(result, [Expression(f"{metric} > 0")])


def test_a_metric_of_the_name_of_a_measure_is_the_metric(keeper: Keeper) -> None:
    said: Any = {"metrics": {"cosine": 1.0}}
    keeper.add({"a": "1"}, **said)
    said["metrics"]["cosine"] = 3.0
    keeper.add({"a": "2"}, **said)
    found = check_limits(keeper.diff("m"), [Expression("cosine > 1")])
    assert [failure.subject for failure in found] == ["metrics"]
