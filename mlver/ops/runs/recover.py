"""Runs whose process died: the next command that looks at runs ends them, with what they had logged."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from mlver.errors import MlverError
from mlver.history.run_blob import MAX_BLOB_BYTES
from mlver.ids import RunId
from mlver.lineage.live import is_abandoned, last_sign_ns, live_folder, live_runs, remove_live
from mlver.ops.opening import OpenRepository
from mlver.ops.runs.end import RunOutcome, end_run


def recover(repository: OpenRepository) -> list[RunId]:
    """End the runs of this machine whose process is gone: they were killed. Return them.

    That one could not be ended, as on a disk that cannot be written, is noted for the person; nothing is lost.

    Raises:
        MlverError: What is live cannot be listed.
    """
    abandoned = [run for run in live_runs(repository.root) if is_abandoned(live_folder(repository.root, run))]
    if abandoned:
        repository.index.refresh()
    return [run for run in abandoned if _end(repository, run)]


def _end(repository: OpenRepository, run: RunId) -> bool:
    folder = live_folder(repository.root, run)
    record = repository.runs.run(run)
    try:
        ended = False
        if record is not None and record.status == "running":
            outcome = _outcome(folder, record.started_at)
            ended = end_run(repository, run, outcome, only_running=True)
        remove_live(folder)
    except MlverError as error:
        repository.notices.append(f"Run {run} was killed, which cannot be recorded: {error.message}")
        return False
    return ended


def _outcome(folder: Path, started_at: str) -> RunOutcome:
    from mlver.lineage.journal_reader import read_course

    course = read_course(folder, MAX_BLOB_BYTES)
    started_ns = datetime.fromisoformat(started_at).timestamp() * 1e9
    duration_seconds = max(0.0, (last_sign_ns(folder) - started_ns) / 1e9)
    return RunOutcome("killed", None, duration_seconds, course.metrics, course.series)
