"""Which version `max(…)` and `min(…)` name."""

from __future__ import annotations

from typing import Any

import pytest

from mlver.errors import NotFoundError
from mlver.expressions import ExpressionError
from mlver.history.records import VersionRecord
from mlver.history.selection import parse_selection
from mlver.ids import ManifestId


def version(number: int, **metrics: Any) -> VersionRecord:
    return VersionRecord(
        "m", "t", number, ManifestId("blake3:" + "0" * 64), "", "x", None, None, (), (), {}, metrics, {}, 0, 0, 0, 0, 0,
        None, False,
    )  # fmt: skip


VERSIONS = [
    version(4, acc=True), version(3, acc=float("nan")), version(2, acc=0.75, loss=2), version(1, acc=0.75),
    version(0, acc=0.5, loss=1, **{"train/loss": 9}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "number"),
    [("max(acc)", 1), ("min(acc)", 0), ("max( loss )", 2), ("max(train/loss)", 0), ("min(loss - acc)", 0)],
)
def test_the_best_of_equals_is_the_oldest_and_what_is_no_number_does_not_count(text: str, number: int) -> None:
    selection = parse_selection(text)
    assert selection is not None
    assert str(selection) == text.replace(" )", ")").replace("( ", "(")
    assert selection.choose(VERSIONS, "'m'").number == number


def test_what_cannot_be_chosen_is_said() -> None:
    assert parse_selection("mean(acc)") is None
    unknown = parse_selection("max(accc)")
    assert unknown is not None
    with pytest.raises(ExpressionError, match="accc"):
        unknown.choose(VERSIONS, "'m'")
    nothing = parse_selection("max(note)")
    assert nothing is not None
    with pytest.raises(NotFoundError, match=r"No version of 'm' has a value of 'note'"):
        nothing.choose(VERSIONS, "'m'")
