"""What a watch waits for: `alias:production`, `add:type=model`, `tag:stable,artifact=net*`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from mlver.errors import UsageError
from mlver.history.happenings import KINDS

_KEYS: Mapping[str, tuple[str, ...]] = {
    "add": ("artifact", "type", "tag"),
    "alias": ("alias", "artifact", "type"),
    "tag": ("tag", "artifact", "type"),
    "note": ("artifact", "type"),
    "meta": ("key", "artifact", "type"),
    "rm": ("artifact", "type"),
    "restore": ("artifact", "type"),
}
"""What can be asked of each kind; the first is what a bare word means."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One kind of happening.

    Attributes:
        text: As it was written.
        kind: One of `mlver.history.happenings.KINDS`.
        wanted: Patterns (`*`, `?`) by what they are of, all of which must fit.
    """

    text: str
    kind: str
    wanted: tuple[tuple[str, str], ...]

    def fits(self, document: Mapping[str, Any]) -> bool:
        """Tell whether a happening, as hooks are told of it, is of this kind."""
        if document["kind"] != self.kind or document["version"] is None:
            return False  # an alias that went names no version that anything could be done with
        if self.kind == "tag" and not document["present"]:
            return False
        return all(_fits(document, key, pattern) for key, pattern in self.wanted)


def _fits(document: Mapping[str, Any], key: str, pattern: str) -> bool:
    found = document["tags"] if key == "tag" and document["kind"] == "add" else [document[key]]
    return any(fnmatchcase(str(word), pattern) for word in found)


def parse_condition(text: str) -> Condition:
    """Read a condition: `KIND`, `KIND:WORD` or `KIND:KEY=PATTERN,…`; `alias:NAME:ALIAS` is of one artifact.

    Raises:
        UsageError: It is none.
    """
    kind, colon, rest = text.partition(":")
    if kind not in _KEYS:
        raise UsageError(
            f"{text!r} is nothing to wait for.", f"Write one of {', '.join(KINDS)}, as in alias:production."
        )
    wanted: list[tuple[str, str]] = []
    for part in rest.split(",") if colon else ():
        key, equals, pattern = part.partition("=")
        if not equals:
            artifact, separator, pattern = part.rpartition(":")
            wanted += [("artifact", artifact)] if separator else []
            key = _KEYS[kind][0]
        if key not in _KEYS[kind] or not pattern:
            known = ", ".join(f"{each}=" for each in _KEYS[kind])
            raise UsageError(f"{text!r} is nothing to wait for: {part!r}.", f"With {kind}, write {known}.")
        wanted.append((key, pattern))
    return Condition(text, kind, tuple(wanted))
