"""Revisions: how a person names a version.

    v4  best  latest  best~1          of the current artifact
    NAME  NAME:v4  NAME:best  NAME@best  NAME~2
    max(val_acc)  NAME@min(loss)      the best version by a metric, or by an expression of several
    blake3:1f3c…  1f3c…               an id, or a prefix of one that is not ambiguous

A bare word is tried as a version number, an alias of the current artifact, an artifact's name, and an id, in this
order. `~N` goes N versions back along the artifact's numbers; removed versions do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from mlver.errors import NotFoundError, UsageError
from mlver.history.index import VersionIndex
from mlver.history.records import ArtifactRecord, VersionRecord
from mlver.ids import ID_PREFIX, is_hex
from mlver.names import LATEST, parse_version

MIN_ID_DIGITS = 4
_CALL = re.compile(r"(?:(?P<name>[^:@()]+)[:@])?(?P<selection>(?:max|min)\s*\(.*\))", re.DOTALL)
_STEPS = re.compile(r"(?P<base>.*)~(?P<steps>[0-9]{0,18})", re.DOTALL)


class Resolved(NamedTuple):
    """What a revision names.

    Attributes:
        artifact: The artifact.
        version: The version of it.
        notice: Something to tell the person, such as that the artifact has another name now.
    """

    artifact: ArtifactRecord
    version: VersionRecord
    notice: str | None = None


def resolve(index: VersionIndex, text: str, current: str | None) -> Resolved:
    """Return the version that `text` names.

    Args:
        index: A refreshed index.
        text: The revision.
        current: Name of the current artifact, if there is one.

    Raises:
        NotFoundError: There is no such version; the hint names the nearest there is.
        UsageError: `text` is no revision.
    """
    base, steps = _split_steps(text)
    found = _resolve_base(index, base, current)
    if steps == 0:
        return found
    number = index.predecessor(found.artifact, found.version.number, steps)
    version = None if number is None else index.version(found.artifact, number)
    if version is None:
        raise NotFoundError(f"{text!r} goes back beyond the first version of {found.artifact.name!r}.")
    return Resolved(found.artifact, version, found.notice)


def resolve_artifact(index: VersionIndex, name: str) -> tuple[ArtifactRecord, str | None]:
    """Return the artifact that bears or once bore `name`, and a notice in the second case.

    Raises:
        NotFoundError: There is none; the hint names the nearest.
    """
    if found := index.artifact(name):
        return found, None
    if found := index.renamed_artifact(name):
        return found, f"Artifact {name!r} was renamed: it is {found.name!r} now."
    raise NotFoundError(f"Artifact {name!r} does not exist.", _artifact_hint(index, name))


def _split_steps(text: str) -> tuple[str, int]:
    match = _STEPS.fullmatch(text)
    if match is None:
        if "~" in text:
            raise UsageError(f"{text!r} is no revision: '~' must be followed by a number.")
        return text, 0
    if "~" in match["base"]:
        raise UsageError(f"{text!r} is no revision: it has more than one '~'.", "Write best~2 to go back two versions.")
    return match["base"], int(match["steps"] or 1)


def _resolve_base(index: VersionIndex, base: str, current: str | None) -> Resolved:
    if not base:
        raise UsageError("A revision is empty.", "Name a version, such as v4, best or NAME:latest.")
    if base.startswith(ID_PREFIX):
        return _by_id(index, base.removeprefix(ID_PREFIX), base)
    if call := _CALL.fullmatch(base):
        return _by_value(index, call["name"], call["selection"], current)
    for separator in ":@":
        name, found, selector = base.partition(separator)
        if found:
            if not name or not selector:
                raise UsageError(f"{base!r} is no revision.", "Write it like NAME:v4 or NAME:best.")
            artifact, notice = resolve_artifact(index, name)
            return Resolved(artifact, _select(index, artifact, selector), notice)
    return _bare(index, base, current)


def _by_value(index: VersionIndex, name: str | None, text: str, current: str | None) -> Resolved:
    from mlver.history.selection import parse_selection

    selection = parse_selection(text)
    assert selection is not None
    if name is None and current is None:
        raise NotFoundError(f"There is no version {text!r}.", f"No artifact is current: name one, as in NAME@{text}.")
    artifact, notice = resolve_artifact(index, name or current or "")
    return Resolved(artifact, selection.choose(index.versions(artifact), repr(artifact.name)), notice)


def _bare(index: VersionIndex, word: str, current: str | None) -> Resolved:
    artifact = index.artifact(current) if current else None
    if artifact is not None and (parse_version(word) is not None or index.alias(artifact, word) is not None):
        return Resolved(artifact, _select(index, artifact, word))
    named = index.artifact(word) or index.renamed_artifact(word)
    if named is not None:
        named, notice = resolve_artifact(index, word)
        return Resolved(named, _select(index, named, LATEST), notice)
    if len(word) >= MIN_ID_DIGITS and is_hex(word):
        return _by_id(index, word, word)
    if artifact is None:
        hint = _artifact_hint(index, word) or "No artifact is current: name one, as in NAME:v4."
        raise NotFoundError(f"There is no version {word!r}.", hint)
    known = [*index.aliases(artifact), *(found.name for found in index.artifacts())]
    raise NotFoundError(
        f"There is no version, alias of {artifact.name!r}, or artifact {word!r}.",
        _nearest(word, known) or f"See: mlver log {artifact.name}",
    )


def _select(index: VersionIndex, artifact: ArtifactRecord, selector: str) -> VersionRecord:
    number = parse_version(selector)
    if number is None:
        number = index.alias(artifact, selector)
    version = index.version(artifact, number) if number is not None else None
    if selector == LATEST and version is None:
        raise NotFoundError(f"Artifact {artifact.name!r} has no version.", "Record one with: mlver add PATH")
    if version is None:
        raise _no_such_version(index, artifact, selector)
    if version.removed:
        raise NotFoundError(
            f"{version.name} was removed.",
            f"Take it back with: mlver restore {version.name}",
        )
    return version


def _by_id(index: VersionIndex, digits: str, text: str) -> Resolved:
    if len(digits) < MIN_ID_DIGITS or not is_hex(digits):
        raise UsageError(f"{text!r} is no id.", f"An id has at least {MIN_ID_DIGITS} hex digits.")
    found = index.versions_by_id_prefix(digits)
    if len({version.id for version in found}) > 1:
        names = ", ".join(version.name for version in found[:5])
        raise NotFoundError(f"Id {text!r} is ambiguous.", f"It could be {names}: give more digits.")
    if not found:
        raise NotFoundError(f"There is no version with id {text!r}.")
    artifact = index.artifact(found[-1].artifact)
    assert artifact is not None
    return Resolved(artifact, found[-1])


def _no_such_version(index: VersionIndex, artifact: ArtifactRecord, selector: str) -> NotFoundError:
    newest = [f"v{version.number}" for version in index.versions(artifact, 20)]
    hint = _nearest(selector, [*index.aliases(artifact), *newest])
    if hint is None and newest:
        hint = f"Its newest version is {newest[0]}; see: mlver log {artifact.name}"
    kind = "Version" if parse_version(selector) is not None else "Alias"
    return NotFoundError(f"{kind} {selector!r} of {artifact.name!r} does not exist.", hint)


def _artifact_hint(index: VersionIndex, name: str) -> str | None:
    artifacts = [artifact.name for artifact in index.artifacts()]
    return _nearest(name, artifacts) or (None if artifacts else "Nothing has been added yet: see mlver add --help")


def _nearest(word: str, known: Iterable[str]) -> str | None:
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(map(repr, close))}?" if close else None
