"""Chunks to a remote: what it lacks, with the bases that it lacks, as frames that are copied and never encoded anew.

A local pack that the remote lacks altogether goes as it is, under its own name; frames of others are gathered into new
packs. Each frame is checked before it is sent. A few packs are under way at once, which bounds memory.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from mlver import codec
from mlver.digests import chunk_id
from mlver.errors import IntegrityError
from mlver.ids import ChunkId, PackId
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress
from mlver.ops.remotes.opening import OpenRemote
from mlver.store.chunk_index import Location
from mlver.store.pack import (
    PACK_TARGET_BYTES,
    Frame,
    FrameHeader,
    PackWriter,
    build_frame,
    check_frame,
    pack_name,
    read_pack_index,
    split_bases,
)
from mlver.store.remote.storage import RemoteStorage
from mlver.store.stretches import stretches

_PACKS_UNDER_WAY = 2
_SALT_BYTES = 16
_STRETCH_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Shipment:
    """What a remote lacks.

    Attributes:
        locations: Where each chunk lies here, in the order of packs and offsets.
        size_bytes: Of all frames.
    """

    locations: tuple[Location, ...]
    size_bytes: int


def plan_shipment(
    repository: OpenRepository, remote: OpenRemote, chunks: Iterable[ChunkId], again: Iterable[ChunkId] = ()
) -> Shipment:
    """Return which of the chunks, and of what they rest on, the remote lacks.

    Args:
        repository: The repository.
        remote: The remote, whose packs are known.
        chunks: What it must have.
        again: What it has and is to be sent all the same, as far as it is here.

    Raises:
        IntegrityError: A chunk is here no more, and was never there.
    """
    found = repository.chunk_index.find_many(again)
    wanted = set(chunks).union(*(split_bases(where.entry.bases) for where in found.values())) - found.keys()
    while wanted:
        wanted -= remote.chunk_index.find_many(wanted).keys()
        here = repository.chunk_index.find_many(wanted)
        if missing := wanted - here.keys():
            raise IntegrityError(
                f"Chunk {min(missing).hex()} is missing here, and {remote.name} does not have it either.",
                "mlver verify lists what it hurts.",
            )
        found |= here
        wanted = {base for where in here.values() for base in split_bases(where.entry.bases)} - found.keys()
    ordered = sorted(found.values(), key=lambda where: (where.pack, where.entry.offset))
    return Shipment(tuple(ordered), sum(where.entry.frame_length for where in ordered))


def send(
    repository: OpenRepository, remote: OpenRemote, shipment: Shipment, progress: Progress, *, renamed: bool = False
) -> None:
    """Send chunks; all of them are durable there when this returns, and known to be there.

    Args:
        repository: The repository.
        remote: The remote.
        shipment: What to send.
        progress: Told of the bytes sent.
        renamed: Give packs names that none ever had: a pack of the same content may be about to be deleted there.

    Raises:
        IntegrityError: A frame here is damaged.
        RemoteError: The remote failed; what arrived counts next time.
    """
    progress.start(shipment.size_bytes, f"Pushing to {remote.name}")
    try:
        with ThreadPoolExecutor(_PACKS_UNDER_WAY, thread_name_prefix="mlver-push") as pool:
            under_way: deque[tuple[Future[None], int]] = deque()
            for load in _loads(shipment.locations):
                size_bytes = sum(where.entry.frame_length for where in load)
                under_way.append((pool.submit(_send_load, repository, remote, load, renamed), size_bytes))
                while len(under_way) >= _PACKS_UNDER_WAY:
                    _await(under_way, progress)
            while under_way:
                _await(under_way, progress)
    finally:
        progress.done()


def _await(under_way: deque[tuple[Future[None], int]], progress: Progress) -> None:
    future, size_bytes = under_way.popleft()
    future.result()
    progress.advance(size_bytes)


def _loads(locations: Sequence[Location]) -> Iterator[list[Location]]:
    """Yield what goes into one pack each."""
    load: list[Location] = []
    load_bytes = 0
    for where in locations:
        load.append(where)
        load_bytes += where.entry.frame_length
        if load_bytes >= PACK_TARGET_BYTES:
            yield load
            load, load_bytes = [], 0
    if load:
        yield load


def _send_load(repository: OpenRepository, remote: OpenRemote, load: Sequence[Location], renamed: bool) -> None:
    """Make a pack of frames and commit it. Where they are all of a local pack, it is that very pack, byte for byte."""
    pack = load[0].pack
    if not renamed and load[-1].pack == pack and len(load) == len(repository.chunk_index.entries(pack)):
        _send_whole(repository, remote, pack)
        return
    writer = PackWriter(remote.storage.stage())
    try:
        if renamed:
            writer.append(_salt())
        for stretch in stretches(load, _STRETCH_BYTES):
            start, size_bytes = stretch[0].entry.offset, sum(where.entry.frame_length for where in stretch)
            data = memoryview(repository.storage.read(pack_name(stretch[0].pack), start, size_bytes))
            for pack, entry in stretch:
                at = entry.offset - start
                header, payload = check_frame(data[at : at + entry.frame_length], pack, entry)
                writer.append(build_frame(header, [payload]))
        identity, entries_there = writer.finish()
    except BaseException:
        writer.staged.abort()
        raise
    size_bytes = writer.staged.size_bytes
    writer.staged.commit(pack_name(identity))
    _check_arrival(remote, identity, size_bytes)
    remote.chunk_index.add_pack(identity, size_bytes, entries_there)


def _salt() -> Frame:
    """Return a frame that no pack has: a pack's name depends on its frames."""
    raw = os.urandom(_SALT_BYTES)
    return build_frame(FrameHeader(chunk_id(raw), len(raw), codec.RAW, b""), [raw])


def _send_whole(repository: OpenRepository, remote: OpenRemote, pack: PackId) -> None:
    """Send a local pack as it is, which saves making it anew; every byte of it is checked."""
    name = pack_name(pack)
    entries = read_pack_index(repository.storage, name)
    data = repository.storage.read(name)
    view = memoryview(data)
    for entry in entries:
        check_frame(view[entry.offset : entry.offset + entry.frame_length], pack, entry)
    staged = remote.storage.stage()
    staged.write(data)
    staged.commit(name)
    _check_arrival(remote, pack, len(data))
    remote.chunk_index.add_pack(pack, len(data), entries)


def _check_arrival(remote: OpenRemote, pack: PackId, size_bytes: int) -> None:
    """Ask for the size of what was sent, so that a remote that loses or cuts objects is noticed in time."""
    if isinstance(remote.storage, RemoteStorage) and remote.storage.size(pack_name(pack)) != size_bytes:
        raise IntegrityError(f"{remote.address.url} did not keep {pack_name(pack)} as it was sent.")
