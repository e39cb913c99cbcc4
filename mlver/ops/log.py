"""`log`, `ls`, `show`: what there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mlver.errors import NotFoundError
from mlver.history.manifest_blob import MANIFESTS_FOLDER, manifest_id_of, manifest_name
from mlver.history.records import ArtifactRecord, VersionRecord
from mlver.ids import ManifestId
from mlver.ops.opening import OpenRepository
from mlver.store.aside import find_aside

Restorable = Literal["yes", "remote", "no"]
"""Whether `restore` brings a removed version back: its content is here, or a remote will be asked for it, or `gc` has
deleted it."""


@dataclass(frozen=True, slots=True)
class LogResult:
    """Versions of one artifact.

    Attributes:
        artifact: The artifact.
        versions: Newest first.
        older_count: How many older ones were left out.
        restorable: Of the removed ones among them, by number, whether they can come back.
    """

    artifact: ArtifactRecord
    versions: tuple[VersionRecord, ...]
    older_count: int
    restorable: Mapping[int, Restorable] = field(default_factory=dict)


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
    return LogResult(artifact, tuple(versions), older, _restorable(repository, versions))


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


def _restorable(repository: OpenRepository, versions: Sequence[VersionRecord]) -> dict[int, Restorable]:
    """Return of each removed version whether it can come back; its manifest goes first, so it tells."""
    removed = [version for version in versions if version.removed]
    absent = {version.id for version in removed if not repository.storage.exists(manifest_name(version.id))}
    elsewhere: set[ManifestId] = set()
    if absent:
        # What a collector has aside is put back by whoever wants it.
        absent -= {manifest_id_of(name) for _, name in find_aside(repository.storage, MANIFESTS_FOLDER)}
        from mlver.ops.remotes.elsewhere import published

        elsewhere = published(repository)
    return {
        version.number: "yes" if version.id not in absent else "remote" if version.id in elsewhere else "no"
        for version in removed
    }
