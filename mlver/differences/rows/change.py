"""What differs between two states of a table, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

Row = dict[str, Any]
"""Value by column; JSON values, and plain text in formats that know nothing else."""
Key = tuple[str, ...]
"""What a row is matched by, as text: one for each key column."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for.

    Attributes:
        key: Columns to match rows by; none means to guess.
        label: The column of labels; None means to guess.
        prediction: The column of predictions; None means to guess.
        examples: Rows of each kind that are kept as examples.
    """

    key: tuple[str, ...] = ()
    label: str | None = None
    prediction: str | None = None
    examples: int = 20

    @property
    def columns(self) -> list[str]:
        """Every column that was asked for."""
        return [*self.key, *(column for column in (self.label, self.prediction) if column is not None)]


class Match(Enum):
    """How rows of both tables were put together."""

    KEY = "key"
    POSITION = "position"
    CONTENT = "content"


class CellChange(NamedTuple):
    """A value that is not what it was; None if it is absent."""

    column: str
    before: Any
    after: Any


class RowChange(NamedTuple):
    """A row that both tables have and that is not what it was."""

    key: Key
    cells: tuple[CellChange, ...]


class Answer(NamedTuple):
    """A prediction that became right, or wrong.

    Attributes:
        key: Of its row.
        label: What is right, after.
        before: What was predicted.
        after: What is predicted.
    """

    key: Key
    label: Any
    before: Any
    after: Any


class Score(NamedTuple):
    """How many of the predictions that have a label are right."""

    right: int
    total: int

    @property
    def accuracy(self) -> float | None:
        """Their share; None if there are none."""
        return self.right / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class PredictionChange:
    """Predictions against labels, before and after.

    Attributes:
        label: The column of labels.
        prediction: The column of predictions.
        before: How good they were, over all rows there were.
        after: How good they are, over all rows there are.
        fixed_count: Rows of both tables that were wrong and are right.
        broken_count: Rows of both tables that were right and are wrong.
        fixed: The first of them.
        broken: The first of them.
    """

    label: str
    prediction: str
    before: Score
    after: Score
    fixed_count: int
    broken_count: int
    fixed: tuple[Answer, ...]
    broken: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class TableChange:
    """What differs between two states of a table. Examples are the first that were met.

    Attributes:
        match: How rows were put together.
        key: The columns they were matched by, if they were.
        columns: Those that both tables have, in order.
        before_count: Rows there were.
        after_count: Rows there are.
        repeated_count: Rows of either table that repeat the key of an earlier one; rows of one key are paired in order.
        added_count: Rows that are new.
        removed_count: Rows that are gone.
        changed_count: Rows of both tables that are not the same.
        added: Keys of new rows.
        removed: Keys of rows that are gone.
        changed: Rows with what changed in them.
        columns_added: Columns that are new.
        columns_removed: Columns that are gone.
        cells_changed: In how many rows each column changed, the most first.
        predictions: What became of the predictions, if it holds labels, too.
    """

    match: Match
    key: tuple[str, ...]
    columns: tuple[str, ...]
    before_count: int
    after_count: int
    repeated_count: int
    added_count: int
    removed_count: int
    changed_count: int
    added: tuple[Key, ...]
    removed: tuple[Key, ...]
    changed: tuple[RowChange, ...]
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    cells_changed: dict[str, int]
    predictions: PredictionChange | None
