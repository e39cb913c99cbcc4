"""What a push does so that `gc --remote` leaves what it relies on: **publish manifests → look → go on**.

A chunk that the remote has may be one that no version there uses any more. A collector says first what it is about to
delete, and looks afterwards what is used; a push publishes its manifests first, and looks afterwards what is about to
be deleted, and what is there. Whichever was second sees what the other did. What is about to be deleted is sent again
under other names. `docs/design.md` ("Collecting a remote") has the argument.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor

from mlver.errors import ConflictError
from mlver.history.event import AddVersion, SetRemoved
from mlver.history.manifest_blob import manifest_name
from mlver.ids import ChunkId, ManifestId
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress
from mlver.ops.reliance import undecodable
from mlver.ops.remotes.collect.claims import read_claims
from mlver.ops.remotes.fetch import CONNECTIONS, added_versions
from mlver.ops.remotes.opening import OpenRemote
from mlver.ops.remotes.pack_listing import refresh_packs, write_hint
from mlver.ops.remotes.push_tasks import PushTask
from mlver.ops.remotes.receiving import copy_manifest
from mlver.ops.remotes.sending import plan_shipment, send

_LOOKS = 5
PATIENCE_SECONDS = 30.0
"""How long a push waits for a collector that is about to delete the very manifest it brings."""
_PAUSE_SECONDS = 1.0


def manifests_to_publish(repository: OpenRepository, remote: OpenRemote, tasks: Iterable[PushTask]) -> list[ManifestId]:
    """Return the manifests of versions that are new there, or come back there.

    Raises:
        ConflictError: A version was restored here whose content is gone everywhere.
        RemoteError: The remote failed.
    """
    found: dict[ManifestId, None] = {}
    for task in tasks:
        restored: dict[int, None] = {}
        for action in (action for event in task.plan.events for action in event.actions):
            if isinstance(action, AddVersion):
                found[ManifestId(action.manifest)] = None
            elif isinstance(action, SetRemoved) and not action.removed:
                restored[action.version] = None
            elif isinstance(action, SetRemoved):
                restored.pop(action.version, None)
        there = [number for number in restored if number not in _added(task)]
        found |= dict.fromkeys(_restored(repository, remote, task, number) for number in there)
    return list(found)


def _added(task: PushTask) -> set[int]:
    return {number for event in task.plan.events for number in added_versions(event)}


def _restored(repository: OpenRepository, remote: OpenRemote, task: PushTask, number: int) -> ManifestId:
    """Return the manifest of a version there that comes back, after getting it if it is not here."""
    version = task.scratch.index.version(task.scratch.artifact, number)
    assert version is not None  # it was there when the event was said again
    identity = version.id
    if not repository.storage.exists(manifest_name(identity)) and not copy_manifest(repository, remote, identity):
        raise _content_is_gone(task, number, remote)
    return identity


def _content_is_gone(task: PushTask, number: int, remote: OpenRemote) -> ConflictError:
    name = f"{task.artifact.name if task.artifact else ''}:v{number}"
    return ConflictError(
        f"{name} was restored here, but its content is neither here nor at {remote.name}, where mlver gc deleted it.",
        f"Remove it again: mlver rm {name}. Or push from a machine that has the content.",
    )


def send_manifests(repository: OpenRepository, remote: OpenRemote, chunks: Mapping[ManifestId, set[ChunkId]]) -> None:
    """Send manifests and what says where their chunks are; all are durable there when this returns.

    One that is there is written anew: it counts as young then, and a collector does not take it for superfluous.
    """

    def send_one(manifest: ManifestId) -> None:
        name = manifest_name(manifest)
        remote.storage.put(name, repository.storage.read(name))
        write_hint(remote, manifest, chunks[manifest])

    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="mlver-push") as pool:
        list(pool.map(send_one, chunks))


def secure(
    repository: OpenRepository,
    remote: OpenRemote,
    chunks: Mapping[ManifestId, set[ChunkId]],
    progress: Progress,
) -> None:
    """Make sure that manifests which were published, and all that they rest on, are there and will stay.

    Args:
        repository: The repository.
        remote: The remote.
        chunks: The manifests, each with its chunks.
        progress: Told of the bytes sent again.

    Raises:
        ConflictError: What is being pushed is deleted time and again.
        IntegrityError: A chunk is neither here nor there.
        RemoteError: The remote failed.
    """
    relied_on = {chunk for group in chunks.values() for chunk in group}
    for _ in range(_LOOKS if chunks else 0):
        claims = read_claims(remote.storage)
        if claims.manifests & chunks.keys():
            _wait(remote, chunks.keys())
            send_manifests(repository, remote, chunks)
            continue
        refresh_packs(remote, claims.packs)  # after the claims: one that is gone has done what it said
        shipment = plan_shipment(repository, remote, relied_on)
        if not shipment.locations:
            return
        send(repository, remote, shipment, progress, renamed=bool(claims.packs))
        send_manifests(repository, remote, chunks)
    if chunks:
        raise ConflictError(
            f"What is being pushed is deleted from {remote.name} time and again.",
            "Push again when mlver gc --remote is done.",
        )


def _wait(remote: OpenRemote, manifests: Set[ManifestId]) -> None:
    """Wait until nobody is about to delete any of the manifests.

    Raises:
        ConflictError: Somebody is for too long, or was killed.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while read_claims(remote.storage).manifests & manifests:
        if time.monotonic() > end:
            raise ConflictError(
                f"Somebody's mlver gc --remote is about to delete from {remote.name} what is being pushed.",
                "Push again when it is done. If it was killed and nobody else works there, this clears up after it: "
                "mlver gc --remote --grace 0",
            )
        time.sleep(_PAUSE_SECONDS)


def present_manifests(repository: OpenRepository, manifests: Sequence[ManifestId]) -> list[ManifestId]:
    """Return those of the manifests that are here: `gc` may have deleted those of removed versions."""
    found = []
    every = repository.index.all_manifests()
    for identity in manifests:
        all_removed = all(removed for _, _, removed in every.get(identity, ()))
        if not all_removed or repository.storage.exists(manifest_name(identity)):
            found.append(identity)
    return found


def leave_out_lost(
    repository: OpenRepository, remote: OpenRemote, chunks: Mapping[ManifestId, set[ChunkId]]
) -> tuple[dict[ManifestId, set[ChunkId]], list[str]]:
    """Leave out what only removed versions have and nobody can restore: that it is damaged must not hinder a push.

    Returns:
        The others of the manifests, each with its chunks; and what was left out, for people.
    """
    every = repository.index.all_manifests()
    kept: dict[ManifestId, set[ChunkId]] = {}
    notices = []
    for identity, group in chunks.items():
        uses = every.get(identity, [])
        is_removed = bool(uses) and all(removed for _, _, removed in uses)
        if is_removed and undecodable(repository, group - remote.chunk_index.find_many(group).keys()):
            name, number, _ = uses[0]
            notices.append(f"The content of {name}:v{number}, which was removed, is damaged here and was not sent.")
        else:
            kept[identity] = group
    return kept, notices
