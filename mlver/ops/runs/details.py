"""`show RUN`: a run with what it left beside the log: circumstances, courses of metrics, the end of its output."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlver.history.records import RunRecord
from mlver.history.run_blob import MAX_BLOB_BYTES
from mlver.lineage.journal import has_journals
from mlver.lineage.live import live_folder
from mlver.ops.opening import OpenRepository
from mlver.ops.runs.blobs import read_blob, read_record

if TYPE_CHECKING:
    from mlver.lineage.series import Series

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
    """Return a run with what it left; that something of it is damaged is said and hides nothing else.

    Of a run that goes on here, metrics are those so far.

    Raises:
        MlverError: Something cannot be read.
    """
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
        run, series = _with_series(repository, run)
        courses = {} if series is None else _courses(series)
    except IntegrityError as error:
        missing.append(error.message)
    try:
        output = None if run.output is None else read_blob(repository, run.output).decode("utf-8", "replace")
    except IntegrityError as error:
        missing.append(error.message)
    return RunDetails(run, record, courses, output, tuple(missing))


def run_series(repository: OpenRepository, run: RunRecord, metrics: Collection[str] | None = None) -> dict[str, Series]:
    """Return all values of a run's metrics: of one that goes on here, those so far.

    Args:
        repository: The repository.
        run: The run.
        metrics: Only these; None for all.

    Raises:
        IntegrityError: They are damaged, or missing here and at the remotes.
        MlverError: They cannot be read.
    """
    from mlver.lineage.series import read_series

    blob = _with_series(repository, run)[1]
    return {} if blob is None else read_series(blob, metrics)


def _with_series(repository: OpenRepository, run: RunRecord) -> tuple[RunRecord, bytes | None]:
    """Return a run with all its values: of one that goes on here, and has said nothing yet in the log, those so far."""
    folder = live_folder(repository.root, run.id)
    if run.status != "running" or not has_journals(folder):
        return run, None if run.series is None else read_blob(repository, run.series)
    from mlver.lineage.journal_reader import read_course

    course = read_course(folder, MAX_BLOB_BYTES)
    return run._replace(metrics=course.metrics), course.series


def _courses(blob: bytes) -> dict[str, list[float]]:
    import numpy as np

    from mlver.lineage.series import read_series

    courses = {}
    for name, series in read_series(blob).items():
        values = series.values[np.isfinite(series.values)]
        chosen = np.linspace(0, len(values) - 1, min(len(values), _POINTS)).astype(np.int64)
        courses[name] = [float(value) for value in values[chosen]]
    return courses
