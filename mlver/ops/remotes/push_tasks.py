"""What there is to push: for each log what a remote lacks, said again after what others told it meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mlver.history.event import Event
from mlver.history.index import log_folder
from mlver.history.records import RUNS, RUNS_KEY, ArtifactRecord
from mlver.ops.opening import OpenRepository
from mlver.ops.remotes.adopt import by_write_id, scratch_of
from mlver.ops.remotes.fetch import added_versions, log_of
from mlver.ops.remotes.opening import OpenRemote
from mlver.ops.remotes.replay import Replayed, Scratch


@dataclass(slots=True)
class PushTask:
    """One log to be pushed.

    Attributes:
        artifact: Whose log; None for the log of names, `RUNS` for that of runs.
        first: Number from which on the remote may differ.
        mine: Write ids of the events to push: others may be added here meanwhile, whose chunks were not sent.
        news: What the remote has from `first` on.
        scratch: The state that the remote's log adds up to.
        plan: What is to be pushed, said after the news.
        published: What of it this push created there.
    """

    artifact: ArtifactRecord | None
    first: int
    mine: frozenset[str]
    news: list[Event]
    scratch: Scratch
    plan: Replayed = field(default_factory=Replayed)
    published: list[Event] = field(default_factory=list)

    @property
    def is_artifacts(self) -> bool:
        """Whether it is the log of an artifact, and not that of names or of runs."""
        return self.artifact is not None and self.artifact.key != RUNS_KEY


def push_tasks(repository: OpenRepository, remote: OpenRemote, revisions: Sequence[str]) -> list[PushTask]:
    """Return the logs that have something to push; what the remote has anew is read.

    That of names is first, and that of runs before those of artifacts: who sees a version sees what made it.
    """
    limits = _limits(repository, revisions)
    index = repository.index
    wanted: list[tuple[ArtifactRecord | None, int | None]] = [(None, None), (RUNS, None)]
    wanted += [
        (artifact, limits.get(artifact.key))
        for artifact in index.artifacts(empty=True)
        if not revisions or artifact.key in limits
    ]
    tasks = []
    for artifact, upto in wanted:
        folder = log_folder(artifact)
        first = remote.known_head(folder) + 1
        if index.head(artifact.key if artifact else 0) < first:
            continue
        pending = index.events_from(artifact, first)
        mine = frozenset(event.write_id for event in pending if upto is None or event.number <= upto)
        news = log_of(remote, folder).read_from(first)
        scratch = scratch_of(repository, artifact, first)
        scratch.apply(news)
        tasks.append(PushTask(artifact, first, mine, news, scratch))
    return tasks


def _limits(repository: OpenRepository, revisions: Sequence[str]) -> dict[int, int]:
    """Return by artifact key the number of the event that added the newest of the versions asked for."""
    limits: dict[int, int] = {}
    for revision in revisions:
        found = repository.resolve(revision)
        for event in repository.index.events(found.artifact):
            if found.version.number in added_versions(event):
                limits[found.artifact.key] = max(limits.get(found.artifact.key, -1), event.number)
    return limits


def plan_task(repository: OpenRepository, task: PushTask, force: bool) -> Replayed:
    """Say again what was not pushed, after what the remote has.

    Raises:
        ConflictError: Someone else moved an alias, and `force` is not given.
    """
    pending = [
        event for event in repository.index.events_from(task.artifact, task.first) if event.write_id in task.mine
    ]
    return task.scratch.replay(pending, by_write_id(task.news), force=force)
