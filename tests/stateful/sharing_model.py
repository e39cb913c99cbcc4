"""What logs add up to that two machines and a remote have, as plain lists: see `test_sharing_model`.

A version is a token here, and its number is its place among those that a log adds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any

NAMES = ["net", "data"]
"""What artifacts are called at first; each is found by that name for ever."""
Naming = tuple[str, str | None, str]
"""Which artifact, its name before (None: it is made), and after."""


def titles(namings: list[Naming]) -> dict[str, str]:
    """Return what each artifact is called in the end."""
    return {key: after for key, _, after in namings}


def named_again(there: list[Naming], pending: list[Naming]) -> list[Naming]:
    """Return what names that were given elsewhere mean after others: who made or renamed an artifact first is right."""
    now, again = titles(there), []
    for place, (key, before, after) in enumerate(pending):
        if before is None and key in now:
            continue
        if before is not None and (now[key] in (after, _became(key, after, pending[place:])) or now[key] != before):
            continue
        now[key] = after
        again.append((key, before, after))
    return again


def _became(key: str, name: str, namings: list[Naming]) -> str:
    """Return what a name that was given became in the end."""
    for which, before, after in namings:
        if which == key and before == name:
            name = after
    return name


Action = tuple[Any, ...]
"""`add` token content tag | `alias` alias to was | `tag` token tag present | `note` token text was |
`remove` token removed | `sign` token number signature present."""


@dataclass
class Event:
    """What happened at once; whatever number it gets, it stays the same.

    Attributes:
        id: Which.
        actions: What was done.
        undoes: The event that it takes back.
    """

    id: int
    actions: list[Action]
    undoes: int | None = None


_IDS = count()


class AliasMovedError(Exception):
    """Someone else moved an alias that was moved here too."""


@dataclass
class Log:
    """What one artifact's events add up to."""

    versions: list[int] = field(default_factory=list)
    content: dict[int, int] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    tags: dict[int, set[str]] = field(default_factory=dict)
    notes: dict[int, str | None] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    signed: dict[int, set[str]] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        for action in event.actions:
            self._apply(*action)

    def _apply(self, do: str, *fields: Any) -> None:
        if do == "add":
            self.versions.append(fields[0])
            self.content[fields[0]] = fields[1]
            self.tags[fields[0]], self.signed[fields[0]] = {fields[2]} - {None}, set()
        elif do == "alias" and fields[1] is None:
            self.aliases.pop(fields[0], None)
        elif do == "alias":
            self.aliases[fields[0]] = fields[1]
        elif do == "tag":
            (self.tags[fields[0]].add if fields[2] else self.tags[fields[0]].discard)(fields[1])
        elif do == "note":
            self.notes[fields[0]] = fields[1]
        elif do == "sign":
            (self.signed[fields[0]].add if fields[3] else self.signed[fields[0]].discard)(fields[2])
        else:
            (self.removed.add if fields[1] else self.removed.discard)(fields[0])

    @property
    def live(self) -> list[int]:
        return [token for token in self.versions if token not in self.removed]

    def number(self, token: int) -> int:
        return self.versions.index(token)

    def borne(self, token: int) -> list[str]:
        return sorted(alias for alias, to in self.aliases.items() if to == token)

    def say_again(self, events: list[Event], *, force: bool = False, give_way: bool = False) -> list[Event]:
        """Apply events that were recorded elsewhere, as far as they mean something here; return what they mean."""
        again = []
        for event in events:
            said = []
            for action in event.actions:
                meant = self._meant(action, force, give_way)
                if meant is not None:
                    self._apply(*meant)
                    said.append(meant)
            if said:
                again.append(Event(event.id, said, event.undoes))
        return again

    def _meant(self, action: Action, force: bool, give_way: bool) -> Action | None:
        do, *fields = action
        if do == "alias":
            alias, to, was = fields
            now = self.aliases.get(alias)
            if now == to:
                return None
            if now != was and not force:
                if not give_way:
                    raise AliasMovedError
                return None
            return None if to in self.removed else ("alias", alias, to, now)
        if do == "tag":
            return None if (fields[1] in self.tags[fields[0]]) == fields[2] else action
        if do == "note":
            text = self.notes.get(fields[0])
            return None if text == fields[1] else ("note", fields[0], fields[1], text)
        if do == "remove":
            is_so = (fields[0] in self.removed) == fields[1]
            return None if is_so or (fields[1] and self.borne(fields[0])) else action
        if do == "sign":
            is_so = (fields[2] in self.signed[fields[0]]) == fields[3]
            return None if is_so or self.number(fields[0]) != fields[1] else action
        return action

    def taken_back(self, event: Event) -> list[Action] | None:
        """Return what takes an event back, the last action first; None where that cannot be any more."""
        moved = {action[1] for action in event.actions if action[0] == "alias"}
        brought = {action[1] for action in event.actions if action[0] == "remove"}
        for do, *fields in event.actions:
            appears = do == "add" or (do == "remove" and not fields[1])
            if appears and set(self.borne(fields[0])) - moved:
                return None
            if do == "alias" and fields[2] in self.removed - brought:
                return None
        stands = [self._stands(action) for action in event.actions]
        return [_opposite(action) for action in reversed(event.actions)] if all(stands) else None

    def _stands(self, action: Action) -> bool:
        do, about, *fields = action
        if do == "add":
            return about not in self.removed
        now: Any
        said: Any
        if do == "alias":
            now, said = self.aliases.get(about), fields[0]
        elif do == "note":
            now, said = self.notes.get(about), fields[0]
        elif do == "tag":
            now, said = fields[0] in self.tags[about], fields[1]
        elif do == "sign":
            now, said = fields[1] in self.signed[about], fields[2]
        else:
            now, said = about in self.removed, fields[0]
        return bool(now == said)


def _opposite(action: Action) -> Action:
    do, *fields = action
    if do == "add":
        return ("remove", fields[0], True)
    if do in ("alias", "note"):
        return (do, fields[0], fields[2], fields[1])
    return (do, *fields[:-1], not fields[-1])


def undone(events: list[Event]) -> set[int]:
    """Return the events that were taken back by one which was not."""
    found: set[int] = set()
    for event in reversed(events):
        if event.undoes is not None and event.id not in found:
            found.add(event.undoes)
    return found


def folded(*groups: list[Event]) -> Log:
    log = Log()
    for event in (event for group in groups for event in group):
        log.apply(event)
    return log


@dataclass
class Machine:
    """What one machine was told of each artifact: what the remote had, and what was not pushed. What it has, too."""

    known: dict[str, list[Event]] = field(default_factory=dict)
    pending: dict[str, list[Event]] = field(default_factory=dict)
    has: set[int] = field(default_factory=set)
    """Contents that are wholly in its store."""
    known_names: list[Naming] = field(default_factory=list)
    pending_names: list[Naming] = field(default_factory=list)

    def titles(self) -> dict[str, str]:
        return titles(self.known_names + self.pending_names)

    def log(self, name: str) -> Log:
        return folded(self.events(name))

    def events(self, name: str) -> list[Event]:
        return self.known.get(name, []) + self.pending.get(name, [])

    def record(self, name: str, *actions: Action, undoes: int | None = None) -> None:
        if actions:
            self.pending.setdefault(name, []).append(Event(next(_IDS), list(actions), undoes))
