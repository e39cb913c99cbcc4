"""`show RUN`: a run with what it left beside the log: circumstances, courses of metrics, the end of its output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlver.history.records import RunRecord
from mlver.ops.opening import OpenRepository
from mlver.ops.runs.blobs import read_blob, read_record

_POINTS = 200


@dataclass(frozen=True, slots=True)
class RunDetails:
    """A run, and what it left.

    Attributes:
        run: What the logs say.
        record: Its circumstances; empty if none were recorded, or if they are not here.
        courses: Up to some 200 finite values of each metric, evenly spread, in the order in which they were logged.
        output: The end of what its command wrote; None if nothing was kept, or if it is not here.
        missing: What of these is not here, or damaged, and why.
    """

    run: RunRecord
    record: dict[str, Any]
    courses: dict[str, list[float]]
    output: str | None
    missing: tuple[str, ...]


def run_details(repository: OpenRepository, run: RunRecord) -> RunDetails:
    """Return a run with what it left; that something of it is damaged is said and hides nothing else."""
    from mlver.errors import IntegrityError

    missing: list[str] = []
    record: dict[str, Any] = {}
    courses: dict[str, list[float]] = {}
    output: str | None = None
    try:
        record = read_record(repository, run)
    except IntegrityError as error:
        missing.append(error.message)
    try:
        courses = {} if run.series is None else _courses(read_blob(repository, run.series))
    except IntegrityError as error:
        missing.append(error.message)
    try:
        output = None if run.output is None else read_blob(repository, run.output).decode("utf-8", "replace")
    except IntegrityError as error:
        missing.append(error.message)
    return RunDetails(run, record, courses, output, tuple(missing))


def _courses(blob: bytes) -> dict[str, list[float]]:
    import numpy as np

    from mlver.lineage.series import read_series

    courses = {}
    for name, series in read_series(blob).items():
        values = series.values[np.isfinite(series.values)]
        chosen = np.linspace(0, len(values) - 1, min(len(values), _POINTS)).astype(np.int64)
        courses[name] = [float(value) for value in values[chosen]]
    return courses
