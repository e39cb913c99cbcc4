"""`log --metrics`: how each metric went over the versions of an artifact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mlver.history.records import VersionRecord
from mlver.ops.diff.metrics import Direction, best, better


class Trend(NamedTuple):
    """A metric over the versions that have it, oldest first.

    Attributes:
        name: The metric.
        versions: The versions.
        values: Its value in each of them.
        better: Which values are better, as far as the name tells.
        best: The version with the best value, the first of several; None if it is not known which is.
    """

    name: str
    versions: tuple[VersionRecord, ...]
    values: tuple[float, ...]
    better: Direction | None
    best: VersionRecord | None


def metric_trends(versions: Sequence[VersionRecord]) -> list[Trend]:
    """Return how each metric went, by name.

    Args:
        versions: Newest first.
    """
    return [_trend(name, versions) for name in sorted({name for version in versions for name in version.metrics})]


def _trend(name: str, versions: Sequence[VersionRecord]) -> Trend:
    having = tuple(version for version in reversed(versions) if name in version.metrics)
    values = tuple(version.metrics[name] for version in having)
    top = best(name, values)
    return Trend(name, having, values, better(name), None if top is None else having[values.index(top)])
