"""`verify --remote`: read all that a remote has, check it, and note what the next push must mend."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from mlver.errors import IntegrityError, NotFoundError, RemoteError
from mlver.history.event import decode_event
from mlver.history.index import NAMES_FOLDER
from mlver.history.manifest import manifest_name, read_manifest
from mlver.ids import ChunkId, ManifestId, PackId
from mlver.ops.opening import OpenRepository
from mlver.ops.parallel import run_ordered
from mlver.ops.progress import Progress, Silent
from mlver.ops.remotes.elsewhere import published
from mlver.ops.remotes.mend import chunk_damage
from mlver.ops.remotes.opening import OpenRemote, open_remote
from mlver.ops.verify import Damage, Hurt, VerifyResult
from mlver.store.pack import PACKS_FOLDER, PackEntry, check_frame, pack_id_of, pack_name, read_pack_index

_CONNECTIONS = 8
_RANGE_BYTES = 4 << 20


def verify_remote(
    repository: OpenRepository, remote_name: str | None = None, progress: Progress | None = None
) -> VerifyResult:
    """Read every event, manifest and frame of a remote. Damage is reported and noted, not raised.

    Raises:
        NotFoundError: There is no such remote.
        RemoteError: It cannot be reached or listed.
    """
    with open_remote(repository, remote_name) as remote:
        if remote.is_read_only:
            raise RemoteError(f"{remote.address.url} cannot be listed, so not all of it can be checked.")
        repository.index.refresh()
        damaged = _check_logs(remote)
        checked, found = _check_manifests(repository, remote)
        damaged += found
        chunks, size_bytes, found = _check_packs(remote, progress or Silent())
        damaged += found
        remote.note_damage(_noted(damage) for damage in damaged if damage.kind != "pack")
        return VerifyResult(checked, chunks, size_bytes, tuple(damaged))


def _noted(damage: Damage) -> str:
    """Return how a damage is noted: by the name of the blob to replace, or as a chunk to send again."""
    if damage.kind == "chunk":
        return chunk_damage(ChunkId(bytes.fromhex(damage.name)))
    return manifest_name(damage.name) if damage.kind == "manifest" else damage.name


def _check_logs(remote: OpenRemote) -> list[Damage]:
    """Read every event from its own file."""
    damaged = []
    for folder in (NAMES_FOLDER, *(f"log/{name}" for name in remote.storage.list("log"))):
        names = [name for name in remote.storage.list(folder) if len(name) == 17 and name[:12].isdigit()]
        wanted = {f"{number:012d}.json" for number in range(int(max(names)[:12]) + 1)} if names else set()

        def check(name: str, folder: str = folder) -> Damage | None:
            place = f"{folder}/{name}"
            try:
                decode_event(remote.storage.read(place), int(name[:12]), place)
            except (IntegrityError, NotFoundError) as error:
                hurts = () if folder == NAMES_FOLDER else (Hurt(folder.removeprefix("log/"), None, ()),)
                return Damage("log", place, error.message, hurts)
            return None

        with ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="mlver-check") as pool:
            damaged += [found for found in pool.map(check, sorted(wanted)) if found is not None]
    return damaged


def _check_manifests(repository: OpenRepository, remote: OpenRemote) -> tuple[int, list[Damage]]:
    """Read the manifests of all versions that the remote has."""
    names = repository.index.all_manifests()
    wanted = sorted(identity for identity in published(repository) if identity in names)

    def check(identity: ManifestId) -> Damage | None:
        try:
            read_manifest(remote.storage, identity)
        except IntegrityError as error:
            hurts = tuple(Hurt(f"{artifact}:v{number}", None, ()) for artifact, number, _ in names[identity])
            return Damage("manifest", identity, error.message, hurts)
        return None

    with ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="mlver-check") as pool:
        return len(wanted), [found for found in pool.map(check, wanted) if found is not None]


def _check_packs(remote: OpenRemote, progress: Progress) -> tuple[int, int, list[Damage]]:
    """Read every frame; return how many, of how many raw bytes, and what is damaged."""
    damaged: list[Damage] = []
    tasks = []
    chunks, raw_bytes, stored_bytes = 0, 0, 0
    for pack in filter(None, map(pack_id_of, remote.storage.list(PACKS_FOLDER))):
        try:
            entries = read_pack_index(remote.storage, pack_name(pack))
        except IntegrityError as error:
            remote.chunk_index.forget_pack(pack)
            damaged.append(Damage("pack", pack, error.message, ()))
            continue
        chunks += len(entries)
        raw_bytes += sum(entry.raw_size for entry in entries)
        stored_bytes += sum(entry.frame_length for entry in entries)
        tasks += [partial(_check_range, remote, pack, group) for group in _groups(entries)]
    progress.start(stored_bytes, f"Verifying {remote.name}")
    try:
        for size_bytes, found in run_ordered(tasks):
            damaged += found
            progress.advance(size_bytes)
    finally:
        progress.done()
    return chunks, raw_bytes, damaged


def _groups(entries: Sequence[PackEntry]) -> list[list[PackEntry]]:
    groups: list[list[PackEntry]] = []
    for entry in entries:
        if not groups or entry.offset + entry.frame_length - groups[-1][0].offset > _RANGE_BYTES:
            groups.append([])
        groups[-1].append(entry)
    return groups


def _check_range(remote: OpenRemote, pack: PackId, group: Sequence[PackEntry]) -> tuple[int, list[Damage]]:
    start = group[0].offset
    size_bytes = group[-1].offset + group[-1].frame_length - start
    data = memoryview(remote.storage.read(pack_name(pack), start, size_bytes))
    damaged = []
    for entry in group:
        at = entry.offset - start
        try:
            check_frame(data[at : at + entry.frame_length], pack, entry)
        except IntegrityError as error:
            damaged.append(Damage("chunk", entry.chunk.hex(), error.message, ()))
    return size_bytes, damaged
