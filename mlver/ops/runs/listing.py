"""`runs`: the runs for which an expression holds, in the order of another one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from mlver.expressions import Expression, Name, Value
from mlver.history.fields import MISSING, as_value, run_field, run_names
from mlver.history.records import RunRecord
from mlver.ops.opening import OpenRepository
from mlver.ops.runs.recover import recover

_NO_NAME = re.compile(r"[-+*/<>=!()\s`'\"]")


@dataclass(frozen=True, slots=True)
class Shown:
    """One thing to be shown of each run.

    Attributes:
        title: As a person wrote it.
        values: Its value of each run, in the order of the runs; None where it is not known.
    """

    title: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class RunList:
    """Runs that were asked for.

    Attributes:
        runs: In the order asked for, else the newest first.
        shown: What was to be shown of them.
        left_out_count: How many more there would be without the limit.
    """

    runs: tuple[RunRecord, ...]
    shown: tuple[Shown, ...]
    left_out_count: int


def list_runs(
    repository: OpenRepository,
    *,
    condition: str | None = None,
    sort: str | None = None,
    columns: Sequence[str] = (),
    limit: int | None = None,
) -> RunList:
    """Return runs.

    Args:
        repository: The repository.
        condition: An expression that holds of them, such as `config.lr < 0.01 and val_acc > 0.9`.
        sort: What they are sorted by, least first, or with a `-` before it greatest first; runs without come last.
        columns: What to show of them: names, or expressions.
        limit: At most so many.

    Raises:
        ExpressionError: An expression is malformed, cannot be computed, or a name in it means nothing of any run.
    """
    recover(repository)
    repository.index.refresh()
    is_plain = condition is None and sort is None
    # One more than wanted tells whether there are more; what they are called in an expression, only all of them tell.
    runs = repository.runs.runs(None if limit is None or not is_plain or columns else limit + 1)
    known = _Known(runs)
    if condition is not None:
        holds = known.compile(condition)
        runs = [run for run in runs if holds(run)]
    if sort is not None:
        runs = _sorted(runs, known, sort)
    kept = runs if limit is None else runs[:limit]
    shown = tuple(_shown(known, column, kept) for column in columns)
    total = repository.runs.count() if is_plain else len(runs)
    return RunList(tuple(kept), shown, total - len(kept))


class _Known:
    """What names mean of some runs.

    Args:
        runs: All of them: a name that means nothing of any is a mistake.
    """

    def __init__(self, runs: Sequence[RunRecord]) -> None:
        self._runs = runs

    def compile(self, text: str) -> Callable[[RunRecord], Value]:
        """Return what computes an expression of a run.

        Raises:
            ExpressionError: It is malformed, or a name in it means nothing.
        """
        if _NO_NAME.search(text) and self._means(text):
            return partial(_value_of, name=text)  # a metric may be called train/loss, which would be a quotient
        expression = Expression(text)
        for name in expression.names:
            self._check(expression, name)
        return lambda run: expression.evaluate(partial(_value_of, run))

    def _check(self, expression: Expression, name: Name) -> None:
        if self._runs and not self._means(name.text):
            raise expression.unknown(name, list({known for run in self._runs for known in run_names(run)}))

    def _means(self, name: str) -> bool:
        return any(run_field(run, name) is not MISSING for run in self._runs)


def _value_of(run: RunRecord, name: str) -> Value:
    return as_value(run_field(run, name))


def _shown(known: _Known, column: str, runs: Sequence[RunRecord]) -> Shown:
    compute = known.compile(column)
    return Shown(column, tuple(compute(run) for run in runs))


def _sorted(runs: Sequence[RunRecord], known: _Known, text: str) -> list[RunRecord]:
    wanted = text.removeprefix("-")
    compute = known.compile(wanted)
    valued = [(compute(run), run) for run in runs]
    having = [pair for pair in valued if pair[0] is not None]
    having.sort(key=lambda pair: _order(pair[0]), reverse=wanted != text)
    return [run for _, run in having] + [run for value, run in valued if value is None]


def _order(value: Value) -> tuple[int, float | str]:
    """Return what values of several kinds are sorted by: numbers come before text."""
    return (1, value) if isinstance(value, str) else (0, value or 0)
