"""`verify --remote`: read all that a remote has, check it, and note what the next push must mend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

from mlver.errors import IntegrityError, NotFoundError, RemoteError
from mlver.history.event import decode_event
from mlver.history.index import NAMES_FOLDER, RUNS_FOLDER, log_folder
from mlver.history.manifest import manifest_name, read_manifest
from mlver.history.records import RUNS, VersionRecord
from mlver.history.run_blob import blob_name, blobs_named_by, check_blob
from mlver.ids import BlobId, ChunkId, ManifestId, PackId
from mlver.ops.opening import OpenRepository
from mlver.ops.parallel import run_ordered
from mlver.ops.progress import Progress, Silent
from mlver.ops.remotes.adopt import scratch_of
from mlver.ops.remotes.fetch import read_news
from mlver.ops.remotes.mend import chunk_damage
from mlver.ops.remotes.opening import OpenRemote, open_remote
from mlver.ops.remotes.pack_listing import read_hint
from mlver.ops.verify import Damage, Hurt, VerifyResult, hurts_of
from mlver.store.pack import PACKS_FOLDER, PackEntry, check_frame, pack_id_of, pack_name, read_pack_index, split_bases

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
        versions = _versions(repository, remote)
        found = _Found(damaged=_check_logs(remote) + _check_blobs(repository, remote))
        _check_manifests(remote, versions, found)
        _check_packs(remote, found, progress or Silent())
        absent = _absent_chunks(found)
        hurts = _hurts(
            remote, versions, found, {ChunkId(bytes.fromhex(damage.name)) for damage in found.chunks} | absent
        )
        damaged = [*found.damaged, *_absences(remote, found, absent, hurts)]
        damaged += [replace(damage, hurts=hurts[ChunkId(bytes.fromhex(damage.name))]) for damage in found.chunks]
        noted = {_noted(damage) for damage in damaged if damage.kind != "pack"} | {
            chunk_damage(each) for each in absent
        }
        remote.note_damage(sorted(noted))
        return VerifyResult(found.manifest_count, found.frame_count, found.raw_bytes, tuple(damaged))


@dataclass(slots=True)
class _Found:
    """What was seen at a remote.

    Attributes:
        damaged: Damage of anything but chunks.
        chunks: Damaged frames.
        manifest_count: Manifests that were read.
        used: The chunks that they use.
        named: Packs that the hints beside them name.
        packs: Packs that are there.
        broken: What is wrong with those whose index cannot be read.
        bases: Chunks that are there, each with what it rests on.
        frame_count: Frames that were read.
        raw_bytes: Their raw size.
    """

    damaged: list[Damage] = field(default_factory=list)
    chunks: list[Damage] = field(default_factory=list)
    manifest_count: int = 0
    used: set[ChunkId] = field(default_factory=set)
    named: set[PackId] = field(default_factory=set)
    packs: set[PackId] = field(default_factory=set)
    broken: dict[PackId, str] = field(default_factory=dict)
    bases: dict[ChunkId, bytes] = field(default_factory=dict)
    frame_count: int = 0
    raw_bytes: int = 0


def _versions(repository: OpenRepository, remote: OpenRemote) -> list[VersionRecord]:
    """Return the versions that the remote has, as it says now: others may have removed some, and collected them."""
    artifacts = {log_folder(artifact): artifact for artifact in repository.index.artifacts(empty=True)}
    try:
        news = read_news(remote, list(artifacts))
    except IntegrityError:
        news = {}  # what is damaged is told of below
    found = []
    for folder, artifact in artifacts.items():
        first = remote.known_head(folder) + 1
        scratch = scratch_of(repository, artifact, first)
        try:
            start, events = news.get(folder, (first, []))
            scratch.apply(events if start == first else [])
            found += scratch.index.versions(scratch.artifact, removed=True)
        finally:
            scratch.close()
    return found


def _noted(damage: Damage) -> str:
    """Return how a damage is noted: by the name of the blob to replace, or as a chunk to send again."""
    if damage.kind == "chunk":
        return chunk_damage(_chunk(damage))
    return manifest_name(damage.name) if damage.kind == "manifest" else damage.name


def _chunk(damage: Damage) -> ChunkId:
    return ChunkId(bytes.fromhex(damage.name))


def _check_logs(remote: OpenRemote) -> list[Damage]:
    """Read every event from its own file."""
    damaged = []
    for folder in (NAMES_FOLDER, RUNS_FOLDER, *(f"log/{name}" for name in remote.storage.list("log"))):
        names = [name for name in remote.storage.list(folder) if len(name) == 17 and name[:12].isdigit()]
        wanted = {f"{number:012d}.json" for number in range(int(max(names)[:12]) + 1)} if names else set()

        def check(name: str, folder: str = folder) -> Damage | None:
            place = f"{folder}/{name}"
            try:
                decode_event(remote.storage.read(place), int(name[:12]), place)
            except (IntegrityError, NotFoundError) as error:
                is_of_all = folder in (NAMES_FOLDER, RUNS_FOLDER)
                hurts = () if is_of_all else (Hurt(folder.removeprefix("log/"), None, ()),)
                return Damage("log", place, error.message, hurts)
            return None

        with ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="mlver-check") as pool:
            damaged += [found for found in pool.map(check, sorted(wanted)) if found is not None]
    return damaged


def _check_blobs(repository: OpenRepository, remote: OpenRemote) -> list[Damage]:
    """Read what runs left there: all that the logs up to what the remote is known to have name."""
    index = repository.index
    events = [
        event
        for log in (RUNS, *index.artifacts())
        for event in index.events_from(log, 0)
        if event.number <= remote.known_head(log_folder(log))
    ]

    def check(identity: BlobId) -> Damage | None:
        try:
            check_blob(remote.storage.read(blob_name(identity)), identity)
        except (IntegrityError, NotFoundError) as error:
            return Damage("blob", blob_name(identity), error.message, ())
        return None

    with ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="mlver-check") as pool:
        return [found for found in pool.map(check, blobs_named_by(events)) if found is not None]


def _check_manifests(remote: OpenRemote, versions: Sequence[VersionRecord], found: _Found) -> None:
    """Read the manifests of versions; those of removed ones may be gone."""
    sharing: dict[ManifestId, list[VersionRecord]] = {}
    for version in versions:
        sharing.setdefault(version.id, []).append(version)

    def check(identity: ManifestId) -> tuple[ManifestId, set[ChunkId], list[PackId]] | Damage | None:
        try:
            manifest = read_manifest(remote.storage, identity)
        except IntegrityError as error:
            group = sharing[identity]
            if all(version.removed for version in group) and not remote.storage.exists(manifest_name(identity)):
                return None
            hurts = tuple(Hurt(version.name, None, ()) for version in group)
            return Damage("manifest", identity, error.message, hurts)
        chunks = {chunk.id for file in manifest.files for chunk in file.chunks}
        return identity, chunks, read_hint(remote, identity)

    with ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="mlver-check") as pool:
        for seen in pool.map(check, sorted(sharing)):
            if isinstance(seen, Damage):
                found.damaged.append(seen)
            elif seen is not None:
                found.manifest_count += 1
                found.used |= seen[1]
                found.named.update(seen[2])


def _check_packs(remote: OpenRemote, found: _Found, progress: Progress) -> None:
    """Read every frame."""
    tasks = []
    stored_bytes = 0
    for pack in filter(None, map(pack_id_of, remote.storage.list(PACKS_FOLDER))):
        found.packs.add(pack)
        try:
            entries = read_pack_index(remote.storage, pack_name(pack))
        except IntegrityError as error:
            found.broken[pack] = error.message
            continue
        found.frame_count += len(entries)
        found.raw_bytes += sum(entry.raw_size for entry in entries)
        found.bases.update((entry.chunk, entry.bases) for entry in entries)
        stored_bytes += sum(entry.frame_length for entry in entries)
        tasks += [partial(_check_range, remote, pack, group) for group in _groups(entries)]
    progress.start(stored_bytes, f"Verifying {remote.name}")
    try:
        for size_bytes, damaged in run_ordered(tasks, _CONNECTIONS, _CONNECTIONS):
            found.chunks += damaged
            progress.advance(size_bytes)
    finally:
        progress.done()


def _absent_chunks(found: _Found) -> set[ChunkId]:
    """Return the chunks that versions need, or that these rest on, and that are in no pack."""
    absent: set[ChunkId] = set()
    seen: set[ChunkId] = set()
    wanted = set(found.used)
    while wanted:
        seen |= wanted
        absent |= wanted - found.bases.keys()
        bases = (split_bases(found.bases[chunk]) for chunk in wanted if chunk in found.bases)
        wanted = {base for group in bases for base in group} - seen
    return absent


def _absences(
    remote: OpenRemote, found: _Found, absent: set[ChunkId], hurts: Mapping[ChunkId, tuple[Hurt, ...]]
) -> Iterator[Damage]:
    """Yield the packs that were lost or cannot be read; where no such pack is known, the absent chunks one by one."""
    known = remote.chunk_index.packs().keys()
    lost = (
        (found.named | known) - found.packs if absent else set()
    )  # else others have what they had, or nobody wants it
    reasons = dict.fromkeys(sorted(lost), f"{remote.name} lost it.") | found.broken
    for pack, reason in reasons.items():
        had = {entry.chunk for entry in remote.chunk_index.entries(pack)} if pack in known else absent
        hurt = dict.fromkeys(hurt for chunk in sorted(absent & had) for hurt in hurts[chunk])
        remote.chunk_index.forget_pack(pack)
        yield Damage("pack", pack, reason, tuple(hurt))
    for chunk in sorted(absent) if not reasons else ():
        yield Damage("chunk", chunk.hex(), f"It is in no pack of {remote.name}.", hurts[chunk])


def _hurts(
    remote: OpenRemote, versions: Sequence[VersionRecord], found: _Found, damaged: set[ChunkId]
) -> dict[ChunkId, tuple[Hurt, ...]]:
    """Return which files each damaged or absent chunk hurts, also by what rests on it."""
    if not damaged:
        return {}
    resting: dict[ChunkId, list[ChunkId]] = {}
    for chunk, bases in found.bases.items():
        for base in split_bases(bases):
            resting.setdefault(base, []).append(chunk)
    reach = {chunk: _reach(chunk, resting) for chunk in damaged}
    direct = hurts_of(remote.storage, versions, {chunk for chunks in reach.values() for chunk in chunks})
    return {
        chunk: tuple(dict.fromkeys(hurt for each in sorted(chunks) for hurt in direct[each]))
        for chunk, chunks in reach.items()
    }


def _reach(chunk: ChunkId, resting: Mapping[ChunkId, Sequence[ChunkId]]) -> set[ChunkId]:
    """Return a chunk and all that rests on it, however indirectly."""
    found = {chunk}
    rest = [chunk]
    while rest:
        more = set(resting.get(rest.pop(), ())) - found
        found |= more
        rest += more
    return found


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
