"""Appending to a log: decide on the newest state, try to create the next event, look again if someone was faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlver.errors import MlverError, UsageError
from mlver.history.event import (
    MAX_EVENT_BYTES,
    Action,
    CreateArtifact,
    Event,
    SetType,
    encode_event,
    new_event,
)
from mlver.history.log import SEGMENT_EVENTS, EventLog
from mlver.history.records import ArtifactRecord
from mlver.names import check_artifact_name, check_artifact_type
from mlver.ops.opening import OpenRepository
from mlver.store.sqlite import CacheDamaged


def commit(
    repository: OpenRepository,
    artifact: ArtifactRecord | None,
    decide: Callable[[], Sequence[Action]],
    undoes: int | None = None,
) -> Event | None:
    """Append one event to an artifact's log, or (None) to the log of names.

    Args:
        repository: The repository.
        artifact: Whose log.
        decide: Says what is to happen, from the state in the index; called again after each lost race, and free to
            raise if nothing may happen any more.
        undoes: Number of the event that this one takes back.

    Returns:
        The event, durable and folded; None when `decide` finds nothing to do.
    """
    index = repository.index
    identity = repository.config.identity
    asked: list[Sequence[Action]] = []
    while True:
        index.refresh(artifact)
        # Before `decide` looks: other processes fold into the same index, and what is decided on a newer state than
        # this number stands for cannot be created under it, while an older state than the number's would be a lie.
        log, number = index.tail(artifact)
        actions = tuple(decide())
        if not actions:
            return None
        if repository.hooks is not None:
            repository.hooks.ask_event(repository, artifact, actions, asked)
        event = new_event(number, identity, actions, undoes)
        if len(encode_event(event)) > MAX_EVENT_BYTES:
            raise UsageError(
                "The metadata is too large.",
                f"All of it must fit into {MAX_EVENT_BYTES >> 20} MiB.",
            )
        if log.append(event):
            break
    try:
        index.apply(artifact, event)
    except CacheDamaged as damage:
        # The event is in the log: what failed is only the cache, and nobody may take the event for not written.
        repository.reopen(damage)
        repository.index.refresh()
    if repository.hooks is not None:
        repository.hooks.note_event(artifact, event)
    if (number + 1) % SEGMENT_EVENTS == 0:
        _write_segment(log, number // SEGMENT_EVENTS)
    return event


def _write_segment(log: EventLog, block: int) -> None:
    """Write a segment if it can be: the event is durable, and without the segment the log is read more slowly only."""
    try:
        log.write_segment(block)
    except MlverError as error:
        import logging  # costs start-up time, and is needed on bad days only

        logging.getLogger(__name__).debug("No segment was written: %s", error)


def ensure_artifact(repository: OpenRepository, name: str, artifact_type: str | None) -> ArtifactRecord:
    """Return the artifact `name`, made if need be.

    Raises:
        UsageError: See `check_artifact`.
    """
    commit(repository, None, lambda: check_artifact(repository, name, artifact_type))
    artifact = repository.index.artifact(name)
    assert artifact is not None
    return artifact


def check_artifact(repository: OpenRepository, name: str, artifact_type: str | None) -> list[Action]:
    """Return what has to happen so that there is an artifact `name` of this type.

    Raises:
        UsageError: It is new and has no type, has another type, or its name collides with another one's.
    """
    existing = repository.index.artifact(name)
    if existing is None:
        used = repository.index.name_in_use(name)
        existing = repository.index.artifact(name)  # again: who created it meanwhile is not another one of that name
        if existing is None:
            return [_creation(name, used, artifact_type)]
    if artifact_type is None or existing.type == artifact_type:
        return []
    if repository.index.next_version(existing) == 0:
        return [SetType(name, check_artifact_type(artifact_type), existing.type)]
    raise UsageError(
        f"Artifact {name!r} has the type {existing.type!r}, not {artifact_type!r}.",
        f"Leave --type out, or choose another name: --name {name}-{artifact_type}",
    )


def _creation(name: str, used: str | None, artifact_type: str | None) -> CreateArtifact:
    check_artifact_name(name)
    if used is not None:
        raise UsageError(
            f"The name {name!r} cannot be told from {used!r}, which is or was another artifact's.",
            "Choose a name that differs by more than case.",
        )
    if artifact_type is None:
        raise UsageError(
            f"Artifact {name!r} is new and needs a type.",
            "Say what it is, once: --type model",
        )
    return CreateArtifact(name, check_artifact_type(artifact_type))
