"""A run learns settings while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlver.history.event import Action
from mlver.history.records import RUNS
from mlver.history.run_actions import ConfigureRun
from mlver.ids import RunId
from mlver.lineage.capture.secrets import masked_values
from mlver.ops.commit import commit
from mlver.ops.opening import OpenRepository
from mlver.ops.runs.begin import check_run
from mlver.ops.runs.find import running

_ABSENT = object()


def update_config(
    repository: OpenRepository,
    run: RunId,
    values: Mapping[str, Any],
    *,
    name: str | None = None,
    job_type: str | None = None,
) -> None:
    """Set some of a run's settings; the others stay.

    Args:
        repository: The repository.
        run: Which run.
        values: Settings; what has the name of a secret among them is masked.
        name: Its name from here on; None leaves it.
        job_type: Its job type from here on; None leaves it.

    Raises:
        UsageError: A value, the name or the job type is not allowed, or the run is over.
        NotFoundError: There is no such run.
    """
    check_run(name, job_type, values)
    settings = masked_values(values)

    def decide() -> list[Action]:
        record = running(repository, run)
        news = {key: value for key, value in settings.items() if record.config.get(key, _ABSENT) != value}
        action = ConfigureRun(
            run, news, None if name == record.name else name, None if job_type == record.job_type else job_type
        )
        return [] if action == ConfigureRun(run, {}) else [action]

    commit(repository, RUNS, decide)
