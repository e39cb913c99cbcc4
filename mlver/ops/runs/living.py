"""Runs that are going on here: begun with a live folder, ended with what was logged into it.

capture → begin → journal … → series → **end**
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlver.errors import NotFoundError, UsageError
from mlver.history.run_actions import RunEnd
from mlver.history.run_blob import MAX_BLOB_BYTES
from mlver.ids import RunId
from mlver.lineage.capture.record import Captured
from mlver.lineage.capture.secrets import masked_values
from mlver.lineage.journal import has_journals
from mlver.lineage.live import LiveRun, live_folder
from mlver.ops.opening import OpenRepository
from mlver.ops.runs.begin import begin_run, new_run_id
from mlver.ops.runs.end import RunOutcome, end_run


@dataclass(frozen=True, slots=True)
class LivingRun:
    """A run of this process.

    Attributes:
        id: Its id.
        live: Its live folder.
        begun: When it began, on the monotonic clock, in seconds.
    """

    id: RunId
    live: LiveRun
    begun: float


def begin_living(
    repository: OpenRepository,
    captured: Captured,
    *,
    name: str | None = None,
    job_type: str | None = None,
    config: Mapping[str, Any] | None = None,
    uses: Sequence[str] = (),
) -> LivingRun:
    """Begin a run of this process, which must end it.

    Args:
        repository: The repository.
        captured: Its circumstances.
        name: What to call it.
        job_type: Such as `train`.
        config: Its settings; what has the name of a secret among them is masked.
        uses: Revisions of what it reads.

    Raises:
        NotFoundError: There is no such version.
        UsageError: A name, type or setting is not allowed.
        MlverError: The repository cannot be written.
    """
    run = new_run_id()
    live = LiveRun(repository.root, run)
    try:
        begin_run(
            repository,
            name=name,
            job_type=job_type,
            config=masked_values(config or {}),
            record=captured.record,
            patch=captured.patch,
            uses=uses,
            run=run,
        )
    except (NotFoundError, UsageError):  # before anything was written
        live.remove()
        raise
    except BaseException:
        live.release()
        raise
    return LivingRun(run, live, time.monotonic())


def end_living(
    repository: OpenRepository,
    run: LivingRun,
    status: RunEnd,
    exit_code: int | None = None,
    output: bytes | None = None,
) -> RunOutcome:
    """End a run of this process, with all that was logged into its live folder.

    Args:
        repository: The repository.
        run: What `begin_living` returned.
        status: How it ended.
        exit_code: Of its command.
        output: The end of what its command wrote.

    Raises:
        MlverError: The repository cannot be written; the live folder stays, and a later command tries again.
    """
    duration_seconds = time.monotonic() - run.begun
    outcome = RunOutcome(status, exit_code, duration_seconds, output=output)
    if has_journals(run.live.folder):
        from mlver.lineage.journal_reader import read_course

        course = read_course(run.live.folder, MAX_BLOB_BYTES)
        outcome = replace(outcome, metrics=course.metrics, series=course.series)
    end_run(repository, run.id, outcome)
    run.live.remove()
    return outcome


def logged_metrics(repository: OpenRepository, run: RunId) -> dict[str, float]:
    """Return the newest value of each metric that a run on this machine has logged so far."""
    folder = live_folder(repository.root, run)
    if not has_journals(folder):
        return {}
    from mlver.lineage.journal_reader import read_summaries

    return {name: summary.last for name, summary in read_summaries(folder).items() if summary.last is not None}
