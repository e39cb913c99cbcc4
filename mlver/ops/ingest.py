"""Files → spans → chunks → identity → known already? → encode → pack: the way of the bytes into the store.

Worker threads read, identify and encode; this thread appends in order. Large files are read chunk by chunk into
reused buffers, small ones whole and many to a task. A file is stamped before and after it is read: one that changed
meanwhile is read once more, and refused if it changed again. Bytes already stored of a refused file harm nobody.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from mlver.chunks import ChunkWriter, PreparedChunk
from mlver.digests import Buffer
from mlver.errors import ConflictError
from mlver.formats import (
    TENSOR_CHUNK_BYTES,
    ChunkSpan,
    Layout,
    cut_bytes,
    cut_tensor,
    plan,
)
from mlver.history.manifest import ChunkRef
from mlver.ops.entries import IngestedFile, describe
from mlver.ops.parallel import run_ordered
from mlver.ops.progress import Progress
from mlver.ops.scan import Source
from mlver.ops.source_file import (
    ChangedError,
    Reading,
    check_unchanged,
    open_source,
    read_whole,
    start_reading,
    unreadable,
)

_SMALL_FILE_BYTES = 256 << 10
_BATCH_BYTES = 1 << 20
_BATCH_FILES = 64
_WINDOW_BYTES = 8 << 20
_UNCUT_BYTES = 64 << 10
"""Plain bytes up to here are one chunk anyway, so the cutter is not asked."""


_Work = Callable[[], list[PreparedChunk]]
"""Done in a worker thread."""
_Done = Callable[[list[PreparedChunk]], None]
"""Done in order, after the chunks were appended."""
_Task = tuple[_Work, _Done]


def ingest(writer: ChunkWriter, sources: Sequence[Source], progress: Progress) -> dict[str, IngestedFile]:
    """Put files into the store and return what is known of each, by path.

    Raises:
        ConflictError: A file changed twice while it was read.
        MlverError: A file cannot be read, or the store cannot be written.
    """
    pipeline = _Pipeline(writer, progress)
    pipeline.run(sources)
    if pipeline.changed:
        again, pipeline.changed = pipeline.changed, []
        pipeline.run(again)
    if pipeline.changed:
        raise ConflictError(
            f"{pipeline.changed[0].location} changes while it is read.",
            "Add it when its writer is done.",
        )
    return pipeline.found


class _Pipeline:
    def __init__(self, writer: ChunkWriter, progress: Progress) -> None:
        self.found: dict[str, IngestedFile] = {}
        self.changed: list[Source] = []
        self._writer = writer
        self._progress = progress
        self._buffers: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self._open: set[int] = set()

    def run(self, sources: Sequence[Source]) -> None:
        """Read `sources`; those that changed meanwhile are in `changed` afterwards."""
        try:
            for chunks, done in run_ordered(partial(_carry_out, *task) for task in self._tasks(sources)):
                for chunk in chunks:
                    self._writer.append(chunk)
                self._progress.advance(sum(chunk.size_bytes for chunk in chunks))
                done(chunks)
        finally:
            while self._open:
                os.close(self._open.pop())

    def _tasks(self, sources: Sequence[Source]) -> Iterator[_Task]:
        batch: list[Source] = []
        batch_bytes = 0
        for source in sources:
            if source.stamp.size_bytes > _SMALL_FILE_BYTES:
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
            pieces: list[tuple[Buffer, str | None]] = []
            for source in batch:
                try:
                    reading, content = read_whole(source, _SMALL_FILE_BYTES)
                except ChangedError:
                    self.changed.append(source)
                    continue
                cut = _cut_whole(reading.layout, content)
                readings.append((reading, len(cut)))
                pieces += cut
            return self._writer.prepare_many(pieces)

        def done(chunks: list[PreparedChunk]) -> None:
            start = 0
            for reading, count in readings:
                reading.chunks = [ChunkRef(chunk.id, chunk.size_bytes) for chunk in chunks[start : start + count]]
                start += count
                self.found[reading.source.path] = describe(reading)

        return work, done

    # Large files: a task a chunk

    def _large(self, source: Source) -> Iterator[_Task]:
        descriptor = open_source(source)
        self._open.add(descriptor)
        try:
            reading = start_reading(source, descriptor)
            size_bytes = reading.stamp.size_bytes
            regions = plan(reading.layout, size_bytes)
            for region in regions:
                if region.tensor is None:
                    yield from self._byte_region(reading, descriptor, region.offset, region.size_bytes)
                else:
                    assert reading.layout is not None
                    for span in cut_tensor(reading.layout.tensors[region.tensor]):
                        yield self._tensor_chunk(reading, descriptor, span)
        except ChangedError:
            self.changed.append(source)
            return  # chunks of it may still be under way: `run` closes the descriptor
        yield self._end(reading, descriptor)

    def _tensor_chunk(self, reading: Reading, descriptor: int, span: ChunkSpan) -> _Task:
        buffer = self._buffer()

        def work() -> list[PreparedChunk]:
            view = memoryview(buffer)[: span.size_bytes]
            # A short read leaves old bytes in the buffer; the stamp at the end tells, and the file is read again.
            try:
                os.preadv(descriptor, [view], span.offset)
            except OSError as error:
                raise unreadable(reading.source, error) from error
            return [self._writer.prepare(view, span.dtype)]

        def done(chunks: list[PreparedChunk]) -> None:
            self._buffers.put(buffer)
            reading.chunks += [ChunkRef(chunk.id, chunk.size_bytes) for chunk in chunks]

        return work, done

    def _byte_region(self, reading: Reading, descriptor: int, offset: int, size_bytes: int) -> Iterator[_Task]:
        end = offset + size_bytes
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
            start = 0
            for length in _cut(window, final=offset == end):
                yield self._byte_chunk(reading, memoryview(window)[start : start + length])
                start += length
            kept = window[start:]

    def _byte_chunk(self, reading: Reading, raw: memoryview) -> _Task:
        def work() -> list[PreparedChunk]:
            return [self._writer.prepare(raw, None)]

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
        """Return a buffer that no chunk under way aliases; there are never more than chunks under way."""
        try:
            return self._buffers.get_nowait()
        except queue.Empty:
            return bytearray(TENSOR_CHUNK_BYTES)


def _cut_whole(layout: Layout | None, content: bytes) -> list[tuple[Buffer, str | None]]:
    view = memoryview(content)
    pieces: list[tuple[Buffer, str | None]] = []
    for region in plan(layout, len(content)):
        if region.tensor is not None and layout is not None:
            spans = cut_tensor(layout.tensors[region.tensor])
            pieces += [(view[span.offset : span.offset + span.size_bytes], span.dtype) for span in spans]
            continue
        start = region.offset
        for length in _cut(view[start : start + region.size_bytes], final=True):
            pieces.append((view[start : start + length], None))
            start += length
    return pieces


def _cut(window: Buffer, final: bool) -> list[int]:
    if final and len(window) <= _UNCUT_BYTES:
        return [len(window)] if len(window) else []
    return cut_bytes(window, final)


def _carry_out(work: _Work, done: _Done) -> tuple[list[PreparedChunk], _Done]:
    return work(), done
