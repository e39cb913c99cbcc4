"""A run uses versions: each is recorded once, and none that follows from what the run made."""

from __future__ import annotations

from mlver.errors import ConflictError, MlverError
from mlver.history.event import Action
from mlver.history.records import RUNS, LinkedVersion, VersionRecord
from mlver.history.revision import Resolved
from mlver.ids import RunId
from mlver.ops.commit import commit
from mlver.ops.opening import OpenRepository
from mlver.ops.runs.begin import use_action
from mlver.ops.runs.circles import follows_from_run
from mlver.ops.runs.current import current_run
from mlver.ops.runs.find import running


def use_version(repository: OpenRepository, run: RunId, revision: str, role: str | None = None) -> Resolved:
    """Record that a run uses a version.

    Args:
        repository: The repository.
        run: Which run.
        revision: Which version.
        role: What as, such as `test`.

    Raises:
        NotFoundError: There is no such version, or no such run.
        ConflictError: The version follows from what the run made.
        UsageError: The run is over.
    """
    found = repository.resolve(revision)
    if not _record(repository, run, found, role):
        raise ConflictError(
            f"{found.version.name} follows from what this run made, so the run cannot have used it.",
            "Another run can.",
        )
    return found


def note_use(repository: OpenRepository, version: VersionRecord) -> None:
    """Record that the run which this command is part of, if it is part of one, read a version.

    A version that the run made itself, or that follows from one, is no input of it. What goes wrong is noted only.
    """
    run = current_run(repository)
    artifact = repository.index.artifact(version.artifact)
    if run is None or artifact is None:
        return
    try:
        _record(repository, run, Resolved(artifact, version), None)
    except MlverError as error:
        repository.notices.append(f"That run {run} used {version.name} was not recorded: {error.message}")


def _record(repository: OpenRepository, run: RunId, found: Resolved, role: str | None) -> bool:
    """Append what says it, unless it is said already; False where it would make a circle."""
    version = found.version
    link = LinkedVersion(version.artifact, version.number, version.id)
    closes_circle = False

    def decide() -> list[Action]:
        nonlocal closes_circle
        used = {(each.artifact, each.number) for each in running(repository, run).inputs}
        if (link.artifact, link.number) in used:
            return []
        repository.index.refresh()  # other logs tell too what follows from what
        closes_circle = follows_from_run(repository, link, run)
        return [] if closes_circle else [use_action(run, found, role)]

    commit(repository, RUNS, decide)
    return not closes_circle
