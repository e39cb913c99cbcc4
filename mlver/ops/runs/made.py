"""What a run made: new versions say so themselves; of content that a version had already, the log of runs does."""

from __future__ import annotations

from mlver.history.event import Action
from mlver.history.records import RUNS, ArtifactRecord, LinkedVersion, VersionRecord
from mlver.history.run_actions import MadeAgain
from mlver.ids import RunId
from mlver.ops.commit import commit
from mlver.ops.opening import OpenRepository
from mlver.ops.runs.circles import run_follows_from


def note_made_again(repository: OpenRepository, run: RunId, artifact: ArtifactRecord, version: VersionRecord) -> bool:
    """Record that a run made content that a version had already.

    Returns:
        False where the run used that version, or one that follows from it: then it did not make it.
    """
    link = LinkedVersion(version.artifact, version.number, version.id)
    closes_circle = False

    def decide() -> list[Action]:
        nonlocal closes_circle
        if run in repository.runs.maker_of(artifact, version.number):
            return []
        repository.index.refresh()
        closes_circle = run_follows_from(repository, run, link)
        return [] if closes_circle else [MadeAgain(run, artifact.folder, version.number, version.id)]

    commit(repository, RUNS, decide)
    return not closes_circle
