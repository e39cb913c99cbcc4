"""The run that a command is part of: whoever runs it hands its id down, with the repository that it is of."""

from __future__ import annotations

import os

from mlver.ids import RunId, is_run_id
from mlver.ops.opening import OpenRepository

RUN_VARIABLE = "MLVER_RUN"
"""The environment variable with what `run_variable` returns; only the command line and the API's outermost read it."""


def run_variable(repository: OpenRepository, run: RunId) -> str:
    """Return what tells commands that a run starts which run they are part of."""
    return f"{run}@{os.path.realpath(repository.root)}"


def current_run(repository: OpenRepository) -> RunId | None:
    """Return the run that the caller is part of; None if it is part of none that can be told of anything.

    That the run is over, unknown, or of another repository is noted for the person: what they do stands by itself.
    """
    text = repository.run_variable
    if not text:
        return None
    run, _, place = text.partition("@")
    problem = _problem(repository, run, place)
    if problem is None:
        return RunId(run)
    notice = f"This is not recorded as part of a run: {RUN_VARIABLE} {problem}."
    if notice not in repository.notices:
        repository.notices.append(notice)
    return None


def _problem(repository: OpenRepository, run: str, place: str) -> str | None:
    if not is_run_id(run) or not place:
        return f"is {repository.run_variable!r}, which names no run"
    if os.path.realpath(place) != os.path.realpath(repository.root):
        return f"names one of the repository {place}"
    repository.index.refresh()
    record = repository.runs.run(RunId(run))
    if record is None:
        return f"names run {run}, which is not known"
    return None if record.status == "running" else f"names run {run}, which is over"
