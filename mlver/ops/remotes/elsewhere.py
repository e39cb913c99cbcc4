"""What need not be here, because a remote has it: what was fetched or pushed. Known without asking."""

from __future__ import annotations

from mlver.ids import ManifestId
from mlver.ops.opening import OpenRepository
from mlver.ops.remotes.opening import known_heads


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
