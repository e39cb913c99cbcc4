from __future__ import annotations

from typing import Any

import pytest

from mlver.differences.rows.change import Answer, PredictionChange, Score
from mlver.differences.rows.predictions import Judge, find_columns


def judged(*rows: tuple[Any, Any, Any]) -> PredictionChange | None:
    """Judge rows of label, answer before, answer after."""
    judge = Judge("label", "pred", 2)
    for number, (label, before, after) in enumerate(rows):
        judge.pair((str(number),), {"label": label, "pred": before}, {"label": label, "pred": after})
    return judge.verdict()


def test_who_fixed_and_who_broke() -> None:
    found = judged(("a", "a", "a"), ("a", "b", "a"), ("b", "b", "a"), ("b", "a", "c"), ("c", "a", "c"), ("a", "c", "a"))
    assert found == PredictionChange(
        label="label",
        prediction="pred",
        before=Score(2, 6),
        after=Score(4, 6),
        fixed_count=3,
        broken_count=1,
        fixed=(Answer(("1",), "a", "b", "a"), Answer(("4",), "c", "a", "c")),
        broken=(Answer(("2",), "b", "b", "a"),),
    )


def test_rows_of_one_side_count_for_its_accuracy() -> None:
    judge = Judge("label", "pred", 2)
    judge.pair(("0",), {"label": 1, "pred": 1}, {"label": 1, "pred": 1})
    judge.one(1, {"label": 1, "pred": 0})
    found = judge.verdict()
    assert found is not None
    assert (found.before.accuracy, found.after.accuracy) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("label", "answer", "right"),
    [
        (1, 1, True),
        ("1", 1, True),
        ("1", "1.0", True),
        (" cat", "cat", True),
        (True, "true", True),
        ("cat", "Cat", False),
        ("nan", "NaN", False),
        ([1], "[1]", False),
        ([1, 2], [1, 2], True),
    ],
)
def test_right_answers(label: Any, answer: Any, right: bool) -> None:
    judge = Judge("label", "pred", 0)
    assert judge.one(0, {"label": label, "pred": answer}) is right


@pytest.mark.parametrize("row", [{"label": 1}, {"pred": 1}, {"label": None, "pred": 1}, {"label": "", "pred": ""}])
def test_rows_without_label_or_answer_do_not_count(row: dict[str, Any]) -> None:
    assert Judge("label", "pred", 0).one(0, row) is None


def test_quantities_are_not_judged() -> None:
    assert judged((1.5, "1.25", "1.75"), (2, "2.1", "2.2")) is None


def test_nothing_was_predicted() -> None:
    assert judged(("a", None, "a")) is None


def test_columns_by_name() -> None:
    assert find_columns(["id", "Label", "y_pred"], None, None) == ("Label", "y_pred")
    assert find_columns(["id", "label"], None, None) is None
    assert find_columns(["answer", "says", "label", "pred"], "answer", "says") == ("answer", "says")
    assert find_columns(["label", "pred"], None, "absent") is None
