"""`push`: missing chunks → packs → manifests → events. What is there already is not sent again, whoever sent it.

Everything is decided before anything is sent: what has to be renumbered, and whether somebody else moved an alias. A
push that is killed leaves packs and manifests that no event names yet; the next one finds them and goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from mlver.errors import MlverError, RemoteError
from mlver.history.event import AddVersion, Event
from mlver.history.index import NAMES_FOLDER, NAMES_KEY
from mlver.history.log import SEGMENT_EVENTS
from mlver.history.manifest import manifest_name, read_manifest
from mlver.history.records import ArtifactRecord
from mlver.ids import ChunkId, ManifestId
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress, Silent
from mlver.ops.remotes.adopt import adopt, by_write_id, folder_of, scratch_of
from mlver.ops.remotes.fetch import CONNECTIONS, added_versions, log_of, settle_names
from mlver.ops.remotes.mend import damaged_chunks, mend
from mlver.ops.remotes.opening import OpenRemote, open_remote
from mlver.ops.remotes.pack_listing import refresh_packs, write_hint
from mlver.ops.remotes.replay import Replayed, Scratch
from mlver.ops.remotes.sending import Shipment, plan_shipment, send
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
    """

    remote: str
    url: str
    dry_run: bool
    artifacts: tuple[Pushed, ...]
    sent_bytes: int
    sent_chunks: int
    requests: int
    notices: tuple[str, ...]


@dataclass(slots=True)
class _Task:
    """One log to be pushed.

    Attributes:
        artifact: Whose log; None for the log of names.
        first: Number from which on the remote may differ.
        mine: Write ids of the events to push: others may be added here meanwhile, whose chunks were not sent.
        news: What the remote has from `first` on.
        scratch: The state that the remote's log adds up to.
        plan: What is to be pushed, said after the news.
    """

    artifact: ArtifactRecord | None
    first: int
    mine: frozenset[str]
    news: list[Event]
    scratch: Scratch
    plan: Replayed = field(default_factory=Replayed)


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
        repository.refresh_packs()
        notices: list[str] = []
        while True:
            if not dry_run:
                notices += _settle_names(repository, remote)
            tasks = _tasks(repository, remote, revisions)
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
    tasks: Sequence[_Task],
    force: bool,
    dry_run: bool,
    progress: Progress,
    notices: list[str],
) -> PushResult:
    for task in tasks:
        task.plan = _plan(repository, task, force)
    gone, damaged = refresh_packs(remote)
    notices += damaged
    if gone:
        notices.append(f"{remote.name} lost {gone} packs; what they held is sent again as far as it is here.")
    known_damage = remote.damage()
    manifests = _manifests(repository, tasks, everything=bool(gone or damaged or known_damage))
    chunks = _chunks(repository, manifests)
    every = {chunk for group in chunks.values() for chunk in group}
    if gone or damaged or known_damage:  # what was only fetched need not be here
        every = repository.chunk_index.find_many(every).keys() | _own(chunks, tasks)
    shipment = plan_shipment(repository, remote, every, damaged_chunks(known_damage))
    if dry_run:
        pushed = [_pushed(task, task.plan.events) for task in tasks if task.artifact and task.plan.events]
        notices += [notice for task in tasks if task.artifact is None for notice in task.plan.notices]
        return _result(remote, True, pushed, shipment, notices)
    if shipment.locations:
        send(repository, remote, shipment, progress)
    _send_manifests(repository, remote, chunks)
    if known_damage:
        notices += mend(repository, remote, known_damage)
    pushed = _publish_all(repository, remote, tasks, force, notices)
    return _result(remote, False, pushed, shipment, notices)


def _publish_all(
    repository: OpenRepository, remote: OpenRemote, tasks: Sequence[_Task], force: bool, notices: list[str]
) -> list[Pushed]:
    """Create the events of all logs there, those of names first.

    Raises:
        _NameTaken: An artifact's name turned out to be another one's.
    """
    pushed = []
    for task in tasks:
        events = _publish(repository, remote, task, force)
        if task.artifact is not None and (events or task.plan.renumbered or task.plan.notices):
            pushed.append(_pushed(task, events))
        elif task.artifact is None:
            notices += task.plan.notices
            if _has_joined(repository, tasks):
                raise _NameTaken
    return pushed


def _has_joined(repository: OpenRepository, tasks: Sequence[_Task]) -> bool:
    """Tell whether one of the artifacts is none any more."""
    keys = {artifact.key for artifact in repository.index.artifacts(empty=True)}
    return any(task.artifact is not None and task.artifact.key not in keys for task in tasks)


def _send_manifests(repository: OpenRepository, remote: OpenRemote, chunks: Mapping[ManifestId, set[ChunkId]]) -> None:
    """Send manifests and what says where their chunks are; all are durable there when this returns."""

    def send_one(manifest: ManifestId) -> None:
        name = manifest_name(manifest)
        remote.storage.create(name, repository.storage.read(name))
        write_hint(remote, manifest, chunks[manifest])

    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="mlver-push") as pool:
        list(pool.map(send_one, chunks))


def _result(
    remote: OpenRemote, dry_run: bool, pushed: Iterable[Pushed], shipment: Shipment, notices: Sequence[str]
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
    )


def _pushed(task: _Task, events: Sequence[Event]) -> Pushed:
    assert task.artifact is not None
    return Pushed(
        task.artifact.name,
        len(events),
        tuple(version for event in events for version in added_versions(event)),
        tuple(sorted(task.plan.renumbered.items())),
        tuple(task.plan.notices),
    )


def _tasks(repository: OpenRepository, remote: OpenRemote, revisions: Sequence[str]) -> list[_Task]:
    """Return the logs that have something to push, that of names first; what the remote has anew is read."""
    limits = _limits(repository, revisions)
    index = repository.index
    wanted: list[tuple[ArtifactRecord | None, int | None]] = [(None, None)]
    wanted += [
        (artifact, limits.get(artifact.key))
        for artifact in index.artifacts(empty=True)
        if not revisions or artifact.key in limits
    ]
    tasks = []
    for artifact, upto in wanted:
        folder = folder_of(artifact)
        first = remote.known_head(folder) + 1
        if index.head(artifact.key if artifact else 0) < first:
            continue
        pending = index.events_from(artifact, first)
        mine = frozenset(event.write_id for event in pending if upto is None or event.number <= upto)
        news = log_of(remote, folder).read_from(first)
        scratch = scratch_of(repository, artifact, first)
        scratch.apply(news)
        tasks.append(_Task(artifact, first, mine, news, scratch))
    return tasks


def _limits(repository: OpenRepository, revisions: Sequence[str]) -> dict[int, int]:
    """Return by artifact key the number of the event that added the newest of the versions asked for."""
    limits: dict[int, int] = {}
    for revision in revisions:
        found = repository.resolve(revision)
        for event in repository.index.events(found.artifact):
            if found.version.number in added_versions(event):
                limits[found.artifact.key] = max(limits.get(found.artifact.key, -1), event.number)
    return limits


def _plan(repository: OpenRepository, task: _Task, force: bool) -> Replayed:
    """Say again what was not pushed, after what the remote has.

    Raises:
        ConflictError: Someone else moved an alias, and `force` is not given.
    """
    pending = [
        event for event in repository.index.events_from(task.artifact, task.first) if event.write_id in task.mine
    ]
    return task.scratch.replay(pending, by_write_id(task.news), force=force)


def _manifests(repository: OpenRepository, tasks: Sequence[_Task], everything: bool) -> list[ManifestId]:
    """Return the manifests of the versions to push, or (`everything`) of all versions whose manifests are here.

    A removed version's may be gone, which `gc` did: others learn of the version, and that it was removed.
    """
    every = {ManifestId(identity): uses for identity, uses in repository.index.all_manifests().items()}

    def is_gone(identity: ManifestId) -> bool:
        all_removed = all(removed for _, _, removed in every.get(identity, ()))
        return all_removed and not repository.storage.exists(manifest_name(identity))

    found = dict.fromkeys(identity for identity in _added(tasks) if not is_gone(identity))
    if everything:
        found |= dict.fromkeys(one for one in every if repository.storage.exists(manifest_name(one)))
    return list(found)


def _own(chunks: Mapping[ManifestId, set[ChunkId]], tasks: Sequence[_Task]) -> set[ChunkId]:
    """Return the chunks of the versions that are to be pushed: all of them must get there."""
    return {chunk for identity in _added(tasks) for chunk in chunks.get(identity, ())}


def _added(tasks: Sequence[_Task]) -> Iterator[ManifestId]:
    """Yield the manifests of the versions that are to be pushed."""
    for task in tasks:
        for event in task.plan.events:
            yield from (ManifestId(action.manifest) for action in event.actions if isinstance(action, AddVersion))


def _chunks(repository: OpenRepository, manifests: Iterable[ManifestId]) -> Mapping[ManifestId, set[ChunkId]]:
    return {
        identity: {chunk.id for file in read_manifest(repository.storage, identity).files for chunk in file.chunks}
        for identity in manifests
    }


def _publish(repository: OpenRepository, remote: OpenRemote, task: _Task, force: bool) -> list[Event]:
    """Create the events of one log there, after those of others if need be, and make the log here the same.

    Returns:
        The events that this call created.

    Raises:
        ConflictError: Meanwhile someone else moved an alias.
        RemoteError: The remote failed.
    """
    log = log_of(remote, folder_of(task.artifact))
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
        task.plan = _plan(repository, task, force)
    adopted = adopt(repository, remote, task.artifact, task.first, task.news)
    task.plan.renumbered = adopted.renumbered
    task.plan.notices = list(dict.fromkeys([*task.plan.notices, *adopted.notices]))
    if published:
        _write_segments(repository, remote, task, published)
    return published


def _write_segments(repository: OpenRepository, remote: OpenRemote, task: _Task, published: Sequence[Event]) -> None:
    """Write the segments that the new events completed; the log is whole without them."""
    first = published[0].number // SEGMENT_EVENTS * SEGMENT_EVENTS
    events = repository.index.events_from(task.artifact, first)[: published[-1].number + 1 - first]
    try:
        log_of(remote, folder_of(task.artifact)).write_segments(events, published[0].number)
    except MlverError as error:
        repository.notices.append(f"No segment of the log was written; reading it will be slower. {error.message}")
