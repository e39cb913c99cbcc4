"""`add --keep-if-best`: whether what is to be added is better by a metric than every version so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from mlver.errors import UsageError
from mlver.history.records import VersionRecord

if TYPE_CHECKING:
    from mlver.ops.diff.metrics import Direction
    from mlver.ops.opening import OpenRepository


class Candidate(Protocol):
    """What is to be added, as far as it matters here."""

    @property
    def keep_if_best(self) -> str | None:
        """The metric, and perhaps `:min` or `:max`."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Its metrics."""


def best_standing(repository: OpenRepository, name: str, candidate: Candidate) -> VersionRecord | None:
    """Return the best version of an artifact if the candidate is not better, None if it is or nobody asked.

    Raises:
        UsageError: The candidate does not have the metric, or nobody knows which values are better.
    """
    if candidate.keep_if_best is None:
        return None
    metric, direction = parse_metric(candidate.keep_if_best)
    if metric not in candidate.metrics:
        raise UsageError(f"Metric {metric!r} is to be compared, and is not given.", f"Give it: --metric {metric}=VALUE")
    artifact = repository.index.artifact(name)
    versions = repository.index.versions(artifact) if artifact is not None else []
    sign = 1 if direction == "lower" else -1
    rivals = [version for version in versions if _is_number(version.metrics.get(metric))]
    best = min(rivals, key=lambda version: sign * version.metrics[metric], default=None)
    if best is None or sign * candidate.metrics[metric] < sign * best.metrics[metric]:
        return None
    return best


def parse_metric(text: str) -> tuple[str, Direction]:
    """Return a metric and which of its values are better, from `val_acc`, `score:min` or `score:max`.

    Raises:
        UsageError: Neither the text nor the metric's name tells which are.
    """
    from mlver.ops.retention.settings import direction_of

    name, separator, word = text.rpartition(":")
    if separator and word in ("min", "max"):
        return name, direction_of(name, word)
    try:
        return text, direction_of(text, None)
    except UsageError as error:
        raise UsageError(error.message, f"Say it: {text}:min or {text}:max") from error


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
