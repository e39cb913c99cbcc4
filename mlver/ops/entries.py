"""What a file that was read becomes in the manifest: its entry, its tensors, and what counts as its weights."""

from __future__ import annotations

from dataclasses import dataclass

from mlver.digests import file_digest, tensor_digest, view_digest
from mlver.formats import TENSOR_CHUNK_BYTES, Layout, Tensor, looks_like_weights
from mlver.history.manifest import OPAQUE, ChunkRef, FileEntry, TensorEntry
from mlver.ids import TensorDigest
from mlver.ops.scan import Source
from mlver.ops.source_file import Reading
from mlver.ops.stat_cache import Stamp


@dataclass(frozen=True, slots=True)
class IngestedFile:
    """A file that is in the store.

    Attributes:
        source: What was read.
        stamp: What the filesystem said of it while it was read.
        read_at_ns: Unix time at which reading it began.
        entry: Its place in the manifest.
        tensors: Its tensors; their `file` is set when the manifest is built.
        problem: Why no tensors were found in what looks like a weight file.
    """

    source: Source
    stamp: Stamp
    read_at_ns: int
    entry: FileEntry
    tensors: tuple[TensorEntry, ...]
    problem: str | None


def describe(reading: Reading) -> IngestedFile:
    """Return the description of a file that was read to its end, unchanged."""
    layout, source = reading.layout, reading.source
    digest = file_digest(reading.stamp.size_bytes, (chunk.id for chunk in reading.chunks))
    tensors = _tensors(layout, reading.chunks) if layout else []
    entry = FileEntry(
        path=source.path,
        size_bytes=reading.stamp.size_bytes,
        digest=digest,
        chunks=tuple(reading.chunks),
        executable=reading.stamp.executable,
        format=_format(reading),
        unsafe_globals=layout.unsafe_globals if layout else (),
    )
    problem = reading.problem if entry.format == OPAQUE else None
    return IngestedFile(source, reading.stamp, reading.read_at_ns, entry, tuple(tensors), problem)


def _format(reading: Reading) -> str | None:
    layout = reading.layout
    if layout is not None:
        # Values that are no tensors are weights too: such a file counts as a whole, besides its tensors.
        return layout.format if layout.is_complete else OPAQUE
    return OPAQUE if looks_like_weights(reading.head, reading.source.path) else None


def _tensors(layout: Layout, chunks: list[ChunkRef]) -> list[TensorEntry]:
    """Return a file's tensors and the views inside them."""
    owners = _digests(layout, chunks)
    found = [
        TensorEntry(
            tensor.name,
            tensor.dtype,
            tensor.shape,
            digest,
            0,
            tensor.offset,
            tensor.size_bytes,
            tensor.order,
            tensor.anonymous,
        )
        for tensor, digest in zip(layout.tensors, owners, strict=True)
    ]
    for view in layout.views:
        owner = layout.tensors[view.owner]
        digest = owners[view.owner]
        if (view.dtype, view.shape, view.order, view.offset) != (
            owner.dtype,
            owner.shape,
            owner.order,
            0,
        ):
            digest = view_digest(view.dtype, view.shape, view.order, digest, view.offset)
        offset = owner.offset + view.offset
        found.append(
            TensorEntry(
                view.name,
                view.dtype,
                view.shape,
                digest,
                0,
                offset,
                view.size_bytes,
                view.order,
            )
        )
    return found


def _digests(layout: Layout, chunks: list[ChunkRef]) -> list[TensorDigest]:
    """Return the digest of each tensor of `layout`, whose chunks are among those of the file."""
    starts: dict[int, int] = {}
    offset = 0
    for number, chunk in enumerate(chunks):
        starts[offset] = number
        offset += chunk.size_bytes
    return [_digest(tensor, chunks, starts.get(tensor.offset, 0)) for tensor in layout.tensors]


def _digest(tensor: Tensor, chunks: list[ChunkRef], first: int) -> TensorDigest:
    count = -(-tensor.size_bytes // TENSOR_CHUNK_BYTES)
    ids = (chunk.id for chunk in chunks[first : first + count])
    return tensor_digest(tensor.dtype, tensor.shape, ids, tensor.order)
