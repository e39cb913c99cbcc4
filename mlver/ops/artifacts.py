"""`switch`, `rename`: which artifact is the current one, and what an artifact is called."""

from __future__ import annotations

from mlver.errors import UsageError
from mlver.history.event import Action, RenameArtifact
from mlver.history.records import ArtifactRecord
from mlver.names import check_artifact_name
from mlver.ops.commit import commit
from mlver.ops.opening import OpenRepository


def switch(repository: OpenRepository, name: str) -> ArtifactRecord:
    """Make an artifact the current one.

    Raises:
        NotFoundError: There is no such artifact.
    """
    artifact = repository.artifact(name)
    repository.set_current(artifact.name)
    return artifact


def rename(repository: OpenRepository, old: str, new: str) -> ArtifactRecord:
    """Give an artifact another name. Its history and aliases stay, and the old name still finds it.

    Raises:
        NotFoundError: There is no artifact `old`.
        UsageError: `new` is not allowed, or cannot be told from another artifact's name.
    """
    check_artifact_name(new)
    artifact = repository.artifact(old)
    was_current = repository.current() == artifact.name

    def decide() -> list[Action]:
        holder = repository.index.artifact(artifact.name)
        if holder is None:
            raise UsageError(f"Artifact {artifact.name!r} was renamed by someone else just now.")
        if artifact.name == new:
            return []
        return [RenameArtifact(artifact.name, check_free(repository, artifact, new))]

    commit(repository, None, decide)
    if was_current:
        repository.set_current(new)
    return repository.artifact(new)


def check_free(repository: OpenRepository, artifact: ArtifactRecord, name: str) -> str:
    """Return `name` if `artifact` may be called so: it is free, or one of its own former names.

    Raises:
        UsageError: It is, or was, another artifact's.
    """
    used = repository.index.name_in_use(name)
    if used is None:
        return name
    owner = repository.index.artifact(used) or repository.index.renamed_artifact(used)
    if owner is not None and owner.key == artifact.key:
        return name
    if used == name:
        raise UsageError(f"The name {name!r} is or was another artifact's.", "Choose another name.")
    raise UsageError(
        f"The name {name!r} cannot be told from {used!r}, which is or was another artifact's.",
        "Choose a name that differs by more than case.",
    )
