"""Who may move an alias: nobody one that follows a metric by itself, and a protected one only who insists."""

from __future__ import annotations

from collections.abc import Sequence

from mlver.errors import MlverError, NotFoundError, UsageError
from mlver.history.event import Action, MoveAlias, ProtectAlias, TrackAlias
from mlver.history.following import parse_rule
from mlver.history.records import ArtifactRecord
from mlver.names import check_alias
from mlver.ops.commit import commit
from mlver.ops.opening import OpenRepository


def check_movable(
    repository: OpenRepository, artifact: ArtifactRecord, alias: str, force: bool = False, *, adding: bool = False
) -> None:
    """Refuse to move an alias that is protected, unless `force` is given.

    Args:
        repository: The repository.
        artifact: Whose alias it is.
        alias: The alias.
        force: Allow it.
        adding: It would be moved to a version that is being added, which nothing can force.

    Raises:
        MlverError: It is protected.
    """
    if not force and alias in repository.index.protected(artifact):
        anyway = f"Add it without, then: mlver alias {alias} --force." if adding else "Move it anyway with --force."
        raise MlverError(
            f"Alias {alias!r} of {artifact.name!r} is protected.",
            f"{anyway} Or take the protection away: mlver alias {artifact.name}:{alias} --unprotect",
        )


def check_free_to_set(
    repository: OpenRepository, artifact: ArtifactRecord, alias: str, force: bool = False, *, adding: bool = False
) -> None:
    """Refuse to set or delete an alias that follows a metric, or that is protected.

    Raises:
        MlverError: It is either; the hint tells the way out.
    """
    rule = repository.index.tracked(artifact).get(alias)
    if rule is not None:
        raise MlverError(
            f"Alias {alias!r} of {artifact.name!r} follows {rule} by itself.",
            f"Let it stay where it is first: mlver alias {artifact.name}:{alias} --untrack",
        )
    check_movable(repository, artifact, alias, force, adding=adding)


def check_all_free(repository: OpenRepository, name: str, aliases: Sequence[str]) -> None:
    """Refuse aliases that cannot be set on a new version of the artifact `name`, if there is one.

    See `check_free_to_set`.

    Raises:
        MlverError: One cannot.
    """
    artifact = repository.index.artifact(name)
    if artifact is not None:
        for alias in aliases:
            check_free_to_set(repository, artifact, alias, adding=True)


def unprotected(repository: OpenRepository, artifact: ArtifactRecord, action: Action) -> Sequence[Action]:
    """Return an action with what it takes to move an alias though it is protected; afterwards it is again."""
    if not isinstance(action, MoveAlias) or action.alias not in repository.index.protected(artifact):
        return (action,)
    again = () if action.to is None else (ProtectAlias(action.alias, True),)
    return (ProtectAlias(action.alias, False), action, *again)


def track_alias(repository: OpenRepository, alias: str, rule: str) -> tuple[str, str | None]:
    """Let an alias, given as `best` or `NAME:best`, follow a metric: `max(val_acc)`, `min(loss)`.

    Returns:
        The alias as `NAME:best`, and the name of the version it names now, if any version has the metric.

    Raises:
        UsageError: The alias or the rule is not allowed.
        NotFoundError: There is no such artifact.
        MlverError: The alias is protected.
    """
    artifact, word = alias_of(repository, alias)
    text = parse_rule(rule).text

    def decide() -> list[Action]:
        index = repository.index
        if word in index.protected(artifact):
            raise MlverError(
                f"Alias {word!r} of {artifact.name!r} is protected, so it cannot move by itself.",
                f"Take the protection away first: mlver alias {artifact.name}:{word} --unprotect",
            )
        was = index.tracked(artifact).get(word)
        if was == text:
            return []
        now = None if was is not None else index.alias(artifact, word)
        # What is set goes by an action of its own, so that an undo brings it back.
        return [*([] if now is None else [MoveAlias(word, None, now)]), TrackAlias(word, text, was)]

    commit(repository, artifact, decide)
    return f"{artifact.name}:{word}", _bearer(repository, artifact, word)


def metrics_like(repository: OpenRepository, artifact: ArtifactRecord, rule: str) -> list[str]:
    """Return the metrics of an artifact's versions that somebody who wrote a rule may have meant."""
    from difflib import get_close_matches

    known = {metric for version in repository.index.versions(artifact) for metric in version.metrics}
    return get_close_matches(parse_rule(rule).metric, sorted(known), n=2)


def untrack_alias(repository: OpenRepository, alias: str) -> tuple[str, str | None]:
    """Let an alias that follows a metric stay where it is.

    Returns:
        See `track_alias`.

    Raises:
        NotFoundError: There is no such alias, or it follows nothing.
    """
    artifact, word = alias_of(repository, alias)

    def decide() -> list[Action]:
        was = repository.index.tracked(artifact).get(word)
        if was is None:
            raise NotFoundError(f"Alias {word!r} of {artifact.name!r} follows nothing.", "See: mlver alias")
        now = repository.index.alias(artifact, word)
        return [TrackAlias(word, None, was), *([] if now is None else [MoveAlias(word, now, None)])]

    commit(repository, artifact, decide)
    return f"{artifact.name}:{word}", _bearer(repository, artifact, word)


def protect_alias(repository: OpenRepository, alias: str, protected: bool) -> tuple[str, str | None]:
    """Let an alias move only for who insists, or (not `protected`) for everybody again.

    Returns:
        See `track_alias`.

    Raises:
        NotFoundError: There is no such alias.
        UsageError: It follows a metric by itself.
    """
    artifact, word = alias_of(repository, alias)

    def decide() -> list[Action]:
        index = repository.index
        is_protected = word in index.protected(artifact)
        if protected and word in index.tracked(artifact):
            raise UsageError(
                f"Alias {word!r} of {artifact.name!r} follows a metric by itself: nobody moves it.",
                f"To keep it where it is: mlver alias {artifact.name}:{word} --untrack",
            )
        if not is_protected and index.alias(artifact, word) is None:
            known = ", ".join(index.aliases(artifact)) or "none"
            raise NotFoundError(f"Alias {word!r} of {artifact.name!r} does not exist.", f"Its aliases are: {known}")
        return [] if is_protected == protected else [ProtectAlias(word, protected)]

    commit(repository, artifact, decide)
    return f"{artifact.name}:{word}", _bearer(repository, artifact, word)


def alias_of(repository: OpenRepository, alias: str) -> tuple[ArtifactRecord, str]:
    """Return what `best` (of the current artifact) or `NAME:best` is about.

    Raises:
        UsageError: It is no alias that can be set.
        NotFoundError: There is no such artifact.
    """
    name, separator, word = alias.rpartition(":")
    check_alias(word)
    return repository.artifact(name if separator else None), word


def _bearer(repository: OpenRepository, artifact: ArtifactRecord, alias: str) -> str | None:
    number = repository.index.alias(artifact, alias)
    return None if number is None else f"{artifact.name}:v{number}"
