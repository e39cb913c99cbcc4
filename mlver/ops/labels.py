"""`alias`, `tag`, `note`, `meta`: what is said of a version after it was added. Every change can be undone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlver.errors import NotFoundError, UsageError
from mlver.history.event import Action, MoveAlias, SetNote, SetTag, SetValue, TrackAlias
from mlver.history.records import ArtifactRecord, VersionRecord
from mlver.names import LATEST, check_alias, check_tag, check_text
from mlver.ops.commit import commit
from mlver.ops.moving import alias_of, check_free_to_set, check_movable, unprotected
from mlver.ops.opening import OpenRepository
from mlver.ops.values import check_metadata, check_metrics


def set_alias(
    repository: OpenRepository, alias: str, revision: str | None = None, force: bool = False
) -> tuple[VersionRecord, str | None]:
    """Move an alias to a version, by default to the current artifact's latest.

    Args:
        repository: The repository.
        alias: The alias.
        revision: Which version.
        force: Move it though it is protected.

    Returns:
        The version, and the name of the one that bore the alias before, if any other did.

    Raises:
        UsageError: The alias is not allowed.
        NotFoundError: There is no such version.
        MlverError: The alias is protected, or follows a metric by itself.
    """
    name, colon, word = alias.rpartition(":")
    if colon:
        raise UsageError(
            f"Alias {alias!r} is not allowed: it contains ':'.",
            f"Of another artifact than the current one: mlver alias {word} {name}:VERSION",
        )
    check_alias(alias)
    resolved = repository.resolve(revision if revision is not None else LATEST)
    artifact, number = resolved.artifact, resolved.version.number
    before: list[int | None] = []

    def decide() -> list[Action]:
        _version(repository, artifact, number)
        was = repository.index.alias(artifact, alias)
        before[:] = [was]
        if was == number and alias not in repository.index.tracked(artifact):
            return []
        check_free_to_set(repository, artifact, alias, force)
        return [*unprotected(repository, artifact, MoveAlias(alias, number, was))]

    version = _change(repository, resolved.version, artifact, decide)
    was = before[0]
    return version, None if was is None or was == number else f"{artifact.name}:v{was}"


def delete_alias(repository: OpenRepository, alias: str, force: bool = False) -> str | None:
    """Delete an alias, given as `best` (of the current artifact) or `NAME:best`.

    Returns:
        The name of the version that bore it; None where it followed a metric that no version has.

    Raises:
        UsageError: The alias is one that cannot be set either.
        NotFoundError: There is no such alias.
        MlverError: It is protected, and `force` is not given.
    """
    artifact, word = alias_of(repository, alias)
    before: list[int | None] = []

    def decide() -> list[Action]:
        was = repository.index.alias(artifact, word)
        rule = repository.index.tracked(artifact).get(word)
        if was is None and rule is None:
            known = ", ".join(repository.index.aliases(artifact)) or "none"
            raise NotFoundError(f"Alias {word!r} of {artifact.name!r} does not exist.", f"Its aliases are: {known}")
        before[:] = [was]
        check_movable(repository, artifact, word, force)
        if rule is not None:
            return [TrackAlias(word, None, rule)]
        return [*unprotected(repository, artifact, MoveAlias(word, None, was))]

    commit(repository, artifact, decide)
    return None if before[0] is None else f"{artifact.name}:v{before[0]}"


def change_tags(
    repository: OpenRepository, revision: str, add: Sequence[str] = (), remove: Sequence[str] = ()
) -> VersionRecord:
    """Put tags on a version and take others off.

    Raises:
        UsageError: A tag is not allowed.
        NotFoundError: There is no such version, or it does not bear a tag that is to go.
    """
    for tag in (*add, *remove):
        check_tag(tag)
    resolved = repository.resolve(revision)

    def decide() -> list[Action]:
        version = _version(repository, resolved.artifact, resolved.version.number)
        missing = [tag for tag in remove if tag not in version.tags]
        if missing:
            raise NotFoundError(f"{version.name} does not bear the tag {missing[0]!r}.")
        gained = [SetTag(version.number, tag, True) for tag in dict.fromkeys(add) if tag not in version.tags]
        return [*gained, *(SetTag(version.number, tag, False) for tag in dict.fromkeys(remove))]

    return _change(repository, resolved.version, resolved.artifact, decide)


def set_note(repository: OpenRepository, revision: str, note: str | None) -> VersionRecord:
    """Replace a version's note; None takes it away.

    Raises:
        NotFoundError: There is no such version.
        UsageError: The note is not valid Unicode.
    """
    check_text("The note", note or "")
    resolved = repository.resolve(revision)

    def decide() -> list[Action]:
        was = _version(repository, resolved.artifact, resolved.version.number).note
        return [] if was == note else [SetNote(resolved.version.number, note, was)]

    return _change(repository, resolved.version, resolved.artifact, decide)


def change_values(
    repository: OpenRepository,
    revision: str,
    metadata: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    remove: Sequence[str] = (),
) -> VersionRecord:
    """Set metadata and metrics of a version, and take keys away.

    Args:
        repository: The repository.
        revision: Which version.
        metadata: JSON values by key.
        metrics: Finite numbers by key.
        remove: Keys of metadata, or else of metrics, that are to go.

    Raises:
        NotFoundError: There is no such version, or no such key to remove.
        UsageError: A value is not allowed.
    """
    check_metadata(metadata or {})
    check_metrics(metrics or {})
    resolved = repository.resolve(revision)

    def decide() -> list[Action]:
        version = _version(repository, resolved.artifact, resolved.version.number)
        actions: list[Action] = []
        for field, values, has in (
            ("metadata", metadata or {}, version.metadata),
            ("metrics", metrics or {}, version.metrics),
        ):
            for key, value in values.items():
                was = [has[key]] if key in has else []
                if was != [value]:
                    actions.append(SetValue(version.number, field, key, [value], was))
        return actions + [_removal(version, key) for key in dict.fromkeys(remove)]

    return _change(repository, resolved.version, resolved.artifact, decide)


def _removal(version: VersionRecord, key: str) -> SetValue:
    for field, has in (("metadata", version.metadata), ("metrics", version.metrics)):
        if key in has:
            return SetValue(version.number, field, key, [], [has[key]])
    raise NotFoundError(f"{version.name} has no metadata or metric {key!r}.")


def _change(
    repository: OpenRepository, version: VersionRecord, artifact: ArtifactRecord, decide: Callable[[], list[Action]]
) -> VersionRecord:
    commit(repository, artifact, decide)
    return _version(repository, artifact, version.number)


def _version(repository: OpenRepository, artifact: ArtifactRecord, number: int) -> VersionRecord:
    version = repository.index.version(artifact, number)
    assert version is not None  # numbers never go away
    if version.removed:
        raise NotFoundError(f"{version.name} was removed.", f"Take it back with: mlver restore {version.name}")
    return version
