"""`reflog` and `undo`: every change in order, and taking one back by an event that says the opposite.

Nothing is erased: an undo is an event of its own, and can itself be taken back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlver.errors import ConflictError, MlverError, NotFoundError
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
from mlver.history.records import ArtifactRecord, VersionRecord
from mlver.history.run_actions import ConfigureRun, FinishRun, MadeAgain, StartRun, UseVersion
from mlver.history.sign_action import SignVersion
from mlver.names import LATEST
from mlver.ops.artifacts import check_free
from mlver.ops.commit import commit
from mlver.ops.moving import check_movable, unprotected
from mlver.ops.opening import OpenRepository
from mlver.ops.reliance import confirm_revival
from mlver.ops.removal import revive_version


@dataclass(frozen=True, slots=True)
class ReflogEntry:
    """One event that concerns an artifact.

    Attributes:
        id: `42` for event 42 of the artifact's log, `n3` for event 3 of the log of names.
        event: The event.
        artifact: The artifact's present name.
        undone: It was taken back, and that still holds.
        followed: What aliases did by themselves in consequence: alias, version before, version after.
    """

    id: str
    event: Event
    artifact: str
    undone: bool
    followed: tuple[tuple[str, int | None, int | None], ...] = ()

    @property
    def what(self) -> list[str]:
        """What happened, a phrase for each action and each alias that moved by itself."""
        let_go = {action.alias for action in self.event.actions if isinstance(action, TrackAlias) and not action.to}
        moves = [move for move in self.followed if move[0] not in let_go]
        by_themselves = [f"alias {alias}: {_named(was)} → {_named(now)} by itself" for alias, was, now in moves]
        return [*map(describe, self.event.actions), *by_themselves]

    @property
    def is_naming(self) -> bool:
        """Whether it is in the log of names."""
        return self.id.startswith("n")


def reflog(repository: OpenRepository, name: str | None = None, limit: int | None = None) -> list[ReflogEntry]:
    """Return what happened to an artifact (None: the current one), newest first.

    Raises:
        NotFoundError: There is no such artifact.
    """
    artifact = repository.artifact(name)
    return _entries(repository, artifact)[:limit]


def undo(
    repository: OpenRepository, name: str | None = None, entry_id: str | None = None, force: bool = False
) -> ReflogEntry:
    """Take one event back: the one named, or the newest that was not taken back and is no undo itself.

    Args:
        repository: The repository.
        name: Of which artifact; None is the current one.
        entry_id: Which event, as `reflog` calls it.
        force: Move protected aliases too.

    Returns:
        The entry that was taken back.

    Raises:
        NotFoundError: There is no such artifact or event, nothing to undo, or the content that would come back is gone.
        ConflictError: What the event did was changed since.
        MlverError: The event is one that cannot be taken back.
    """
    artifact = repository.artifact(name)
    entry = _choose(_entries(repository, artifact), artifact, entry_id)
    if entry.undone:
        raise MlverError(f"Event {entry.id} was undone already.")
    was_current = repository.current() == artifact.name
    numbers = [action.version for action in entry.event.actions if isinstance(action, SetRemoved) and action.removed]
    back = {number: revive_version(repository, artifact, number) for number in numbers}
    commit(
        repository,
        None if entry.is_naming else artifact,
        lambda: _inverses(repository, artifact, entry.event, force),
        undoes=entry.event.number,
    )
    for number, identity in back.items():
        confirm_revival(repository, artifact, number, identity)
    # No look at the cache from here on: were it to fail, the caller would try again, and undo another event.
    restored_name = next((a.artifact for a in entry.event.actions if isinstance(a, RenameArtifact)), None)
    if restored_name is not None and was_current:
        repository.set_current(restored_name)
    return entry


def _entries(repository: OpenRepository, artifact: ArtifactRecord) -> list[ReflogEntry]:
    index = repository.index
    own = index.events(artifact)
    naming = [event for event in index.events(None) if _concerns(repository, event, artifact)]
    undone = _undone(own)
    undone_naming = _undone(naming)
    followed = index.followed(artifact)
    entries = [
        ReflogEntry(
            str(event.number),
            event,
            artifact.name,
            event.number in undone,
            tuple(followed.get(event.number, ())),
        )
        for event in own
    ]
    entries += [
        ReflogEntry(f"n{event.number}", event, artifact.name, event.number in undone_naming) for event in naming
    ]
    return sorted(entries, key=lambda entry: (entry.event.at, not entry.is_naming, entry.event.number), reverse=True)


def _concerns(repository: OpenRepository, event: Event, artifact: ArtifactRecord) -> bool:
    names = {
        action.artifact for action in event.actions if isinstance(action, CreateArtifact | RenameArtifact | SetType)
    }
    found = [repository.index.artifact(name) or repository.index.renamed_artifact(name) for name in names]
    return any(owner is not None and owner.key == artifact.key for owner in found)


def _undone(events: Sequence[Event]) -> set[int]:
    """Return numbers of events that an undo took back which was not taken back in turn. Newest first in `events`."""
    undone: set[int] = set()
    for event in events:
        if event.undoes is not None and event.number not in undone:
            undone.add(event.undoes)
    return undone


def _choose(entries: Sequence[ReflogEntry], artifact: ArtifactRecord, entry_id: str | None) -> ReflogEntry:
    for entry in entries:
        if entry_id is not None:
            if entry.id == entry_id:
                return entry
        elif entry.event.undoes is None and not entry.undone and not _is_creation(entry.event):
            return entry
    if entry_id is None:
        raise NotFoundError(f"There is nothing to undo in {artifact.name!r}.")
    raise NotFoundError(f"There is no event {entry_id!r} of {artifact.name!r}.", "See: mlver reflog")


def _is_creation(event: Event) -> bool:
    return all(isinstance(action, CreateArtifact | SetType) for action in event.actions)


def _inverses(repository: OpenRepository, artifact: ArtifactRecord, event: Event, force: bool) -> list[Action]:
    """Return the actions that take `event` back, last one first."""
    moved = {action.alias for action in event.actions if isinstance(action, MoveAlias)}
    for action in event.actions:
        if isinstance(action, AddVersion) or (isinstance(action, SetRemoved) and not action.removed):
            version = _version(repository, artifact, action.version)
            kept = set(version.aliases) - moved - {LATEST, *repository.index.tracked(artifact)}
            _expect(not kept, f"{version.name} bears the alias {min(kept, default='')!r} now")
        if isinstance(action, MoveAlias) and action.was is not None:
            comes_back = any(isinstance(a, SetRemoved) and a.version == action.was for a in event.actions)
            removed = _version(repository, artifact, action.was).removed
            _expect(comes_back or not removed, f"v{action.was}, which bore the alias {action.alias!r}, was removed")
    tracking = {action.alias for action in event.actions if isinstance(action, TrackAlias)}
    for alias in moved & repository.index.tracked(artifact).keys() - tracking:
        _expect(False, f"alias {alias!r} follows {repository.index.tracked(artifact)[alias]} by itself since")
    for alias in moved:
        check_movable(repository, artifact, alias, force)
    said = [action for action in event.actions if not _is_of_forced_move(event, action)]
    undone = [_inverse(repository, artifact, action) for action in reversed(said)]
    return [each for action in undone for each in unprotected(repository, artifact, action)]


def _is_of_forced_move(event: Event, action: Action) -> bool:
    """Tell whether an action takes away or gives back the protection of an alias around its move."""
    return isinstance(action, ProtectAlias) and ProtectAlias(action.alias, not action.protected) in event.actions


def _inverse(repository: OpenRepository, artifact: ArtifactRecord, action: Action) -> Action:  # noqa: C901, PLR0911
    """Return the action that takes `action` back, after checking that its effect still stands."""
    match action:
        case AddVersion():
            version = _version(repository, artifact, action.version)
            _expect(not version.removed, f"{version.name} is removed")
            return SetRemoved(action.version, removed=True)
        case SetRemoved():
            version = _version(repository, artifact, action.version)
            _expect(version.removed == action.removed, f"{version.name} was removed or restored since")
            return SetRemoved(action.version, removed=not action.removed)
        case MoveAlias():
            follows = action.alias in repository.index.tracked(artifact)  # it will not, once that is taken back too
            now = None if follows else repository.index.alias(artifact, action.alias)
            _expect(now == action.to, f"alias {action.alias!r} moved since, to {_named(now)}")
            return MoveAlias(action.alias, action.was, action.to)
        case TrackAlias():
            rule = repository.index.tracked(artifact).get(action.alias)
            _expect(rule == action.to, f"what alias {action.alias!r} follows changed since")
            return TrackAlias(action.alias, action.was, action.to)
        case ProtectAlias():
            is_so = action.alias in repository.index.protected(artifact)
            _expect(is_so == action.protected, f"the protection of alias {action.alias!r} changed since")
            return ProtectAlias(action.alias, not action.protected)
        case SetTag():
            version = _version(repository, artifact, action.version)
            _expect((action.tag in version.tags) == action.present, f"tag {action.tag!r} changed since")
            return SetTag(action.version, action.tag, not action.present)
        case SignVersion():
            borne = {signature.signature for signature in repository.index.signatures(artifact, action.version)}
            _expect((action.signature in borne) == action.present, "the signature came or went since")
            return replace(action, present=not action.present)
        case SetNote():
            _expect(_version(repository, artifact, action.version).note == action.to, "the note changed since")
            return SetNote(action.version, action.was, action.to)
        case SetValue():
            version = _version(repository, artifact, action.version)
            values = version.metadata if action.field == "metadata" else version.metrics
            value = [values[action.key]] if action.key in values else []
            _expect(value == action.to, f"{action.key!r} changed since")
            return SetValue(action.version, action.field, action.key, action.was, action.to)
        case RenameArtifact():
            _expect(artifact.name == action.to, f"the artifact was renamed since, to {artifact.name!r}")
            return RenameArtifact(action.to, check_free(repository, artifact, action.artifact))
        case _:
            raise MlverError("The creation of an artifact cannot be undone.", "Remove its versions with: mlver rm")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ConflictError(f"This cannot be undone: {otherwise}.", "Undo the later changes first; see: mlver reflog")


def _version(repository: OpenRepository, artifact: ArtifactRecord, number: int) -> VersionRecord:
    version = repository.index.version(artifact, number)
    assert version is not None  # the event that is taken back speaks of it
    return version


def _named(number: int | None) -> str:
    return "nowhere" if number is None else f"v{number}"


def describe(action: Action) -> str:  # noqa: C901, PLR0911, PLR0912
    """Return one action as a short phrase, such as `alias best: v3 → v4`."""
    match action:
        case AddVersion():
            return f"add v{action.version}"
        case MoveAlias():
            return f"alias {action.alias}: {_named(action.was)} → {_named(action.to)}"
        case TrackAlias():
            return f"alias {action.alias} follows {action.to}" if action.to else f"alias {action.alias} follows nothing"
        case ProtectAlias():
            return f"alias {action.alias} is {'protected' if action.protected else 'not protected'}"
        case SetTag():
            return f"tag {'+' if action.present else '-'}{action.tag} on v{action.version}"
        case SignVersion():
            return (
                f"{'sign' if action.present else 'take back a signature of'} v{action.version}, key {action.key[:12]}"
            )
        case SetNote():
            return f"note on v{action.version}: {action.to or '(none)'}"
        case SetValue():
            value = json.dumps(action.to[0], ensure_ascii=False) if action.to else "(none)"
            return f"{action.field} of v{action.version}: {action.key} = {value}"
        case SetRemoved():
            return f"{'remove' if action.removed else 'restore'} v{action.version}"
        case RenameArtifact():
            return f"rename {action.artifact} → {action.to}"
        case SetType():
            return f"type of {action.artifact}: {action.was} → {action.to}"
        case ContinueLog():
            return f"go on in {action.part} from event {action.start}"
        case CreateArtifact():
            return f"create {action.artifact} ({action.type})"
        case StartRun() | UseVersion() | ConfigureRun() | FinishRun() | MadeAgain():
            return f"{action.do} {action.run}"
