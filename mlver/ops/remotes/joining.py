"""Logs of artifacts that joined another one: what they say is said again in that one's log, and they are closed.

Two people may make artifacts of one name, or of names that cannot be told apart. Who pushes second finds the name
taken: in the log of names the creation is left out, or is that of another name, see `replay`. So the log that was begun
here is no artifact's any more. Such a stray log is found by listing the folders, whatever was interrupted before.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from mlver.history.event import ContinueLog, CreateArtifact, Event, new_event
from mlver.history.index import LOGS_FOLDER, NAMES_FOLDER
from mlver.history.log import EventLog, effective_events, log_parts
from mlver.history.records import ArtifactRecord
from mlver.ops.opening import OpenRepository
from mlver.ops.origins import correct_origins
from mlver.ops.remotes.adopt import by_write_id, scratch_of
from mlver.ops.remotes.replay import Replayed


def join_strays(repository: OpenRepository) -> list[str]:
    """Let what was recorded in logs of no artifact follow in those of the artifacts that have their names.

    Returns:
        What was left out, and which versions have other numbers now.

    Raises:
        IntegrityError: An event is damaged.
        MlverError: The repository cannot be written; the next call goes on.
    """
    folders = {artifact.folder for artifact in repository.index.artifacts(empty=True)}
    notices = []
    for folder in repository.storage.list(LOGS_FOLDER):
        owner = None if folder in folders else _owner(repository, folder)
        if owner is not None and not _is_same(repository, folder, owner.folder):
            notices += _join(repository, folder, owner)
    return notices


def _owner(repository: OpenRepository, folder: str) -> ArtifactRecord | None:
    """Return the artifact that what was made as `folder` is now: one that the same event makes, else the name's."""
    if not any(True for _ in effective_events(repository.storage, f"{LOGS_FOLDER}/{folder}")):
        return None
    made = EventLog(repository.storage, NAMES_FOLDER).single_events()
    writers = {event.write_id for event in made if folder in _created(event)}
    for event in repository.index.events(None):
        for name in _created(event) if event.write_id in writers else ():
            return repository.index.artifact_like(name)
    return repository.index.artifact_like(folder)


def _created(event: Event) -> list[str]:
    return [action.artifact for action in event.actions if isinstance(action, CreateArtifact)]


def _is_same(repository: OpenRepository, folder: str, other: str) -> bool:
    """Tell whether two names are one folder, on a disk that ignores case: then all is in its place already."""
    with suppress(FileNotFoundError):
        logs = repository.root / LOGS_FOLDER
        return os.path.samefile(logs / folder, logs / other)
    return False


def _join(repository: OpenRepository, folder: str, owner: ArtifactRecord) -> list[str]:
    """Move what one stray log says into its owner's; killed anywhere, the next call finds the rest by its write ids."""
    place = f"{LOGS_FOLDER}/{folder}"
    notices: list[str] = []
    while True:
        events = list(effective_events(repository.storage, place))
        if not events:
            return notices
        replayed = _say_again(repository, owner, events)
        renumbered = replayed.renumbered
        notices += [f"v{old} of {folder!r} is {owner.name}:v{new} now." for old, new in sorted(renumbered.items())]
        notices += replayed.notices
        correct_origins(repository, folder, owner.name, renumbered)
        if _close(repository, place, events[-1].number + 1):
            return list(dict.fromkeys(notices))


def _say_again(repository: OpenRepository, owner: ArtifactRecord, events: Sequence[Event]) -> Replayed:
    """Append to the owner's log what the events say and it does not say yet."""
    while True:
        repository.index.refresh(owner)
        log, number = repository.index.tail(owner)
        scratch = scratch_of(repository, owner, number)
        try:
            there = by_write_id(repository.index.events_from(owner, 0))
            replayed = scratch.replay(events, there, give_way=True)
        finally:
            scratch.close()
        if all(log.append(event) for event in replayed.events):
            repository.index.refresh(owner)
            return replayed


def _close(repository: OpenRepository, place: str, number: int) -> bool:
    """Let a log go on in a part that is empty, from its very beginning; False if it has event `number` already."""
    log = EventLog(repository.storage, place, log_parts(repository.storage, place)[-1].name)
    closing = ContinueLog(0, f"part-{os.urandom(8).hex()}")
    return log.append(new_event(number, repository.config.identity, (closing,)))
