"""Predictions against labels: how many are right on each side, who fixed what and who broke what."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mlver.differences.rows.change import Answer, Key, PredictionChange, Row, Score

_LABELS = (
    "label", "labels", "target", "targets", "y_true", "true_label", "truth", "ground_truth", "gold", "gold_label",
    "expected", "reference", "answer", "class",
)  # fmt: skip
_PREDICTIONS = (
    "prediction", "predictions", "pred", "preds", "predicted", "y_pred", "predicted_label", "pred_label",
    "predicted_class", "y_hat", "model_output", "output", "response",
)  # fmt: skip


def find_columns(columns: Collection[str], label: str | None, prediction: str | None) -> tuple[str, str] | None:
    """Return the columns of labels and of predictions, None unless both are there.

    Args:
        columns: Those that both tables have.
        label: The one of labels; None finds one by its name.
        prediction: The one of predictions; None finds one by its name.
    """
    found = _find(columns, label, _LABELS), _find(columns, prediction, _PREDICTIONS)
    return (found[0], found[1]) if found[0] is not None and found[1] is not None else None


def _find(columns: Collection[str], wanted: str | None, names: tuple[str, ...]) -> str | None:
    if wanted is not None:
        return wanted if wanted in columns else None
    by_name = {column.lower(): column for column in columns}
    return next((by_name[name] for name in names if name in by_name), None)


class Judge:
    """Counts who is right.

    Args:
        label: The column of labels.
        prediction: The column of predictions.
        most: Examples that are kept.
    """

    def __init__(self, label: str, prediction: str, most: int) -> None:
        self._label = label
        self._prediction = prediction
        self._most = most
        self._right, self._total, self._between = [0, 0], [0, 0], [0, 0]
        self._turns: dict[bool, int] = {True: 0, False: 0}
        self._examples: dict[bool, list[Answer]] = {True: [], False: []}

    def pair(self, key: Key, before: Row, after: Row) -> None:
        """Judge a row that both tables have."""
        old, new = self.one(0, before), self.one(1, after)
        if old is None or new is None or old == new:
            return
        self._turns[new] += 1
        if len(self._examples[new]) < self._most:
            answers = before.get(self._prediction), after.get(self._prediction)
            self._examples[new].append(Answer(key, after.get(self._label), *answers))

    def one(self, side: int, row: Row) -> bool | None:
        """Judge a row of one side (0 before, 1 after); None if it has no label or no prediction."""
        label, answer = row.get(self._label), row.get(self._prediction)
        if label in (None, "") or answer in (None, ""):
            return None
        right = _same(label, answer)
        self._total[side] += 1
        self._right[side] += right
        self._between[side] += not right and _is_fraction(answer)
        return right

    def verdict(self) -> PredictionChange | None:
        """Return the outcome; None if nothing was predicted, or quantities were: they are never just right."""
        sides = list(zip(self._between, self._total, strict=True))
        if not all(self._total) or any(2 * between > total for between, total in sides):
            return None
        return PredictionChange(
            label=self._label,
            prediction=self._prediction,
            before=Score(self._right[0], self._total[0]),
            after=Score(self._right[1], self._total[1]),
            fixed_count=self._turns[True],
            broken_count=self._turns[False],
            fixed=tuple(self._examples[True]),
            broken=tuple(self._examples[False]),
        )


def _same(label: Any, answer: Any) -> bool:
    """Tell whether an answer is right: 1, 1.0 and "1" are the same, so are True and "true"."""
    if label == answer:
        return True
    if isinstance(label, list | dict) or isinstance(answer, list | dict):
        return False
    texts = str(label).strip(), str(answer).strip()
    if texts[0] == texts[1]:
        return True
    if isinstance(label, bool) or isinstance(answer, bool):
        return texts[0].lower() == texts[1].lower()
    numbers = _number(texts[0]), _number(texts[1])
    return numbers[0] is not None and numbers[0] == numbers[1]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_fraction(answer: Any) -> bool:
    number = _number(str(answer))
    return number is not None and number % 1 != 0
