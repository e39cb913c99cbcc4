"""What need not be here, because a remote has it: what was fetched or pushed. Known without asking, or asked anew."""

from __future__ import annotations

from itertools import takewhile

from mlver.errors import MlverError
from mlver.history.records import ArtifactRecord
from mlver.ids import ManifestId
from mlver.ops.opening import OpenRepository
from mlver.ops.remotes.opening import OpenRemote, known_heads, open_remote


def published(repository: OpenRepository) -> set[ManifestId]:
    """Return the manifests of the versions that some remote had when it was last asked.

    Whoever pushes a version pushes its manifest and chunks before, so what is missing of these here is there.
    """
    if not repository.config.remotes:
        return set()
    from mlver.history.event import AddVersion

    heads = known_heads(repository)
    found: set[ManifestId] = set()
    for artifact in repository.index.artifacts():
        head = heads.get(f"log/{artifact.folder}", -1)
        for event in repository.index.events_from(artifact, 0) if head >= 0 else ():
            if event.number > head:
                break
            found.update(ManifestId(action.manifest) for action in event.actions if isinstance(action, AddVersion))
    return found


def ask_anew(repository: OpenRepository) -> list[str]:
    """Find out at the remotes how far logs are the same there, since what is known of it is a cache and may be lost.

    Returns:
        Why remotes could not be asked.
    """
    problems = []
    for name in repository.config.remotes:
        try:
            with open_remote(repository, name) as remote:
                for artifact in repository.index.artifacts():
                    _compare(repository, remote, artifact)
        except MlverError as error:
            problems.append(f"Whether {name} has what is not here is unknown: {error.message}")
    return problems


def _compare(repository: OpenRepository, remote: OpenRemote, artifact: ArtifactRecord) -> None:
    """Note up to which event a log is the same here and at a remote."""
    from mlver.ops.remotes.fetch import log_of

    folder = f"log/{artifact.folder}"
    known = remote.known_head(folder)
    here = {event.number: event for event in repository.index.events_from(artifact, known + 1)}
    if not here:
        return
    there = log_of(remote, folder).read_from(known + 1)
    same = list(takewhile(lambda event: here.get(event.number) == event, there))
    if same:
        remote.note_head(folder, same[-1].number)
