"""Conditions that a pipeline sets for a change: what must not change, and how much is too much."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import NamedTuple

from mlver.errors import MlverError, NotFoundError
from mlver.expressions import Expression, ExpressionError, Value
from mlver.ops.diff.result import DiffResult, TensorPair
from mlver.ops.diff.tensors import similar_glob

TENSOR_NAMES = ("relative_change", "max_abs", "cosine", "changed_fraction", "new_nan", "new_inf", "name", "dtype")
"""What an expression can ask of each changed tensor."""
_FREE = frozenset({"name", "dtype"})


class GateFailure(NamedTuple):
    """A condition that was not met.

    Attributes:
        gate: The pattern or expression, as it was given.
        subject: The tensor or metric that did not meet it.
        message: A sentence for people.
    """

    gate: str
    subject: str
    message: str


def check_frozen(result: DiffResult, patterns: Iterable[str]) -> list[GateFailure]:
    """Return the tensors that match a pattern and are not what they were, or came, went, or got another name.

    Raises:
        NotFoundError: A pattern matches no tensor on either side: it protects nothing.
    """
    tensors = result.tensors
    changes = {pair.name: "changed" for pair in tensors.changed}
    changes |= {pair.from_name: "was renamed" for pair in tensors.renamed}
    changes |= dict.fromkeys(tensors.added, "was added") | dict.fromkeys(tensors.removed, "was removed")
    found = []
    for pattern in patterns:
        names = (*changes, *tensors.unchanged)
        if not any(fnmatchcase(name, pattern) for name in names):
            hint = similar_glob(pattern, names)
            raise NotFoundError(f"No tensor matches {pattern!r}, so --expect-frozen protects nothing.", hint)
        found += [
            GateFailure(pattern, name, f"Tensor {name} {what}, which --expect-frozen {pattern!r} forbids.")
            for name, what in changes.items()
            if fnmatchcase(name, pattern)
        ]
    return found


def check_limits(result: DiffResult, limits: Sequence[Expression]) -> list[GateFailure]:
    """Return what exceeds a limit: tensors of which an expression holds, or the versions if it asks of no tensor.

    A name is one of `TENSOR_NAMES`, or a metric: its change, after minus before. A measure that could not be taken
    exceeds every limit on it, so that nothing passes unseen.

    Raises:
        ExpressionError: A name means nothing, or values cannot be compared.
        MlverError: A metric is not known of both sides.
    """
    return [failure for limit in limits for failure in _check_limit(result, limit)]


def _check_limit(result: DiffResult, limit: Expression) -> Iterator[GateFailure]:
    changes = _metric_changes(result, limit)
    asked = {name.text for name in limit.names} & set(TENSOR_NAMES) - changes.keys()
    if not asked:
        if limit.holds(changes.__getitem__):
            shown = ", ".join(
                f"{name} {value:+.4g}" for name, value in changes.items() if isinstance(value, int | float)
            )
            yield GateFailure(limit.text, "metrics", f"--fail-if {limit.text!r} holds (changes: {shown}).")
        return
    if not result.is_measured and asked - _FREE:
        name = next(name for name in limit.names if name.text in asked - _FREE)
        raise ExpressionError(f"{name.text!r} is not known without reading weights.", limit.text, name.position)
    for pair in result.tensors.changed:
        values = {name: _measure(pair, name) for name in asked}
        missing = [name for name in asked - _FREE if values[name] is None]
        if missing:
            reason = pair.unmeasured or "it is not defined"
            message = f"Tensor {pair.name}: {missing[0]} is not known ({reason}), so --fail-if {limit.text!r} fails."
            yield GateFailure(limit.text, pair.name, message)
        elif limit.holds(partial(_look, values, changes)):
            shown = ", ".join(f"{name} {_shown(values[name])}" for name in sorted(asked - _FREE))
            message = f"Tensor {pair.name}: --fail-if {limit.text!r} holds" + (f" ({shown})." if shown else ".")
            yield GateFailure(limit.text, pair.name, message)


def _look(values: dict[str, Value], changes: dict[str, Value], name: str) -> Value:
    return values[name] if name in values else changes[name]


def _shown(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _metric_changes(result: DiffResult, limit: Expression) -> dict[str, Value]:
    """Return the change of each metric in an expression; a metric that did not change changed by 0."""
    versions = result.before.version, result.after.version
    sides = [version.metrics if version is not None else {} for version in versions]
    known = sides[0].keys() | sides[1].keys()
    changes: dict[str, Value] = {}
    for name in limit.names:
        if name.text in TENSOR_NAMES and name.text not in known:
            continue
        if name.text not in known:
            raise limit.unknown(name, [*TENSOR_NAMES, *known])
        for side, where in zip(sides, (result.before.name, result.after.name), strict=True):
            if name.text not in side:
                raise MlverError(f"Metric {name.text!r} is not known of {where}, so --fail-if cannot tell its change.")
        changes[name.text] = sides[1][name.text] - sides[0][name.text]
    return changes


def _measure(pair: TensorPair, name: str) -> Value:
    if name == "name":
        return pair.name
    if name == "dtype":
        return pair.after.dtype
    if name in ("new_nan", "new_inf"):
        figures = pair.figures
        if figures is None:
            return None
        return figures.to_nan - figures.from_nan if name == "new_nan" else figures.to_inf - figures.from_inf
    value: float | None = getattr(pair, name)
    return None if value is None or math.isnan(value) else value
