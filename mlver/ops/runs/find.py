"""Naming runs: by id, by the beginning of one, or by name."""

from __future__ import annotations

from mlver.errors import NotFoundError, UsageError
from mlver.history.records import RunRecord
from mlver.history.run_index import NAME_PREFIX
from mlver.ids import RunId
from mlver.ops.opening import OpenRepository


def find_run(repository: OpenRepository, text: str) -> RunRecord:
    """Return the run that is meant: that of an id, else the newest of a name, else that whose id begins so.

    Raises:
        NotFoundError: There is none; the hint names the nearest.
        UsageError: Several ids begin so.
    """
    repository.index.refresh()
    found = repository.runs.find(text)
    if not found:
        raise NotFoundError(f"There is no run {text!r}.", _hint(repository, text.removeprefix(NAME_PREFIX)))
    if len(found) > 1 and found[0].id.startswith(text) and found[0].name != text:
        ids = ", ".join(run.id for run in found[:5])
        raise UsageError(f"Run {text!r} is ambiguous.", f"It could be {ids}: give more digits.")
    return found[0]


def running(repository: OpenRepository, run: RunId) -> RunRecord:
    """Return a run that is not over, as the index has it.

    Raises:
        NotFoundError: There is no such run.
        UsageError: It is over.
    """
    record = repository.runs.run(run)
    if record is None:
        raise NotFoundError(f"There is no run {run!r}.", "See: mlver runs")
    if record.status != "running":
        raise UsageError(f"Run {record.title!r} is over: it {_ended(record.status)}.", "Begin another one.")
    return record


def _ended(status: str) -> str:
    return {"killed": "was killed", "lost": "was lost"}.get(status, status)


def _hint(repository: OpenRepository, name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, repository.runs.names()[:1000], n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(map(repr, close))}?" if close else "See: mlver runs"
