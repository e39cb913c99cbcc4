"""`push`: missing chunks → packs → manifests → events. What is there already is not sent again, whoever sent it.

Everything is decided before anything is sent: what has to be renumbered, and whether somebody else moved an alias. A
push that is killed leaves packs and manifests that no event names yet; the next one finds them and goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlver.errors import MlverError, RemoteError
from mlver.history.event import Event
from mlver.history.index import NAMES_FOLDER, NAMES_KEY, log_folder
from mlver.history.log import SEGMENT_EVENTS
from mlver.history.manifest import manifest_name, read_manifest
from mlver.ids import ChunkId, ManifestId
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress, Silent
from mlver.ops.remotes.adopt import adopt
from mlver.ops.remotes.blobs import send_blobs
from mlver.ops.remotes.fetch import accept_losses, added_versions, count_runs, log_of, settle_names
from mlver.ops.remotes.mend import damaged_chunks, mend
from mlver.ops.remotes.opening import OpenRemote, open_remote
from mlver.ops.remotes.pack_listing import refresh_packs
from mlver.ops.remotes.push_tasks import PushTask, plan_task, push_tasks
from mlver.ops.remotes.securing import leave_out_lost, manifests_to_publish, present_manifests, secure, send_manifests
from mlver.ops.remotes.sending import Shipment, plan_shipment, send
from mlver.ops.runs.recover import recover
from mlver.store.remote.storage import RemoteStorage


@dataclass(frozen=True, slots=True)
class Pushed:
    """What was pushed of one artifact.

    Attributes:
        artifact: Its name.
        event_count: Events that the remote has now.
        versions: Numbers of versions that the remote has now, as they are called there and here.
        renumbered: Versions that were called otherwise before: (old, new).
        notices: What was left out, and why.
    """

    artifact: str
    event_count: int
    versions: tuple[int, ...]
    renumbered: tuple[tuple[int, int], ...]
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PushResult:
    """What `push` did, or (`dry_run`) would do.

    Attributes:
        remote: Its name.
        url: Where it is.
        dry_run: Nothing was sent.
        artifacts: Those with something to push, by name.
        sent_bytes: Stored bytes of the chunks that the remote lacked.
        sent_chunks: How many those were.
        requests: How many requests it took; 0 for a folder.
        notices: What should be known besides.
        run_count: Runs that the remote has now, or knows more of.
    """

    remote: str
    url: str
    dry_run: bool
    artifacts: tuple[Pushed, ...]
    sent_bytes: int
    sent_chunks: int
    requests: int
    notices: tuple[str, ...]
    run_count: int = 0


def push(
    repository: OpenRepository,
    revisions: Sequence[str] = (),
    remote_name: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> PushResult:
    """Give a remote what it lacks: of some versions' artifacts up to those versions, or of all.

    Args:
        repository: The repository.
        revisions: Versions; with one go those before it. None: everything.
        remote_name: Which remote.
        force: Move aliases that someone else moved meanwhile.
        dry_run: Only find out.
        progress: Told of the bytes sent.

    Raises:
        NotFoundError: There is no such remote or version.
        ConflictError: Someone else moved an alias that was moved here too; nothing was sent.
        IntegrityError: A chunk here is damaged or missing.
        RemoteError: The remote failed; the next push goes on.
    """
    with open_remote(repository, remote_name) as remote:
        if remote.is_read_only:
            raise RemoteError(f"Nothing can be written to {remote.address.url}.")
        repository.index.refresh()
        if not dry_run:
            recover(repository)
        accept_losses(repository, remote)
        repository.refresh_packs()
        notices: list[str] = []
        while True:
            if not dry_run:
                notices += _settle_names(repository, remote)
            tasks = push_tasks(repository, remote, revisions)
            try:
                return _push(repository, remote, tasks, force, dry_run, progress or Silent(), notices)
            except _NameTaken:
                continue  # someone was faster, just now: what was sent counts
            finally:
                for task in tasks:
                    task.scratch.close()


class _NameTaken(Exception):
    """An artifact joined another one while its name was published."""


def _settle_names(repository: OpenRepository, remote: OpenRemote) -> list[str]:
    """Find out which artifacts made here are versions of others' by now, before anything is said of them."""
    first = remote.known_head(NAMES_FOLDER) + 1
    is_named = repository.index.head(NAMES_KEY) >= first
    return settle_names(repository, remote, first, log_of(remote, NAMES_FOLDER).read_from(first) if is_named else [])


def _push(
    repository: OpenRepository,
    remote: OpenRemote,
    tasks: Sequence[PushTask],
    force: bool,
    dry_run: bool,
    progress: Progress,
    notices: list[str],
) -> PushResult:
    for task in tasks:
        task.plan = plan_task(repository, task, force)
    gone, damaged = refresh_packs(remote)
    notices += damaged
    known_damage = remote.damage()
    present = present_manifests(repository, manifests_to_publish(repository, remote, tasks))
    own, left_out = leave_out_lost(repository, remote, _chunks(repository, present))
    notices += left_out
    every = {chunk for group in own.values() for chunk in group}
    others: Mapping[ManifestId, set[ChunkId]] = {}
    if gone or damaged or known_damage:
        others = _chunks(repository, [one for one in _all_manifests(repository) if one not in own])
        here = repository.chunk_index.find_many({chunk for group in others.values() for chunk in group})
        every |= here.keys()  # what was only fetched need not be here
        if gone and (lost := len(here) - len(remote.chunk_index.find_many(here))):
            notices.append(f"{remote.name} lost {lost} of the chunks that it had; they are sent again.")
    shipment = plan_shipment(repository, remote, every, damaged_chunks(known_damage))
    if dry_run:
        pushed = [_pushed(task, task.plan.events) for task in tasks if task.is_artifacts and task.plan.events]
        notices += [notice for task in tasks if task.artifact is None for notice in task.plan.notices]
        run_count = sum(count_runs(task.plan.events) for task in tasks)
        return _result(remote, True, pushed, shipment, notices, run_count)
    if repository.hooks is not None:
        planned = [_pushed(task, task.plan.events) for task in tasks if task.is_artifacts and task.plan.events]
        repository.hooks.ask_remote(repository, "push", remote, planned)
    if shipment.locations:
        send(repository, remote, shipment, progress)
    send_manifests(repository, remote, {**others, **own})
    secure(repository, remote, own, progress)
    notices += send_blobs(repository, remote, (event for task in tasks for event in task.plan.events))
    if known_damage:
        notices += mend(repository, remote, known_damage)
    pushed = _publish_all(repository, remote, tasks, force, notices)
    if repository.hooks is not None:
        repository.hooks.note_remote(repository, "push", remote, pushed)
    run_count = sum(count_runs(task.published) for task in tasks)
    return _result(remote, False, pushed, shipment, notices, run_count)


def _publish_all(
    repository: OpenRepository, remote: OpenRemote, tasks: Sequence[PushTask], force: bool, notices: list[str]
) -> list[Pushed]:
    """Create the events of all logs there, those of names first.

    Raises:
        _NameTaken: An artifact's name turned out to be another one's.
    """
    pushed = []
    for task in tasks:
        task.published = _publish(repository, remote, task, force)
        if task.is_artifacts and (task.published or task.plan.renumbered or task.plan.notices):
            pushed.append(_pushed(task, task.published))
        elif task.artifact is None:
            notices += task.plan.notices
            if _has_joined(repository, tasks):
                raise _NameTaken
    return pushed


def _has_joined(repository: OpenRepository, tasks: Sequence[PushTask]) -> bool:
    """Tell whether one of the artifacts is none any more."""
    keys = {artifact.key for artifact in repository.index.artifacts(empty=True)}
    return any(task.artifact is not None and task.is_artifacts and task.artifact.key not in keys for task in tasks)


def _result(
    remote: OpenRemote,
    dry_run: bool,
    pushed: Iterable[Pushed],
    shipment: Shipment,
    notices: Sequence[str],
    run_count: int,
) -> PushResult:
    return PushResult(
        remote.name,
        remote.address.url,
        dry_run,
        tuple(sorted(pushed, key=lambda item: item.artifact)),
        shipment.size_bytes,
        len(shipment.locations),
        remote.storage.requests if isinstance(remote.storage, RemoteStorage) else 0,
        tuple(notices),
        run_count,
    )


def _pushed(task: PushTask, events: Sequence[Event]) -> Pushed:
    assert task.artifact is not None
    return Pushed(
        task.artifact.name,
        len(events),
        tuple(version for event in events for version in added_versions(event)),
        tuple(sorted(task.plan.renumbered.items())),
        tuple(task.plan.notices),
    )


def _all_manifests(repository: OpenRepository) -> list[ManifestId]:
    """Return the manifests that are here of all versions that are not removed."""
    every = {ManifestId(identity): uses for identity, uses in repository.index.all_manifests().items()}
    live = [identity for identity, uses in every.items() if not all(removed for _, _, removed in uses)]
    return [identity for identity in live if repository.storage.exists(manifest_name(identity))]


def _chunks(repository: OpenRepository, manifests: Iterable[ManifestId]) -> Mapping[ManifestId, set[ChunkId]]:
    return {
        identity: {chunk.id for file in read_manifest(repository.storage, identity).files for chunk in file.chunks}
        for identity in manifests
    }


def _publish(repository: OpenRepository, remote: OpenRemote, task: PushTask, force: bool) -> list[Event]:
    """Create the events of one log there, after those of others if need be, and make the log here the same.

    Returns:
        The events that this call created.

    Raises:
        ConflictError: Meanwhile someone else moved an alias.
        RemoteError: The remote failed.
    """
    log = log_of(remote, log_folder(task.artifact))
    published: list[Event] = []
    while task.plan.events:
        created = []
        for event in task.plan.events:
            if not log.append(event):
                break
            created.append(event)
        published += created
        if created:
            task.scratch.apply(created)
            task.news += created
        if len(created) == len(task.plan.events):
            break
        others = log.read_from(task.scratch.next_number)
        task.scratch.apply(others)
        task.news += others
        task.plan = plan_task(repository, task, force)
    adopted = adopt(repository, remote, task.artifact, task.first, task.news)
    task.plan.renumbered = adopted.renumbered
    task.plan.notices = list(dict.fromkeys([*task.plan.notices, *adopted.notices]))
    if published:
        _write_segments(repository, remote, task, published)
    return published


def _write_segments(repository: OpenRepository, remote: OpenRemote, task: PushTask, published: Sequence[Event]) -> None:
    """Write the segments that the new events completed; the log is whole without them."""
    first = published[0].number // SEGMENT_EVENTS * SEGMENT_EVENTS
    events = repository.index.events_from(task.artifact, first)[: published[-1].number + 1 - first]
    try:
        log_of(remote, log_folder(task.artifact)).write_segments(events, published[0].number)
    except MlverError as error:
        repository.notices.append(f"No segment of the log was written; reading it will be slower. {error.message}")
