"""Manifests and chunks from a remote: what is missing here, with the bases that are, as ranges of packs.

Frames that lie near each other come in one request; several requests are under way at once, one thread writes what they
bring, in order, into packs that wait until everything was checked (`mlver.ops.remotes.incoming`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from mlver.errors import IntegrityError, MlverError, NotFoundError, RemoteError
from mlver.history.manifest import manifest_name, read_manifest
from mlver.ids import ChunkId, ManifestId
from mlver.ops.opening import OpenRepository
from mlver.ops.parallel import run_ordered
from mlver.ops.progress import Progress, Silent
from mlver.ops.pull import PullPlan
from mlver.ops.remotes.incoming import Incoming
from mlver.ops.remotes.opening import OpenRemote, open_remote
from mlver.ops.remotes.pack_listing import CONNECTIONS, learn_packs, read_hint, refresh_packs
from mlver.store.chunk_index import ChunkIndex, Location
from mlver.store.memory import MemoryStorage
from mlver.store.pack import (
    FrameHeader,
    PackWriter,
    build_frame,
    check_frame,
    pack_name,
    read_frame,
    split_bases,
)
from mlver.store.stretches import stretches

_GAP_BYTES = 64 << 10
"""Bytes between two frames that are cheaper to read than another request."""
_RANGE_BYTES = 8 << 20
_ATTEMPTS = 4


class PackGoneError(RemoteError):
    """A pack is gone: the remote lost it, or somebody collects there, who wrote what is needed of it anew."""


@dataclass(frozen=True, slots=True)
class Received:
    """What came from a remote.

    Attributes:
        remote: Its name; None where nothing was missing.
        chunk_count: Chunks that were missing here.
        received_bytes: What they took on the way.
    """

    remote: str | None
    chunk_count: int
    received_bytes: int


def obtain_manifest(repository: OpenRepository, manifest: ManifestId) -> None:
    """Make sure that a manifest is here, from whatever remote has it.

    Raises:
        NotFoundError: No remote has it.
        IntegrityError: It is damaged there.
        RemoteError: A remote failed.
    """
    name = manifest_name(manifest)
    if repository.storage.exists(name):
        return
    for remote_name in _by_preference(repository):
        with open_remote(repository, remote_name) as remote:
            if copy_manifest(repository, remote, manifest):
                return
    raise NotFoundError(
        f"Version {manifest} is not here, and no remote has it.", "Whoever added it has to push it: mlver push"
    )


def copy_manifest(repository: OpenRepository, remote: OpenRemote, manifest: ManifestId) -> bool:
    """Get a manifest from a remote; False if it is not there.

    Raises:
        IntegrityError: It is damaged there.
        RemoteError: The remote failed.
    """
    name = manifest_name(manifest)
    try:
        data = remote.storage.read(name)
    except NotFoundError:
        return False
    unchecked = MemoryStorage()
    unchecked.put(name, data)
    read_manifest(unchecked, manifest)  # checks all of it, before it is let in
    repository.storage.create(name, data)
    return True


def obtain_files(
    repository: OpenRepository, plan: PullPlan, progress: Progress | None = None, *, dry_run: bool = False
) -> Received:
    """Make sure that the chunks that a pull will write are here; see `obtain_chunks`."""
    repository.refresh_packs()
    chunks = {chunk.id for entry in (*plan.write, *plan.overwrite) for chunk in entry.chunks}
    return obtain_chunks(repository, plan.version.id, chunks, progress, dry_run=dry_run)


def obtain_chunks(
    repository: OpenRepository,
    manifest: ManifestId,
    chunks: Iterable[ChunkId],
    progress: Progress | None = None,
    *,
    dry_run: bool = False,
) -> Received:
    """Make sure that chunks of a version are here, from whatever remote has them.

    Args:
        repository: The repository, whose packs are known.
        manifest: Of which version, as a hint where to look.
        chunks: Which chunks.
        progress: Told of the bytes received.
        dry_run: Only find out how many bytes would come.

    Raises:
        NotFoundError: No remote has all of them.
        IntegrityError: One is damaged there.
        RemoteError: A remote failed; what came is kept, and checked again by the next pull.
    """
    wanted = set(chunks)
    missing = _missing(repository, wanted)
    if not missing:
        return Received(None, 0, 0)
    for remote_name in _by_preference(repository):
        with open_remote(repository, remote_name) as remote:
            try:
                return _obtain_from(repository, remote, manifest, missing, progress or Silent(), dry_run)
            except NotFoundError:
                continue
    raise NotFoundError(
        f"{len(missing)} chunks are not here, and no remote has them all.",
        "Whoever added the version has to push it: mlver push",
    )


def _obtain_from(
    repository: OpenRepository,
    remote: OpenRemote,
    manifest: ManifestId,
    missing: set[ChunkId],
    progress: Progress,
    dry_run: bool,
) -> Received:
    """Get chunks from one remote. What is gone from where it was may be in another pack: it is looked for anew.

    Raises:
        NotFoundError: It does not have all of them.
        IntegrityError: One is damaged there.
        RemoteError: It failed, or loses one pack after the other.
    """
    places = _locate(repository, remote, manifest, missing)
    if dry_run:
        return Received(remote.name, len(places), sum(place.entry.frame_length for place in places.values()))
    for _ in range(_ATTEMPTS):
        try:
            return Received(remote.name, len(places), receive(repository, remote, places, progress))
        except PackGoneError:
            if not remote.is_read_only:
                refresh_packs(remote)
            places = _locate(repository, remote, manifest, missing)
    return Received(remote.name, len(places), receive(repository, remote, places, progress))


def _by_preference(repository: OpenRepository) -> list[str]:
    return sorted(repository.config.remotes, key=lambda name: (name != "origin", name))


def _missing(repository: OpenRepository, chunks: Iterable[ChunkId]) -> set[ChunkId]:
    """Return which of the chunks, and of what those here rest on, are not here."""
    missing: set[ChunkId] = set()
    seen: set[ChunkId] = set()
    wanted = set(chunks)
    while wanted:
        seen |= wanted
        here = repository.chunk_index.find_many(wanted)
        missing |= wanted - here.keys()
        wanted = {base for where in here.values() for base in split_bases(where.entry.bases)} - seen
    return missing


def _locate(
    repository: OpenRepository, remote: OpenRemote, manifest: ManifestId, missing: set[ChunkId]
) -> dict[ChunkId, Location]:
    """Return where missing chunks, and what they rest on that is missing too, lie at a remote.

    Raises:
        NotFoundError: It does not have all of them.
    """
    known = remote.chunk_index.packs()
    learn_packs(remote, [pack for pack in read_hint(remote, manifest) if pack not in known])
    try:
        return _closure(repository, remote.chunk_index, missing)
    except NotFoundError:
        if remote.is_read_only:
            raise
    refresh_packs(remote)
    return _closure(repository, remote.chunk_index, missing)


def _closure(repository: OpenRepository, index: ChunkIndex, missing: set[ChunkId]) -> dict[ChunkId, Location]:
    found: dict[ChunkId, Location] = {}
    wanted = set(missing)
    while wanted:
        there = index.find_many(wanted)
        if absent := wanted - there.keys():
            raise NotFoundError(f"Chunk {min(absent).hex()} is not there.")
        found |= there
        bases = {base for where in there.values() for base in split_bases(where.entry.bases)} - found.keys()
        wanted = _missing(repository, bases) - found.keys()
    return found


def receive(repository: OpenRepository, remote: OpenRemote, places: dict[ChunkId, Location], progress: Progress) -> int:
    """Get frames from a remote, check that each can be decoded, and let them in; return how many bytes came.

    Raises:
        IntegrityError: One is damaged there, or what it rests on is missing here.
        RemoteError: The remote failed; what came waits for the next time.
    """
    incoming = Incoming(repository, places)
    try:
        waiting = incoming.index.find_many(places)
        rest = sorted(
            (where for chunk, where in places.items() if chunk not in waiting),
            key=lambda where: (where.pack, where.entry.offset),
        )
        received_bytes = _download(remote, incoming, rest, progress)
        try:
            incoming.check()
        except IntegrityError:
            incoming.drop()
            raise
        incoming.publish()
        return received_bytes
    finally:
        incoming.close()


def _download(remote: OpenRemote, incoming: Incoming, rest: Sequence[Location], progress: Progress) -> int:
    """Write frames of a remote into waiting packs; return how many bytes were received."""
    ranges = list(stretches(rest, _RANGE_BYTES, _GAP_BYTES))
    progress.start(sum(where.entry.frame_length for where in rest), f"Fetching from {remote.name}")
    received_bytes = 0
    writer: PackWriter | None = None
    try:
        tasks = (partial(_read, remote, group) for group in ranges)
        for group, data in zip(ranges, run_ordered(tasks, CONNECTIONS, CONNECTIONS), strict=True):
            received_bytes += len(data)
            start = group[0].entry.offset
            for where in group:
                at = where.entry.offset - start
                header, payload = _frame(remote, where, data[at : at + where.entry.frame_length])
                writer = writer or PackWriter(incoming.storage.stage())
                writer.append(build_frame(header, [payload]))
                progress.advance(where.entry.frame_length)
                if writer.is_full:
                    _commit(incoming, writer)
                    writer = None
        if writer is not None:
            _commit(incoming, writer)
            writer = None
    except IntegrityError as error:
        raise IntegrityError(
            f"{remote.address.url}: {error.message}", "Push again from a machine that has it, or pull it from another."
        ) from error
    finally:
        progress.done()
        if writer is not None:
            _keep(incoming, writer)
    return received_bytes


def _frame(remote: OpenRemote, where: Location, data: memoryview) -> tuple[FrameHeader, memoryview]:
    """Return a frame that was read, or where it is damaged another copy of its chunk that needs the same or nothing.

    Raises:
        IntegrityError: There is no sound copy.
    """
    try:
        return check_frame(data, where.pack, where.entry)
    except IntegrityError:
        for other in remote.chunk_index.find_all(where.entry.chunk):
            if other.pack != where.pack and other.entry.bases in (b"", where.entry.bases):
                with suppress(IntegrityError, NotFoundError):
                    return read_frame(remote.storage, other.pack, other.entry)
        raise


def _keep(incoming: Incoming, writer: PackWriter) -> None:
    """Keep what came before something failed: the next pull need not ask for it again."""
    try:
        _commit(incoming, writer)
    except (MlverError, ValueError):
        writer.staged.abort()


def _commit(incoming: Incoming, writer: PackWriter) -> None:
    pack, entries = writer.finish()
    size_bytes = writer.staged.size_bytes
    writer.staged.commit(pack_name(pack))
    incoming.index.add_pack(pack, size_bytes, entries)


def _read(remote: OpenRemote, group: Sequence[Location]) -> memoryview:
    start = group[0].entry.offset
    end = max(where.entry.offset + where.entry.frame_length for where in group)
    try:
        return memoryview(remote.storage.read(pack_name(group[0].pack), start, end - start))
    except NotFoundError as error:
        remote.chunk_index.forget_pack(group[0].pack)
        raise PackGoneError(
            f"{remote.address.url} lost {pack_name(group[0].pack)}.",
            "Push from a machine that has what it held, then pull again.",
        ) from error
