"""A folder on disk as a side: its manifest is computed, its bytes are read where they are, and nothing is stored."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mlver.chunks import Piece, PreparedChunk
from mlver.digests import Buffer, chunk_id
from mlver.errors import ConflictError, MlverError
from mlver.formats import ByteSource, Layout
from mlver.history.manifest import Manifest, build_manifest
from mlver.ids import ChunkId
from mlver.ops.content import find_untouched
from mlver.ops.ingest import ingest
from mlver.ops.linking import check_linked, link
from mlver.ops.opening import OpenRepository
from mlver.ops.origins import read_origin
from mlver.ops.progress import Progress
from mlver.ops.scan import scan


def read_folder(repository: OpenRepository, place: Path, progress: Progress) -> tuple[Manifest, DiskChunks]:
    """Return what a version made from a folder or file would hold, and where its chunks are.

    What was left out when the folder was added is left out again.

    Raises:
        NotFoundError: It does not exist.
        ConflictError: A file changes while it is read.
        MlverError: Something in it cannot be read or kept.
    """
    origin = read_origin(repository, place)
    found = scan([place], origin.exclude if origin else ())
    sources = link(found.sources)
    untouched = find_untouched(repository, sources)
    touched = [source for source in sources if source.path not in untouched]
    progress.start(sum(source.stamp.size_bytes for source in touched), f"Reading {place}")
    try:
        read = ingest(_Identifier(), touched, _NoBases(), progress)
        check_linked(touched, read)
    finally:
        progress.done()
    described = [(file.entry, file.tensors) for file in read.values()] + list(untouched.values())
    manifest = build_manifest(described, found.folders)
    return manifest, DiskChunks({source.path: source.location for source in sources}, manifest)


class _Identifier:
    """Takes the place of a `ChunkWriter` and keeps nothing but identities."""

    def prepare(self, pieces: Sequence[Piece]) -> list[PreparedChunk]:
        """Identify chunks."""
        return [PreparedChunk(chunk_id(piece.raw), len(piece.raw), None) for piece in pieces]

    def append(self, chunk: PreparedChunk) -> None:
        """Do nothing."""


class _NoBases:
    """Takes the place of a `BaseFinder`: what is not stored needs no base."""

    def twins(self, path: str, layout: Layout, source: ByteSource) -> tuple[()]:  # noqa: ARG002
        """Return none."""
        return ()


class DiskChunks:
    """Chunks of files on disk. Safe in any thread.

    Args:
        locations: Where each file is, by its path in the manifest.
        manifest: Which chunks they have.
    """

    def __init__(self, locations: Mapping[str, str], manifest: Manifest) -> None:
        self._places: dict[ChunkId, tuple[str, int]] = {}
        for file in manifest.files:
            offset = 0
            for chunk in file.chunks:
                self._places[chunk.id] = (locations[file.path], offset)
                offset += chunk.size_bytes

    def read(self, chunk: ChunkId, size_bytes: int) -> Buffer:
        """Return the raw bytes of a chunk; errors are those of `read_many`."""
        return next(self.read_many([(chunk, size_bytes)]))

    def read_many(self, chunks: Sequence[tuple[ChunkId, int]]) -> Iterator[Buffer]:
        """Yield the raw bytes of chunks, given by id and size in bytes.

        Raises:
            ConflictError: A file changed since it was read first.
            MlverError: A file cannot be read.
        """
        for chunk, size_bytes in chunks:
            location, offset = self._places[chunk]
            try:
                descriptor = os.open(location, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    raw = os.pread(descriptor, size_bytes, offset)
                finally:
                    os.close(descriptor)
            except OSError as error:
                raise MlverError(f"{location} cannot be read: {os.strerror(error.errno or 0)}.") from error
            if chunk_id(raw) != chunk:
                raise ConflictError(f"{location} changes while it is read.", "Compare it when its writer is done.")
            yield raw
