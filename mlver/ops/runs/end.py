"""Ending a run: its series and the end of its output are kept first, then one event says how it went."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlver.errors import NotFoundError
from mlver.history.event import Action
from mlver.history.records import RUNS, MetricSummary
from mlver.history.run_actions import FinishRun, RunEnd
from mlver.ids import RunId
from mlver.ops.commit import commit
from mlver.ops.opening import OpenRepository
from mlver.ops.runs.blobs import store_blob


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run went.

    Attributes:
        status: How it ended.
        exit_code: Of its command, 128 and the signal's number where one killed it.
        duration_seconds: How long it took.
        metrics: What became of its metrics, by name.
        series: All their values, see `docs/format.md`; None if it has none.
        output: The end of what its command wrote; None if nothing was kept.
    """

    status: RunEnd
    exit_code: int | None = None
    duration_seconds: float = 0.0
    metrics: Mapping[str, MetricSummary] = field(default_factory=dict)
    series: bytes | None = None
    output: bytes | None = None


def end_run(repository: OpenRepository, run: RunId, outcome: RunOutcome, *, only_running: bool = False) -> bool:
    """Record that a run is over.

    Args:
        repository: The repository.
        run: Which run.
        outcome: How it went.
        only_running: Leave a run alone that is over by now, as whoever finds its process dead must.

    Returns:
        Whether that was recorded.

    Raises:
        NotFoundError: There is no such run.
        MlverError: The repository cannot be written.
    """
    series = None if outcome.series is None else store_blob(repository, outcome.series)
    output = None if outcome.output is None else store_blob(repository, outcome.output)
    summaries = {name: _document(summary) for name, summary in outcome.metrics.items()}
    duration_seconds = max(0.0, round(outcome.duration_seconds, 6))
    finish = FinishRun(run, outcome.status, outcome.exit_code, duration_seconds, summaries, series, output)

    def decide() -> list[Action]:
        record = repository.runs.run(run)
        if record is None:
            raise NotFoundError(f"There is no run {run!r}.", "See: mlver runs")
        return [] if only_running and record.status != "running" else [finish]

    return commit(repository, RUNS, decide) is not None


def _document(summary: MetricSummary) -> dict[str, float | int | None]:
    return {
        "last": _finite(summary.last),
        "min": _finite(summary.min),
        "max": _finite(summary.max),
        "count": summary.value_count,
        "nan": summary.nan_count,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
