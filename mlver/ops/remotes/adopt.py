"""A remote's events become this repository's: under the same numbers, with unpushed ones said again after them.

The local log is always what the remote has, up to some event, and then what was not pushed. Where nothing is unpushed,
the remote's events are created here as they are. Else a new part of the log is written, with the remote's events and
the unpushed ones after them, and one exclusive creation at the end of the old part makes all go on in the new one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from mlver.errors import ConflictError, MlverError
from mlver.history.event import ContinueLog, Event, encode_event, new_event
from mlver.history.index import log_folder
from mlver.history.log import SEGMENT_EVENTS
from mlver.history.records import RUNS_KEY, ArtifactRecord
from mlver.ops.opening import OpenRepository
from mlver.ops.origins import correct_origins
from mlver.ops.remotes.blobs import obtain_blobs
from mlver.ops.remotes.opening import OpenRemote, open_remote
from mlver.ops.remotes.replay import Replayed, Scratch


@dataclass(slots=True)
class Adopted:
    """What became of unpushed events.

    Attributes:
        renumbered: Versions that got another number: new by old.
        notices: What was left out, and why.
    """

    renumbered: dict[int, int] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def scratch_of(repository: OpenRepository, artifact: ArtifactRecord | None, first: int) -> Scratch:
    """Return the state that a log's events below number `first` add up to.

    What is said of runs holds after whatever others said, so of their log nothing is needed.
    """
    if artifact is not None and artifact.key == RUNS_KEY:
        return Scratch(artifact, first)
    scratch = Scratch(artifact)
    events = repository.index.events_from(artifact, 0)
    scratch.apply(event for event in events if event.number < first)
    return scratch


def by_write_id(events: Sequence[Event]) -> dict[str, Event]:
    """Return events by what their writers know them by."""
    return {event.write_id: event for event in events}


def adopt(
    repository: OpenRepository, remote: OpenRemote, artifact: ArtifactRecord | None, first: int, news: Sequence[Event]
) -> Adopted:
    """Make a log begin as the remote's does, up to the newest of `news`.

    Args:
        repository: The repository.
        remote: Where they are from.
        artifact: Whose log; None for the log of names.
        first: Number from which on the logs may differ.
        news: All events of the remote from `first` on that are known.

    Raises:
        ConflictError: The log shares more with another remote than with this one.
        IntegrityError: The remote's events contradict each other; the log is as it was.
        MlverError: The repository cannot be written; it is as it was.
    """
    index = repository.index
    while True:
        index.refresh(artifact)
        local = index.events_from(artifact, first)
        same = _common(local, news)
        pending, missing = local[same:], news[same:]
        if not missing:
            _note(remote, artifact, first + same - 1)
            return Adopted()
        obtain_blobs(repository, remote, missing)
        adopted = (
            _rebase(repository, remote, artifact, missing, pending)
            if pending
            else _append(repository, artifact, missing)
        )
        if adopted is not None:
            index.refresh(artifact)
            _note(remote, artifact, news[-1].number)
            if artifact is not None:
                correct_origins(repository, artifact.name, artifact.name, adopted.renumbered)
            return adopted


def _append(repository: OpenRepository, artifact: ArtifactRecord | None, missing: Sequence[Event]) -> Adopted | None:
    """Create the remote's events here; None if something was appended here meanwhile."""
    log, number = repository.index.tail(artifact)
    if number != missing[0].number:
        return None
    repository.index.try_out(artifact, missing)
    for event in missing:
        if not log.append(event):
            return None
        if (event.number + 1) % SEGMENT_EVENTS == 0:
            with suppress(MlverError):  # the log is whole without it
                log.write_segment(event.number // SEGMENT_EVENTS)
    return Adopted()


def _rebase(
    repository: OpenRepository,
    remote: OpenRemote,
    artifact: ArtifactRecord | None,
    missing: Sequence[Event],
    pending: Sequence[Event],
) -> Adopted | None:
    """Write a new part of the log and close the old one; None if something was appended here meanwhile."""
    start = missing[0].number
    _refuse_other_history(repository, remote, artifact, start)
    replayed = _replayed(repository, artifact, missing, pending)
    log, number = repository.index.tail(artifact)
    if number != pending[-1].number + 1:
        return None
    part = f"part-{os.urandom(8).hex()}"
    for event in (*missing, *replayed.events):
        repository.storage.create(f"{log.folder}/{part}/{event.number:012d}.json", encode_event(event))
    closing = new_event(number, repository.config.identity, (ContinueLog(start, part),))
    if not log.append(closing):
        return None  # what was written is in a folder that no log leads to
    return Adopted(replayed.renumbered, replayed.notices)


def _replayed(
    repository: OpenRepository, artifact: ArtifactRecord | None, missing: Sequence[Event], pending: Sequence[Event]
) -> Replayed:
    scratch = scratch_of(repository, artifact, missing[0].number)
    try:
        scratch.apply(missing)
        return scratch.replay(pending, by_write_id(missing), give_way=True)
    finally:
        scratch.close()


def _refuse_other_history(
    repository: OpenRepository, remote: OpenRemote, artifact: ArtifactRecord | None, start: int
) -> None:
    """Refuse to renumber what another remote has under these very numbers."""
    for name in repository.config.remotes:
        if name == remote.name:
            continue
        with open_remote(repository, name, check=False) as other:
            if other.known_head(log_folder(artifact)) >= start and other.address != remote.address:
                what = repr(artifact.name) if artifact else "names"
                raise ConflictError(
                    f"The remotes {name!r} and {remote.name!r} have different histories of {what}.",
                    f"Keep one of them: mlver remote remove {name}, or {remote.name}.",
                )


def _common(local: Sequence[Event], news: Sequence[Event]) -> int:
    """Return how many events are the same in both."""
    return next(
        (position for position, (mine, theirs) in enumerate(zip(local, news, strict=False)) if mine != theirs),
        min(len(local), len(news)),
    )


def _note(remote: OpenRemote, artifact: ArtifactRecord | None, number: int) -> None:
    folder = log_folder(artifact)
    if number > remote.known_head(folder):
        remote.note_head(folder, number)
