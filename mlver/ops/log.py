"""`log`, `ls`, `show`: what there is."""

from __future__ import annotations

from dataclasses import dataclass

from mlver.errors import NotFoundError
from mlver.history.records import ArtifactRecord, VersionRecord
from mlver.ops.opening import OpenRepository


@dataclass(frozen=True, slots=True)
class LogResult:
    """Versions of one artifact.

    Attributes:
        artifact: The artifact.
        versions: Newest first.
        older_count: How many older ones were left out.
    """

    artifact: ArtifactRecord
    versions: tuple[VersionRecord, ...]
    older_count: int


def log(
    repository: OpenRepository, revision: str | None = None, limit: int | None = None, *, removed: bool = False
) -> LogResult:
    """Return the versions of an artifact, newest first.

    Args:
        repository: The repository.
        revision: An artifact; or a version, from which the list goes back; None is the current artifact.
        limit: At most so many.
        removed: Removed versions too.

    Raises:
        NotFoundError: There is no such artifact or version.
    """
    newest: int | None = None
    if revision is None:
        artifact = repository.artifact(None)
    else:
        repository.index.refresh()
        found = repository.index.artifact(revision) or repository.index.renamed_artifact(revision)
        if found is not None:
            artifact = repository.artifact(revision)
        else:
            resolved = repository.resolve(revision)
            artifact, newest = resolved.artifact, resolved.version.number
    versions = repository.index.versions(artifact, limit, removed=removed, newest=newest)
    older = 0
    if limit is not None and len(versions) == limit and versions:
        older = repository.index.count_older(artifact, versions[-1].number, removed=removed)
    return LogResult(artifact, tuple(versions), older)


def log_all(repository: OpenRepository, limit: int | None = None, *, removed: bool = False) -> list[LogResult]:
    """Return the versions of every artifact, by name.

    Raises:
        NotFoundError: There is no artifact yet.
    """
    repository.index.refresh()
    artifacts = repository.index.artifacts()
    if not artifacts:
        raise NotFoundError("There is no artifact yet.", "Record a first version with: mlver add PATH --name NAME")
    return [log(repository, artifact.name, limit, removed=removed) for artifact in artifacts]
