"""What the shells' completions ask: `mlver __complete KIND PREFIX` prints the words that fit, one a line.

The completion scripts know commands and options by themselves; they ask only for names of this repository. It is
answered without typer, and never with an error: a person is in the middle of a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from mlver.cli.text import escape
from mlver.errors import MlverError

if TYPE_CHECKING:
    from mlver.ops.complete import KnownNames


def answer(arguments: Sequence[str], stdout: TextIO) -> int:
    """Print the words of a kind that begin with a prefix; return the exit code.

    Args:
        arguments: The kind, a key of `KINDS`, and the prefix, which may be missing.
        stdout: Where the words go.
    """
    kind, prefix = (*arguments, "", "")[:2]
    if kind not in KINDS:
        return 2
    try:
        names = _known_names()
    except (MlverError, OSError):  # no repository, or none that can be read: there is nothing to offer
        return 1
    for word in KINDS[kind](names, prefix):
        if word.startswith(prefix) and escape(word) == word:
            stdout.write(f"{word}\n")
    return 0


def _known_names() -> KnownNames:
    from mlver.cli.location import repository_root
    from mlver.ops.complete import known_names
    from mlver.ops.opening import open_repository

    repository = open_repository(repository_root())
    try:
        return known_names(repository)
    finally:
        repository.close()


def _revisions(names: KnownNames, prefix: str) -> Iterator[str]:
    """Yield the current artifact's versions and all artifacts; after `NAME:` or `NAME@` that artifact's versions."""
    for separator in ":@":
        artifact, found, _ = prefix.partition(separator)
        if found:
            yield from (f"{artifact}{separator}{word}" for word in names.artifacts.get(artifact, ()))
            return
    if names.current is not None:
        yield from names.artifacts.get(names.current, ())
    yield from names.artifacts


def _origins(names: KnownNames, prefix: str) -> Iterator[str]:
    """Yield what can be made again: versions and runs."""
    yield from _revisions(names, prefix)
    yield from names.runs


def _conditions(names: KnownNames, prefix: str) -> Iterator[str]:
    """Yield what can be waited for; which aliases and tags, once it is known that it is one."""
    from mlver.history.happenings import KINDS as HAPPENINGS

    kind, colon, _ = prefix.partition(":")
    if not colon:
        yield from HAPPENINGS
    subjects = {"alias": names.aliases, "tag": names.tags, "add": tuple(names.artifacts)}
    yield from (f"{kind}:{word}" for word in subjects.get(kind, ()))


KINDS: dict[str, Callable[[KnownNames, str], Iterator[str]]] = {
    "artifacts": lambda names, _: iter(names.artifacts),
    "aliases": lambda names, _: iter(names.aliases),
    "conditions": _conditions,
    "origins": _origins,
    "remotes": lambda names, _: iter(names.remotes),
    "revisions": _revisions,
    "tags": lambda names, _: iter(names.tags),
}
