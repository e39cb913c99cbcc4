"""Files → spans → chunks → identity → known already? → encode → pack: the way of the bytes into the store.

Worker threads read, identify and encode; this thread appends in order. Large files are read chunk by chunk into
reused buffers, small ones whole and many to a task. A file is stamped before and after it is read: one that changed
meanwhile is read once more, and refused if it changed again. Bytes already stored of a refused file harm nobody.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

from mlver.chunks import Piece, PreparedChunk
from mlver.errors import ConflictError
from mlver.formats import TENSOR_CHUNK_BYTES, ByteSource, ChunkSpan, Layout, Region, cut_bytes, cut_tensor, plan
from mlver.history.manifest import ChunkRef
from mlver.ops.entries import IngestedFile, describe
from mlver.ops.parallel import run_ordered
from mlver.ops.progress import Progress
from mlver.ops.scan import Source
from mlver.ops.source_file import (
    ChangedError,
    OpenFile,
    Reading,
    WholeFile,
    check_unchanged,
    open_source,
    read_whole,
    start_reading,
    unreadable,
)
from mlver.ops.twins import Twin

_SMALL_FILE_BYTES = 256 << 10
_BATCH_BYTES = 1 << 20
_BATCH_FILES = 64
_WINDOW_BYTES = 4 << 20
_GROUP_BYTES = 4 * TENSOR_CHUNK_BYTES
"""Chunks that are one task: one read, one look-up, fewer hand-overs between threads."""
_UNCUT_BYTES = 64 << 10
"""Plain bytes up to here are one chunk anyway, so the cutter is not asked."""


_Work = Callable[[], list[PreparedChunk]]
"""Done in a worker thread."""
_Done = Callable[[list[PreparedChunk]], None]
"""Done in order, after the chunks were appended."""
_Task = tuple[_Work, _Done]


class Writer(Protocol):
    """Takes chunks: `prepare` in any thread, `append` in order in one. A `ChunkWriter` stores them."""

    def prepare(self, pieces: Sequence[Piece]) -> list[PreparedChunk]:
        """Identify chunks, and encode those that are new."""

    def append(self, chunk: PreparedChunk) -> None:
        """Take one."""


class Bases(Protocol):
    """Finds what tensors may resemble, in any thread. A `BaseFinder` looks among stored versions."""

    def twins(self, path: str, layout: Layout, source: ByteSource) -> Sequence[Twin | None]:
        """Return the twin of each tensor of a file; none at all if nothing was looked for."""


def ingest(writer: Writer, sources: Sequence[Source], bases: Bases, progress: Progress) -> dict[str, IngestedFile]:
    """Put files into the store, their tensors against what they resemble; return what is known of each, by path.

    Raises:
        ConflictError: A file changed twice while it was read.
        MlverError: A file cannot be read, or the store cannot be written.
    """
    pipeline = _Pipeline(writer, bases, progress)
    pipeline.run(sources)
    if pipeline.changed:
        again, pipeline.changed = pipeline.changed, []
        pipeline.run(again, whole=False)  # a small file may be a large one by now
    if pipeline.changed:
        raise ConflictError(
            f"{pipeline.changed[0].location} changes while it is read.",
            "Add it when its writer is done.",
        )
    return pipeline.found


class _Pipeline:
    def __init__(self, writer: Writer, bases: Bases, progress: Progress) -> None:
        self.found: dict[str, IngestedFile] = {}
        self.changed: list[Source] = []
        self._writer = writer
        self._bases = bases
        self._progress = progress
        self._buffers: list[bytearray] = []
        self._open: set[int] = set()

    def run(self, sources: Sequence[Source], whole: bool = True) -> None:
        """Read `sources`, small ones `whole`; those that changed meanwhile are in `changed` afterwards."""
        try:
            for chunks, done in run_ordered(partial(_carry_out, *task) for task in self._tasks(sources, whole)):
                for chunk in chunks:
                    self._writer.append(chunk)
                self._progress.advance(sum(chunk.size_bytes for chunk in chunks))
                done(chunks)
        finally:
            while self._open:
                os.close(self._open.pop())

    def _tasks(self, sources: Sequence[Source], whole: bool) -> Iterator[_Task]:
        batch: list[Source] = []
        batch_bytes = 0
        for source in sources:
            if not whole or source.stamp.size_bytes > _SMALL_FILE_BYTES:
                yield from self._large(source)
                continue
            batch.append(source)
            batch_bytes += source.stamp.size_bytes
            if batch_bytes >= _BATCH_BYTES or len(batch) >= _BATCH_FILES:
                yield self._small(batch)
                batch, batch_bytes = [], 0
        if batch:
            yield self._small(batch)

    # Small files: a task reads many of them whole

    def _small(self, batch: list[Source]) -> _Task:
        readings: list[tuple[Reading, int]] = []

        def work() -> list[PreparedChunk]:
            pieces: list[Piece] = []
            for source in batch:
                try:
                    reading, content = read_whole(source, _SMALL_FILE_BYTES)
                except ChangedError:
                    self.changed.append(source)
                    continue
                if reading.layout is not None:
                    reading.twins = self._bases.twins(source.path, reading.layout, WholeFile(content))
                cut = _cut_whole(reading, content)
                readings.append((reading, len(cut)))
                pieces += cut
            return self._writer.prepare(pieces)

        def done(chunks: list[PreparedChunk]) -> None:
            start = 0
            for reading, count in readings:
                reading.chunks = [ChunkRef(chunk.id, chunk.size_bytes) for chunk in chunks[start : start + count]]
                start += count
                self.found[reading.source.path] = describe(reading)

        return work, done

    # Large files: a task a few chunks

    def _large(self, source: Source) -> Iterator[_Task]:
        descriptor = open_source(source)
        self._open.add(descriptor)
        try:
            reading = start_reading(source, descriptor)
            if reading.layout is not None:
                file = OpenFile(descriptor, reading.stamp.size_bytes)
                reading.twins = self._bases.twins(source.path, reading.layout, file)
            for group in _groups(reading.layout, reading.stamp.size_bytes):
                if isinstance(group, Region):
                    yield from self._byte_region(reading, descriptor, group)
                else:
                    yield self._tensor_chunks(reading, descriptor, group)
        except ChangedError:
            self.changed.append(source)
            return  # chunks of it may still be under way: `run` closes the descriptor
        yield self._end(reading, descriptor)

    def _tensor_chunks(self, reading: Reading, descriptor: int, spans: list[ChunkSpan]) -> _Task:
        """Return a task for chunks that lie back to back."""
        start, end = spans[0].offset, spans[-1].offset + spans[-1].size_bytes
        used: list[bytearray] = []

        def work() -> list[PreparedChunk]:
            used.append(self._buffer())
            view = memoryview(used[0])
            # A short read leaves old bytes in the buffer; the stamp at the end tells, and the file is read again.
            try:
                os.preadv(descriptor, [view[: end - start]], start)
            except OSError as error:
                raise unreadable(reading.source, error) from error
            stretches = (view[span.offset - start : span.offset - start + span.size_bytes] for span in spans)
            return self._writer.prepare(
                [_piece(raw, span, reading) for raw, span in zip(stretches, spans, strict=True)]
            )

        def done(chunks: list[PreparedChunk]) -> None:
            self._buffers += used
            for chunk, span in zip(chunks, spans, strict=True):
                if chunk.base_was_tried:
                    reading.learn(span, chunk.base_helped)
            reading.chunks += [ChunkRef(chunk.id, chunk.size_bytes) for chunk in chunks]

        return work, done

    def _byte_region(self, reading: Reading, descriptor: int, region: Region) -> Iterator[_Task]:
        offset, end = region.offset, region.offset + region.size_bytes
        kept = b""
        while offset < end:
            try:
                fresh = os.pread(descriptor, min(_WINDOW_BYTES, end - offset), offset)
            except OSError as error:
                raise unreadable(reading.source, error) from error
            if not fresh:
                raise ChangedError
            offset += len(fresh)
            window = kept + fresh
            pieces = _pieces(memoryview(window), final=offset == end)
            yield self._byte_chunks(reading, pieces)
            kept = window[sum(map(len, pieces)) :]

    def _byte_chunks(self, reading: Reading, pieces: list[memoryview]) -> _Task:
        def work() -> list[PreparedChunk]:
            return self._writer.prepare([Piece(piece) for piece in pieces])

        def done(chunks: list[PreparedChunk]) -> None:
            reading.chunks += [ChunkRef(chunk.id, chunk.size_bytes) for chunk in chunks]

        return work, done

    def _end(self, reading: Reading, descriptor: int) -> _Task:
        def work() -> list[PreparedChunk]:
            return []

        def done(_chunks: list[PreparedChunk]) -> None:
            try:
                check_unchanged(reading.source, reading.stamp, descriptor)
                self.found[reading.source.path] = describe(reading)
            except ChangedError:
                self.changed.append(reading.source)
            self._open.discard(descriptor)
            os.close(descriptor)

        return work, done

    def _buffer(self) -> bytearray:
        """Return a buffer that no chunk under way aliases: the one used last, which the processor still has at hand."""
        try:
            return self._buffers.pop()
        except IndexError:
            return bytearray(_GROUP_BYTES)


def _groups(layout: Layout | None, size_bytes: int) -> Iterator[Region | list[ChunkSpan]]:
    """Yield a file's regions of plain bytes, and its tensors' chunks in groups that lie back to back."""
    group: list[ChunkSpan] = []
    start = 0
    for region in plan(layout, size_bytes):
        if region.tensor is None or layout is None:
            if group:
                yield group
            group = []
            yield region
            continue
        for span in cut_tensor(layout.tensors[region.tensor], region.tensor):
            start = group[0].offset if group else span.offset
            if span.offset + span.size_bytes - start > _GROUP_BYTES:
                yield group
                group = []
            group.append(span)
    if group:
        yield group


def _cut_whole(reading: Reading, content: bytes) -> list[Piece]:
    """Return the chunks of a whole file, each with its element type and what it may resemble."""
    view, layout = memoryview(content), reading.layout
    chunks: list[Piece] = []
    for region in plan(layout, len(content)):
        if region.tensor is not None and layout is not None:
            spans = cut_tensor(layout.tensors[region.tensor], region.tensor)
            chunks += [_piece(view[span.offset : span.offset + span.size_bytes], span, reading) for span in spans]
        else:
            pieces = _pieces(view[region.offset : region.offset + region.size_bytes], final=True)
            chunks += [Piece(piece) for piece in pieces]
    return chunks


def _piece(raw: memoryview, span: ChunkSpan, reading: Reading) -> Piece:
    return Piece(raw, span.dtype, reading.base(span), span.rows, reading.guide(span))


def _pieces(window: memoryview, final: bool) -> list[memoryview]:
    """Cut plain bytes by content; unless they are the final ones, what is after the last cut is left over."""
    if final and len(window) <= _UNCUT_BYTES:
        return [window] if len(window) else []
    pieces = []
    start = 0
    for length in cut_bytes(window, final):
        pieces.append(window[start : start + length])
        start += length
    return pieces


def _carry_out(work: _Work, done: _Done) -> tuple[list[PreparedChunk], _Done]:
    return work(), done
