"""Chunks that cannot be read: **folders that hold the files, remotes → checked → new packs**.

A chunk is found in a folder by its id: at the place where a file of the same size has it, whatever the file is called
now, or else by cutting all files there as `add` does. From a remote it comes as the frame that it is there, with what
that rests on as far as it is not sound here.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlver.chunks import ChunkReader, ChunkWriter, Piece
from mlver.digests import Buffer, chunk_id
from mlver.errors import IntegrityError, MlverError, NotFoundError
from mlver.history.manifest import FileEntry, Manifest
from mlver.ids import ChunkId, ManifestId
from mlver.ops.remotes.opening import OpenRemote
from mlver.ops.remotes.pack_listing import learn_packs, read_hint, refresh_packs
from mlver.ops.remotes.receiving import receive
from mlver.ops.repair.sources import Sources
from mlver.store.chunk_index import Location
from mlver.store.pack import split_bases


@dataclass(frozen=True, slots=True)
class Wanted:
    """A chunk that is sought.

    Attributes:
        size_bytes: Of its raw bytes.
        dtype: Of its elements, if it is a tensor's.
        places: Sizes of files in bytes, each with an offset at which such a file has the chunk.
        users: The manifests that have it.
    """

    size_bytes: int
    dtype: str | None
    places: frozenset[tuple[int, int]]
    users: frozenset[ManifestId]


def wanted_of(manifests: Iterable[tuple[ManifestId, Manifest]], chunks: Collection[ChunkId]) -> dict[ChunkId, Wanted]:
    """Return what manifests know of some chunks."""
    found: dict[ChunkId, Wanted] = {}
    for identity, manifest in manifests:
        for number, file in enumerate(manifest.files):
            for chunk, size_bytes, offset in _used(file, chunks):
                before = found.get(chunk)
                dtype = _dtype_at(manifest, number, offset) if before is None else before.dtype
                places = {(file.size_bytes, offset), *(before.places if before else ())}
                users = {identity, *(before.users if before else ())}
                found[chunk] = Wanted(size_bytes, dtype, frozenset(places), frozenset(users))
    return found


def _used(file: FileEntry, chunks: Collection[ChunkId]) -> Iterator[tuple[ChunkId, int, int]]:
    """Yield which of some chunks a file has: id, size and offset in bytes."""
    offset = 0
    for chunk in file.chunks:
        if chunk.id in chunks:
            yield chunk.id, chunk.size_bytes, offset
        offset += chunk.size_bytes


def _dtype_at(manifest: Manifest, number: int, offset: int) -> str | None:
    tensors = (t for t in manifest.tensors if t.file == number and t.offset <= offset < t.offset + t.size_bytes)
    return next((tensor.dtype for tensor in tensors), None)


def recover(sources: Sources, wanted: Mapping[ChunkId, Wanted]) -> dict[str, int]:
    """Store sought chunks anew; return how many came from each folder and remote.

    Raises:
        MlverError: Something here cannot be read or written.
    """
    left = dict(wanted)
    counts: dict[str, int] = {}
    for folder in sources.folders:
        before = len(left)
        _from_folder(sources, folder, left)
        counts[os.fspath(folder)] = before - len(left)
    for remote, found in sources.ask_each(lambda remote: _from_remote(sources, remote, left)):
        counts[remote.name] = len(found)
    return {name: count for name, count in counts.items() if count}


# From a folder


def _from_folder(sources: Sources, folder: Path, left: dict[ChunkId, Wanted]) -> None:
    """Take chunks out of `left` that a folder has, and store them."""
    repository = sources.repository
    with ChunkWriter(repository.storage, repository.chunk_index, lost=frozenset(left)) as writer:

        def store(chunk: ChunkId, raw: Buffer) -> None:
            for prepared in writer.prepare([Piece(raw, left.pop(chunk).dtype)]):
                writer.append(prepared)

        for location, size_bytes in _files(folder):
            for chunk, offset in _expected(left, size_bytes):
                there = _read(location, offset, left[chunk].size_bytes) if chunk in left else None
                if there is not None and chunk_id(there) == chunk:
                    store(chunk, there)
        if left and (cut := sources.read(folder)) is not None:
            manifest, disk = cut
            cut_alike = {chunk.id for file in manifest.files for chunk in file.chunks} & left.keys()
            for chunk in sorted(cut_alike):
                try:
                    raw = disk.read(chunk, left[chunk].size_bytes)
                except MlverError as error:
                    sources.told[error.message] = None
                else:
                    store(chunk, raw)
        writer.finish()


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield all files below a folder, or the one file it is, with their sizes in bytes; links are not followed."""
    if folder.is_file():
        yield os.fspath(folder), folder.stat().st_size
        return
    for above, _, names in os.walk(folder):
        for name in names:
            location = os.path.join(above, name)
            try:
                yield location, os.stat(location).st_size
            except OSError:
                continue  # gone, or a link to nothing


def _expected(left: Mapping[ChunkId, Wanted], size_bytes: int) -> list[tuple[ChunkId, int]]:
    """Return the chunks that a file of a size may have, with their offsets."""
    return [(chunk, offset) for chunk, sought in left.items() for size, offset in sought.places if size == size_bytes]


def _read(location: str, offset: int, size_bytes: int) -> bytes | None:
    try:
        descriptor = os.open(location, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return os.pread(descriptor, size_bytes, offset)
    except OSError:
        return None
    finally:
        os.close(descriptor)


# From a remote


def _from_remote(sources: Sources, remote: OpenRemote, left: dict[ChunkId, Wanted]) -> list[ChunkId]:
    """Take chunks out of `left` that a remote has, and store them; return them.

    Raises:
        RemoteError: The remote failed; what came before counts.
    """
    if not left:
        return []
    if remote.is_read_only:
        hints = {pack for user in set().union(*(w.users for w in left.values())) for pack in read_hint(remote, user)}
        learn_packs(remote, sorted(hints - remote.chunk_index.packs().keys()))
    else:
        refresh_packs(remote)
    reader = ChunkReader(sources.repository.storage, sources.repository.chunk_index)
    needed = {chunk: _closure(remote, reader, chunk) for chunk in left}
    there = {chunk: places for chunk, places in needed.items() if places}
    every = {place: location for places in there.values() for place, location in places.items()}
    try:
        if every:
            receive(sources.repository, remote, every, sources.progress)
    except IntegrityError:
        for places in there.values():
            _receive_alone(sources, remote, places)
    found = [chunk for chunk in there if _is_readable(reader, chunk)]
    for chunk in found:
        del left[chunk]
    return found


def _receive_alone(sources: Sources, remote: OpenRemote, places: dict[ChunkId, Location]) -> None:
    """Get one chunk with what it rests on, unless that is damaged there."""
    try:
        receive(sources.repository, remote, places, sources.progress)
    except IntegrityError as error:
        sources.told[error.message] = None


def _closure(remote: OpenRemote, reader: ChunkReader, chunk: ChunkId) -> dict[ChunkId, Location]:
    """Return where a chunk is at a remote, with what it rests on that is not sound here; nothing unless all is."""
    found: dict[ChunkId, Location] = {}
    wanted = {chunk}
    while wanted:
        there = remote.chunk_index.find_many(wanted)
        if len(there) < len(wanted):
            return {}
        found |= there
        bases = {base for where in there.values() for base in split_bases(where.entry.bases)} - found.keys()
        wanted = {base for base in bases if not _is_readable(reader, base)}
    return found


def _is_readable(reader: ChunkReader, chunk: ChunkId) -> bool:
    try:
        reader.decode(chunk)
    except (IntegrityError, NotFoundError):
        return False
    return True
