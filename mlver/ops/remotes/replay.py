"""Saying events again after others that were first: v7 becomes v8, and what contradicts them is left out or refused.

Pure but for a scratch database: from the events of a remote and the unpushed ones of this machine to the events that
say the same after them. An event keeps its write id, time and author, so it is known again wherever it ends up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from mlver.errors import ConflictError, IntegrityError
from mlver.history import tables as history_tables
from mlver.history.event import (
    Action,
    AddVersion,
    ContinueLog,
    CreateArtifact,
    Event,
    MoveAlias,
    ProtectAlias,
    RenameArtifact,
    SetNote,
    SetRemoved,
    SetTag,
    SetType,
    SetValue,
    TrackAlias,
)
from mlver.history.fold import apply, apply_action
from mlver.history.index import NAMES_KEY, VersionIndex
from mlver.history.records import RUNS_KEY, ArtifactRecord, VersionRecord
from mlver.history.sign_action import SignVersion
from mlver.names import LATEST
from mlver.store.memory import MemoryStorage
from mlver.store.sqlite import CacheConnection, open_cache

_KEY = 1


@dataclass(slots=True)
class Replayed:
    """Unpushed events as they are after those of a remote.

    Attributes:
        events: What to record, numbered on from the base.
        renumbered: Versions that got another number: new by old.
        notices: What was left out, and why.
    """

    events: list[Event] = field(default_factory=list)
    renumbered: dict[int, int] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


class Scratch:
    """The state that one log adds up to, in memory.

    Args:
        artifact: The log's artifact as it is called now; None for the log of names.
        first: Number of the first event that is applied.
    """

    def __init__(self, artifact: ArtifactRecord | None, first: int = 0) -> None:
        self._connection: CacheConnection = open_cache(None, (history_tables.SCHEMA,))
        self._index = VersionIndex(self._connection, MemoryStorage())
        self._name = artifact.name if artifact else None
        self._key = _key_of(artifact)
        self.next_number = first
        if self._key == _KEY:
            self._connection.execute(
                "INSERT INTO artifacts (key, name, folder, type) VALUES (?1, ?2, ?2, '')", (_KEY, self._name)
            )
        self._connection.execute("UPDATE artifacts SET head = ? WHERE key = ?", (first - 1, self._key))

    def close(self) -> None:
        """Let the memory go."""
        self._connection.close()

    def apply(self, events: Iterable[Event]) -> None:
        """Fold events that follow each other.

        Raises:
            IntegrityError: One contradicts those before it.
        """
        with self._connection.transaction():
            for event in events:
                if event.number != self.next_number:
                    raise IntegrityError(f"Event {self.next_number} is missing below event {event.number}.")
                apply(self._connection, self._key, event)
                self.next_number = event.number + 1

    def replay(
        self,
        pending: Sequence[Event],
        published: Mapping[str, Event],
        *,
        force: bool = False,
        give_way: bool = False,
    ) -> Replayed:
        """Return what says the same as `pending` after what was applied; the state itself stays as it is.

        Args:
            pending: Events that were recorded elsewhere on an older state, in order.
            published: What was applied, by write id: such events are not said again.
            force: Move aliases that someone else moved meanwhile.
            give_way: Leave such moves out, with a notice.

        Raises:
            ConflictError: An alias was moved by someone else, and neither was asked for.
        """
        self._connection.execute("SAVEPOINT replay")
        try:
            return _Replay(self, force, give_way).run(pending, published)
        finally:
            self._connection.execute("ROLLBACK TO replay")
            self._connection.execute("RELEASE replay")

    @property
    def index(self) -> VersionIndex:
        """Queries over the state."""
        return self._index

    @property
    def artifact(self) -> ArtifactRecord:
        """The log's artifact."""
        found = self._index.artifact(self._name or "")
        assert found is not None
        return found

    def fold(self, event: Event, action: Action) -> None:
        """Fold one action within a replay."""
        apply_action(self._connection, self._key, event, action)


class _Replay:
    """One replay: the mapping of numbers, and what was decided on the way."""

    def __init__(self, scratch: Scratch, force: bool, give_way: bool) -> None:
        self._scratch = scratch
        self._index = scratch.index
        self._force = force
        self._give_way = give_way
        self._holders: dict[str, str] = {}
        self._last_names: dict[str, str] = {}
        self._versions: dict[int, int] = {}
        self._numbers: dict[int, int] = {}
        self._result = Replayed()

    def run(self, pending: Sequence[Event], published: Mapping[str, Event]) -> Replayed:
        self._last_names = _last_names(pending)
        last_there = max((place for place, event in enumerate(pending) if event.write_id in published), default=-1)
        for place, event in enumerate(pending):
            if event.write_id in published:
                self._follow(event, published[event.write_id])
                continue
            if place < last_there:
                continue  # it was left out when those after it were published: said now, it would come after them
            actions = tuple(self._fold_again(event))
            if not actions:
                continue
            number = self._scratch.next_number + len(self._result.events)
            self._numbers[event.number] = number
            undoes = self._renumbered(event.undoes, pending[0].number)
            self._result.events.append(replace(event, number=number, actions=actions, undoes=undoes))
        self._result.renumbered = {old: new for old, new in self._versions.items() if old != new}
        return self._result

    def _renumbered(self, number: int | None, first: int) -> int | None:
        """Return the number that an event has now; None of a pending one that was left out, and of none."""
        return number if number is None or number < first else self._numbers.get(number)

    def _follow(self, event: Event, there: Event) -> None:
        """Note which numbers an event got that was published already."""
        self._numbers[event.number] = there.number
        for mine, theirs in zip(_added(event), _added(there), strict=False):
            self._versions[mine] = theirs

    def _fold_again(self, event: Event) -> Iterator[Action]:
        """Yield what an event's actions are now; each is folded before the next is looked at, which may build on it."""
        for action in event.actions:
            said = self._again(action)
            if said is not None:
                self._scratch.fold(event, said)
                yield said

    def _again(self, action: Action) -> Action | None:  # noqa: C901, PLR0911
        match action:
            case AddVersion():
                return self._add(action)
            case MoveAlias():
                return self._move(action)
            case TrackAlias():
                return self._track(action)
            case ProtectAlias():
                is_so = (action.alias in self._index.protected(self._scratch.artifact)) == action.protected
                return None if is_so else action
            case SetTag():
                version = self._version(action.version)
                is_so = (action.tag in version.tags) == action.present
                return None if is_so else replace(action, version=version.number)
            case SignVersion():
                return self._sign(action)
            case SetNote():
                version = self._version(action.version)
                is_so = version.note == action.to
                return None if is_so else SetNote(version.number, action.to, version.note)
            case SetValue():
                return self._set(action)
            case SetRemoved():
                return self._remove(action)
            case CreateArtifact() | RenameArtifact() | SetType():
                return self._name(action)
            case ContinueLog():
                return None
            case _:
                return action  # of a run, which is nobody else's

    def _sign(self, action: SignVersion) -> SignVersion | None:
        """Keep a signature that still says what is so: the number is among what was signed."""
        version = self._version(action.version)
        if version.number != action.version:
            self._result.notices.append(
                f"The signature of v{action.version}, now {version.name}, was left out: sign it."
            )
            return None
        borne = {each.signature for each in self._index.signatures(self._scratch.artifact, version.number)}
        return None if (action.signature in borne) == action.present else action

    def _add(self, action: AddVersion) -> AddVersion:
        number = max(self._index.next_version(self._scratch.artifact), 0)
        self._versions[action.version] = number
        return replace(action, version=number)

    def _move(self, action: MoveAlias) -> MoveAlias | None:
        now = self._index.alias(self._scratch.artifact, action.alias)
        to, was = self._mapped(action.to), self._mapped(action.was)
        if now == to:
            return None
        you_moved = f"and you moved it from {_named(was)} to {_named(to)}"
        if rule := self._index.tracked(self._scratch.artifact).get(action.alias):
            self._leave_out(action.alias, f"someone else let it follow {rule}, {you_moved}", can_force=False)
            return None
        if now != was and not self._force:
            self._leave_out(action.alias, f"someone else moved it: it is {_named(now)} there, {you_moved}")
            return None
        if action.alias in self._index.protected(self._scratch.artifact) and not self._force:
            self._leave_out(action.alias, f"someone else protected it, {you_moved}")
            return None
        if to is not None and self._number(to).removed:
            self._result.notices.append(f"Alias {action.alias!r} was not moved to v{to}, which someone else removed.")
            return None
        return MoveAlias(action.alias, to, now)

    def _track(self, action: TrackAlias) -> TrackAlias | None:
        now = self._index.tracked(self._scratch.artifact).get(action.alias)
        if now == action.to:
            return None
        if now != action.was and not self._force:
            theirs, yours = now or "nothing", action.to or "nothing"
            self._leave_out(action.alias, f"someone else lets it follow {theirs}, and you {yours}")
            return None
        held = self._index.alias(self._scratch.artifact, action.alias) if now is None else None
        if held is not None:
            self._leave_out(action.alias, f"it was moved by someone else to v{held}", can_force=False)
            return None
        return TrackAlias(action.alias, action.to, now)

    def _leave_out(self, alias: str, why: str, *, can_force: bool = True) -> None:
        """Let what others did with an alias stand, and say so; or refuse, where that was not asked for."""
        message = f"Alias {alias!r} of {self._scratch.artifact.name!r}: {why}"
        if not self._give_way and not self._force:
            force = ", or move it anyway with --force." if can_force else "."
            raise ConflictError(f"{message}.", f"Look at theirs with mlver fetch{force}")
        self._result.notices.append(f"{message}. Theirs stands.")

    def _set(self, action: SetValue) -> SetValue | None:
        version = self._version(action.version)
        values = version.metadata if action.field == "metadata" else version.metrics
        now = [values[action.key]] if action.key in values else []
        return None if now == action.to else SetValue(version.number, action.field, action.key, action.to, now)

    def _remove(self, action: SetRemoved) -> SetRemoved | None:
        version = self._version(action.version)
        if version.removed == action.removed:
            return None
        kept = set(version.aliases) - {LATEST, *self._index.tracked(self._scratch.artifact)}
        if action.removed and kept:
            self._result.notices.append(f"{version.name} was not removed: someone else called it {min(kept)!r}.")
            return None
        return replace(action, version=version.number)

    def _name(self, action: CreateArtifact | RenameArtifact | SetType) -> Action | None:
        if isinstance(action, CreateArtifact):
            return self._create(action)
        there = self._holder(action.artifact)
        if isinstance(action, RenameArtifact):
            self._holders[action.to] = there.name
            if there.name in (action.to, self._last_names.get(action.to)):
                return None
        if there.name != action.artifact:
            self._result.notices.append(f"{action.artifact!r} is called {there.name!r} by others; theirs stands.")
            return None
        if isinstance(action, SetType):
            return None if there.type == action.to else replace(action, was=there.type)
        used = self._index.name_in_use(action.to)
        owner = self._owner(used) if used is not None else there
        if owner is not None and owner.key == there.key:
            return action
        self._result.notices.append(f"{action.artifact!r} was not renamed to {action.to!r}, which is taken there.")
        return None

    def _create(self, action: CreateArtifact) -> CreateArtifact | None:
        """Make an artifact, or let it join the one that has its name: then there is one instead of two.

        Where both have one folder, they have one log and must. Else one that was renamed here, in order to get out of
        the way or by chance, is made under its last name, and what is in its log follows, see `joining`.
        """
        there = self._index.artifact_like(action.artifact)
        if there is None:
            return action
        last = self._last_names.get(action.artifact, action.artifact)
        if there.folder != action.artifact and self._index.artifact_like(last) is None:
            self._holders[action.artifact] = last
            return replace(action, artifact=last)
        if there.folder != action.artifact and self._owner(last) is None:
            raise ConflictError(
                f"The name {last!r} cannot be told from {self._index.name_in_use(last)!r}, "
                "which is or was another artifact's there.",
                f"Choose another name: mlver rename {last} NAME. With theirs as NAME, yours are versions of theirs.",
            )
        joined = there if there.folder == action.artifact else cast(ArtifactRecord, self._owner(last))
        self._join(action, joined)
        return None

    def _join(self, action: CreateArtifact, there: ArtifactRecord) -> None:
        self._holders[action.artifact] = there.name
        if there.name != action.artifact:
            self._result.notices.append(
                f"What was added to {action.artifact!r} here are versions of {there.name!r} now, "
                "which has or had that name and was made by someone else."
            )
        if there.type != action.type:
            self._result.notices.append(
                f"Someone else made {there.name!r} first, with the type {there.type!r}, which stands."
            )

    def _holder(self, name: str) -> ArtifactRecord:
        """Return the artifact that bore `name` here: it may be called otherwise now, or have joined another one."""
        found = self._owner(self._holders.get(name, name))
        assert found is not None  # names never go away, so what this person knew is there still
        return found

    def _owner(self, name: str) -> ArtifactRecord | None:
        return self._index.artifact(name) or self._index.renamed_artifact(name)

    def _mapped(self, number: int | None) -> int | None:
        return None if number is None else self._versions.get(number, number)

    def _version(self, number: int) -> VersionRecord:
        return self._number(cast(int, self._mapped(number)))

    def _number(self, number: int) -> VersionRecord:
        version = self._index.version(self._scratch.artifact, number)
        assert version is not None  # it was there when the event was recorded, and numbers never go away
        return version


def _key_of(artifact: ArtifactRecord | None) -> int:
    if artifact is None:
        return NAMES_KEY
    return RUNS_KEY if artifact.key == RUNS_KEY else _KEY


def _last_names(events: Iterable[Event]) -> dict[str, str]:
    """Return what each name that was given up became in the end."""
    last: dict[str, str] = {}
    for event in events:
        for action in event.actions:
            if isinstance(action, RenameArtifact):
                last = {name: action.to if now == action.artifact else now for name, now in last.items()}
                last[action.artifact] = action.to
    return last


def _added(event: Event) -> list[int]:
    return [action.version for action in event.actions if isinstance(action, AddVersion)]


def _named(number: int | None) -> str:
    return "nowhere" if number is None else f"v{number}"
