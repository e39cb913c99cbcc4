"""Policies in `config.toml`: `[retention]`, `[retention.types.TYPE]`, `[retention.artifacts.NAME]`; read and written.

The most specific table counts, alone: an artifact's, else its type's, else the repository's; where there is none,
everything is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlver.config import CONFIG_NAME, with_retention
from mlver.errors import MlverError, NotFoundError, UsageError
from mlver.history.records import ArtifactRecord
from mlver.ops.collect.durations import parse_duration
from mlver.ops.diff.metrics import Direction, better
from mlver.ops.opening import OpenRepository
from mlver.ops.retention.rules import Best, Policy

_BEST = re.compile(r"([1-9][0-9]{0,5}) (.+?)(?: (min|max))?")
_TABLES = ("types", "artifacts")
_KEYS = frozenset({"all", "tagged", "last", "best", "daily", "weekly", "younger", "sources"})


@dataclass(frozen=True, slots=True)
class Scope:
    """What a policy is for: one artifact, all of a type, or (neither) the repository."""

    artifact: str | None = None
    type: str | None = None

    @property
    def name(self) -> str:
        """The scope as people read it."""
        if self.artifact is not None:
            return f"artifact {self.artifact}"
        return f"type {self.type}" if self.type is not None else "repository"


def read_policies(repository: OpenRepository) -> dict[Scope, Policy]:
    """Return all policies, the repository's first.

    Raises:
        MlverError: `config.toml` is malformed.
    """
    table = repository.config.retention
    found: dict[Scope, Policy] = {}
    own = {key: value for key, value in table.items() if key not in _TABLES}
    if own:
        found[Scope()] = _policy(own, "retention")
    for name, values in sorted(_table(table, "types").items()):
        found[Scope(type=name)] = _policy(values, f"retention.types.{name}")
    for name, values in sorted(_table(table, "artifacts").items()):
        found[Scope(artifact=name)] = _policy(values, f"retention.artifacts.{name}")
    return found


def policy_of(
    repository: OpenRepository, policies: Mapping[Scope, Policy], artifact: ArtifactRecord
) -> tuple[Scope, Policy] | None:
    """Return the policy of an artifact, and where it is from; None where nothing is said."""
    for scope, policy in policies.items():
        if scope.artifact is not None and _names(repository, scope.artifact, artifact):
            return scope, policy
    for scope in (Scope(type=artifact.type), Scope()):
        if scope in policies:
            return scope, policies[scope]
    return None


def policies_for(repository: OpenRepository, scope: Scope) -> dict[Scope, Policy]:
    """Return the one policy that counts for an artifact or a type, if there is one; all, if it is neither's.

    Raises:
        NotFoundError: There is no such artifact.
        MlverError: `config.toml` is malformed.
    """
    policies = read_policies(repository)
    if scope.artifact is not None:
        found = policy_of(repository, policies, repository.artifact(scope.artifact))
        return dict([found] if found else [])
    if scope.type is not None:
        return next(({where: policies[where]} for where in (scope, Scope()) if where in policies), {})
    return policies


def set_policy(repository: OpenRepository, scope: Scope, rules: Mapping[str, Any] | None) -> None:
    """Replace the policy of a scope, or (None) take it away.

    Args:
        repository: The repository.
        scope: What it is for.
        rules: As in `config.toml`.

    Raises:
        NotFoundError: There is no such artifact.
        UsageError: A rule is malformed.
    """
    if scope.artifact is not None:
        scope = Scope(artifact=repository.artifact(scope.artifact).name)
    if rules is not None:
        try:
            _policy(rules, "The policy")
        except UsageError:
            raise
        except MlverError as error:
            raise UsageError(error.message, error.hint) from error
    try:
        text = repository.storage.read(CONFIG_NAME)
    except NotFoundError:
        text = b""
    path: tuple[str, str] | None = None
    if scope.artifact is not None:
        path = ("artifacts", scope.artifact)
    elif scope.type is not None:
        path = ("types", scope.type)
    repository.storage.put(CONFIG_NAME, with_retention(text, path, rules))


def parse_best(text: str) -> Best:
    """Return the rule that a text such as `3 val_acc` or `2 score min` says.

    Raises:
        UsageError: It says none, or the name does not tell which values are better and the text does not either.
    """
    match = _BEST.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} says no rule.", "Write a number and a metric, such as '3 val_acc' or '2 x min'.")
    return Best(int(match[1]), match[2], direction_of(match[2], match[3]))


def direction_of(metric: str, word: str | None) -> Direction:
    """Return which values of a metric are better: what the word `min` or `max` says, else the metric's name.

    Raises:
        UsageError: Neither tells.
    """
    if word is not None and word not in ("min", "max"):
        raise UsageError(f"{word!r} is neither min nor max.")
    if word is not None:
        return "lower" if word == "min" else "higher"
    known = better(metric)
    if known is None:
        raise UsageError(f"Whether a higher {metric!r} is better is not known.", "Say min or max behind it.")
    return known


def _names(repository: OpenRepository, name: str, artifact: ArtifactRecord) -> bool:
    """Tell whether a name in `config.toml` is, or once was, an artifact's."""
    index = repository.index
    owner = index.artifact(name) or index.renamed_artifact(name)
    return owner is not None and owner.key == artifact.key


def _policy(values: Any, where: str) -> Policy:
    if not isinstance(values, Mapping):
        raise MlverError(f"config.toml: {where} must be a table.")
    if unknown := sorted(values.keys() - _KEYS):
        raise MlverError(f"config.toml: {where} has {unknown[0]!r}, which is no rule.")
    if not values:
        raise MlverError(f"config.toml: {where} says nothing.", "To keep everything, write: all = true")
    try:
        return Policy(
            everything=_flag(values, "all", False),
            tagged=_flag(values, "tagged", True),
            last=_count(values, "last"),
            best=tuple(map(parse_best, _texts(values, "best"))),
            daily_seconds=_seconds(values, "daily"),
            weekly_seconds=_seconds(values, "weekly"),
            younger_seconds=_seconds(values, "younger"),
            sources=_flag(values, "sources", False),
        )
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", error.hint) from error


def _flag(values: Mapping[str, Any], key: str, default: bool) -> bool:
    value = values.get(key, default)
    if not isinstance(value, bool):
        raise UsageError(f"{key} must be true or false.")
    return value


def _count(values: Mapping[str, Any], key: str) -> int:
    value = values.get(key, 0)
    if type(value) is not int or value < 0:
        raise UsageError(f"{key} must be a number of versions.")
    return value


def _seconds(values: Mapping[str, Any], key: str) -> float:
    value = values.get(key)
    if value is None:
        return 0.0
    if not isinstance(value, str):
        raise UsageError(f"{key} must be a duration, such as '14d'.")
    seconds = parse_duration(value)
    if seconds == 0:
        raise UsageError(f"{key} for {value} keeps nothing.", f"Leave {key} out.")
    return seconds


def _texts(values: Mapping[str, Any], key: str) -> list[str]:
    value = values.get(key, [])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise UsageError(f"{key} must be a list of texts.")
    return value


def _table(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = values.get(key, {})
    if not isinstance(table, dict):
        raise MlverError(f"config.toml: retention.{key} must be a table.")
    return table
