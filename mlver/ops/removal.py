"""`rm` and `restore`: mark versions removed, and take that back. No byte is deleted here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from mlver.errors import MlverError, NotFoundError
from mlver.history.event import Action, MoveAlias, ProtectAlias, SetRemoved
from mlver.history.records import ArtifactRecord, VersionRecord
from mlver.history.revision import resolve_artifact
from mlver.ids import ManifestId
from mlver.names import LATEST, parse_version
from mlver.ops.commit import commit
from mlver.ops.opening import OpenRepository
from mlver.ops.reliance import confirm_revival, revive
from mlver.ops.usage import Usage, usage


@dataclass(frozen=True, slots=True)
class WholeArtifact:
    """What the removal of all versions of an artifact is about.

    Attributes:
        artifact: Its name.
        revisions: Its versions that are not removed, as `NAME:vN`, newest first.
        usage: Their bytes: of all files, what they take here, and the part of it that nothing else uses.
    """

    artifact: str
    revisions: tuple[str, ...]
    usage: Usage


def whole_artifact(repository: OpenRepository, name: str) -> WholeArtifact:
    """Return all versions of an artifact, and what they take: to be shown before they are removed.

    Raises:
        NotFoundError: There is no such artifact, or it has no version.
        IntegrityError: A manifest is missing or damaged.
    """
    artifact = repository.artifact(name)
    (found,) = usage(repository, artifact.name).artifacts
    revisions = tuple(version.name for version, _ in found.versions)
    if not revisions:
        raise NotFoundError(f"{artifact.name!r} has no versions.", "Removed ones are in: mlver log --removed")
    return WholeArtifact(artifact.name, revisions, found.usage)


@dataclass(frozen=True, slots=True)
class RemoveResult:
    """What `rm` did, or would do.

    Attributes:
        removed: Names of the versions, as `NAME:vN`.
        dropped_aliases: Aliases that went with them, as `NAME:alias`.
    """

    removed: tuple[str, ...]
    dropped_aliases: tuple[str, ...]


def remove(repository: OpenRepository, revisions: Sequence[str], force: bool = False) -> RemoveResult:
    """Mark versions removed; those of one artifact all together or not at all.

    Args:
        repository: The repository.
        revisions: Which versions.
        force: Drop the aliases that protect them.

    Raises:
        NotFoundError: There is no such version.
        MlverError: A version bears an alias, and `force` is not given.
    """
    done: list[tuple[ArtifactRecord, Sequence[Action]]] = []
    for artifact, versions in _chosen(repository, revisions, force):
        event = commit(repository, artifact, partial(_removals, repository, artifact, versions, force))
        done.append((artifact, event.actions if event else ()))
    return _result(done)


def would_remove(repository: OpenRepository, revisions: Sequence[str], force: bool = False) -> RemoveResult:
    """Say what `remove` would do; nothing is done.

    Raises:
        NotFoundError: See `remove`.
        MlverError: See `remove`.
    """
    chosen = _chosen(repository, revisions, force)
    return _result([(artifact, _removals(repository, artifact, versions, force)) for artifact, versions in chosen])


def _chosen(
    repository: OpenRepository, revisions: Sequence[str], force: bool
) -> list[tuple[ArtifactRecord, list[VersionRecord]]]:
    """Return the versions that are meant, by artifact; all of them may be removed as of now."""
    chosen: dict[int, tuple[ArtifactRecord, list[VersionRecord]]] = {}
    for revision in revisions:
        resolved = repository.resolve(revision)
        _check_unprotected(resolved.version, force)
        chosen.setdefault(resolved.artifact.key, (resolved.artifact, []))[1].append(resolved.version)
    return list(chosen.values())


def _result(done: Iterable[tuple[ArtifactRecord, Sequence[Action]]]) -> RemoveResult:
    removed: list[str] = []
    dropped: list[str] = []
    for artifact, actions in done:
        removed += [f"{artifact.name}:v{action.version}" for action in actions if isinstance(action, SetRemoved)]
        dropped += [f"{artifact.name}:{action.alias}" for action in actions if isinstance(action, MoveAlias)]
    return RemoveResult(tuple(removed), tuple(dropped))


def restore(repository: OpenRepository, revisions: Sequence[str]) -> list[VersionRecord]:
    """Bring removed versions back; nothing is done unless all of them can be.

    Args:
        repository: The repository.
        revisions: Each `NAME:vN`, or `vN` of the current artifact.

    Raises:
        NotFoundError: There is no such version, it is not removed, or its content is gone.
    """
    repository.index.refresh()
    chosen = dict.fromkeys(_removed_version(repository, revision) for revision in revisions)
    identities = [revive_version(repository, artifact, number) for artifact, number in chosen]
    for (artifact, number), identity in zip(chosen, identities, strict=True):
        commit(repository, artifact, partial(_restoration, repository, artifact, number))
        confirm_revival(repository, artifact, number, identity)
    versions = [repository.index.version(artifact, number) for artifact, number in chosen]
    return [version for version in versions if version is not None]


def revive_version(repository: OpenRepository, artifact: ArtifactRecord, number: int) -> ManifestId:
    """Make sure that a version which is about to come back has its content, and return its manifest.

    Raises:
        NotFoundError: The content is gone, or there is no such version.
    """
    version = repository.index.version(artifact, number)
    if version is None:
        raise NotFoundError(f"Version 'v{number}' of {artifact.name!r} does not exist.")
    if version.removed:
        revive(repository, version.id, version.name)
    return version.id


def _removed_version(repository: OpenRepository, revision: str) -> tuple[ArtifactRecord, int]:
    name, separator, selector = revision.rpartition(":")
    current = name if separator else repository.current()
    number = parse_version(selector)
    if current is None or number is None:
        raise NotFoundError(f"{revision!r} names no removed version.", "Give it as NAME:vN; see: mlver log --removed")
    artifact, _ = resolve_artifact(repository.index, current)
    _restoration(repository, artifact, number)
    return artifact, number


def _restoration(repository: OpenRepository, artifact: ArtifactRecord, number: int) -> list[Action]:
    version = repository.index.version(artifact, number)
    if version is None:
        raise NotFoundError(f"Version 'v{number}' of {artifact.name!r} does not exist.")
    if not version.removed:
        raise NotFoundError(f"{version.name} is not removed.")
    return [SetRemoved(number, removed=False)]


def _removals(
    repository: OpenRepository, artifact: ArtifactRecord, versions: Sequence[VersionRecord], force: bool
) -> list[Action]:
    actions: list[Action] = []
    for number in dict.fromkeys(version.number for version in versions):
        version = repository.index.version(artifact, number)
        if version is None or version.removed:
            continue  # someone else was faster
        _check_unprotected(version, force)
        actions += _dropped(repository, artifact, version)
        actions.append(SetRemoved(number, removed=True))
    return actions


def _dropped(repository: OpenRepository, artifact: ArtifactRecord, version: VersionRecord) -> list[Action]:
    """Return what becomes of a version's aliases. Those that follow a metric move on by themselves."""
    index = repository.index
    going = [alias for alias in version.aliases if alias not in (LATEST, *index.tracked(artifact))]
    unprotected: list[Action] = [ProtectAlias(alias, False) for alias in going if alias in index.protected(artifact)]
    return [*unprotected, *(MoveAlias(alias, None, version.number) for alias in going)]


def _check_unprotected(version: VersionRecord, force: bool) -> None:
    aliases = [alias for alias in version.aliases if alias != LATEST]
    if aliases and not force:
        raise MlverError(
            f"{version.name} bears the alias {aliases[0]!r}, which protects it.",
            "Move the alias first, or drop it too with --force.",
        )
