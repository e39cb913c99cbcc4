"""Chunks → decode → verify → files in a folder of our own, flushed. Nobody sees them until they are renamed."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self

from mlver.chunks import ChunkReader
from mlver.digests import Buffer
from mlver.errors import IntegrityError
from mlver.history.manifest import ChunkRef, FileEntry
from mlver.ops.parallel import WORKERS, run_ordered
from mlver.ops.progress import Progress
from mlver.store.allocation import allocate
from mlver.store.failures import cannot_write
from mlver.store.temporary import WRITE_BYTES

_BATCH_BYTES = 1 << 20
_BATCH_FILES = 64
_GROUP_CHUNKS = 4
_FLUSH_ONE_BY_ONE = 64
"""With more files than this, one flush of everything is faster than one for each."""
_FLUSH_EVERY_BYTES = 64 << 20
_MOST_WAITING = 2 * WORKERS
"""Chunks of a file that wait to be written before those who bring more do, too."""

_Task = Callable[[], int]


def materialise(
    reader: ChunkReader, entries: Sequence[FileEntry], folders: Sequence[str], folder: Path, progress: Progress
) -> None:
    """Write files into an empty folder of our own; all of it is durable on return.

    Raises:
        IntegrityError: A chunk is missing or damaged; the file is named.
        MlverError: The disk is full, or failed.
    """
    for path in sorted({os.path.dirname(entry.path) for entry in entries} | set(folders)):
        (folder / path).mkdir(parents=True, exist_ok=True)
    one_by_one = len(entries) <= _FLUSH_ONE_BY_ONE
    progress.start(sum(entry.size_bytes for entry in entries), "Writing")
    try:
        with _Writer(reader, folder, one_by_one) as writer:
            for size_bytes in run_ordered(writer.tasks(entries)):
                progress.advance(size_bytes)
    except OSError as error:
        raise cannot_write(error, f"into {folder.parent}") from error
    finally:
        progress.done()
    if not one_by_one:
        os.sync()
    for path, _, _ in os.walk(folder):
        _sync_folder(path)


class _Writer:
    """Makes tasks out of files: a task a chunk of a large file, a task many small files."""

    def __init__(self, reader: ChunkReader, folder: Path, flush: bool) -> None:
        self._reader = reader
        self._folder = folder
        self._flush = flush
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="mlver-flush")
        self._flushes: deque[Future[None]] = deque()
        self._files: list[_LargeFile] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._flusher.shutdown(wait=True)
        for file in self._files:
            file.close()
        if kind is None:
            for flush in self._flushes:
                flush.result()

    def tasks(self, entries: Sequence[FileEntry]) -> Iterator[_Task]:
        batch: list[FileEntry] = []
        batch_bytes = 0
        for entry in entries:
            if entry.size_bytes > _BATCH_BYTES:
                yield from self._large(entry)
                continue
            batch.append(entry)
            batch_bytes += entry.size_bytes
            if batch_bytes >= _BATCH_BYTES or len(batch) >= _BATCH_FILES:
                yield partial(self._write_small, batch)
                batch, batch_bytes = [], 0
        if batch:
            yield partial(self._write_small, batch)

    def _write_small(self, batch: Sequence[FileEntry]) -> int:
        for entry in batch:
            descriptor = _create(self._folder / entry.path, entry.executable)
            try:
                offset = 0
                for raw in self._read(entry, entry.chunks):
                    _write(descriptor, raw, offset)
                    offset += len(raw)
                if self._flush:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return sum(entry.size_bytes for entry in batch)

    def _large(self, entry: FileEntry) -> Iterator[_Task]:
        file = _LargeFile(self._folder / entry.path, entry, self._flush_later)
        self._files.append(file)
        file.make_room()
        offset = 0
        for start in range(0, len(entry.chunks), _GROUP_CHUNKS):
            group = entry.chunks[start : start + _GROUP_CHUNKS]
            yield partial(self._write_chunks, file, group, offset)
            offset += sum(chunk.size_bytes for chunk in group)

    def _write_chunks(self, file: _LargeFile, chunks: Sequence[ChunkRef], offset: int) -> int:
        start = offset
        for raw in self._read(file.entry, chunks):
            file.write(raw, offset)
            offset += len(raw)
        return offset - start

    def _flush_later(self, flush: Callable[[], None]) -> None:
        self._flushes.append(self._flusher.submit(flush))

    def _read(self, entry: FileEntry, chunks: Sequence[ChunkRef]) -> Iterator[Buffer]:
        try:
            yield from self._reader.read_many([(chunk.id, chunk.size_bytes) for chunk in chunks])
        except IntegrityError as error:
            raise IntegrityError(f"{entry.path} cannot be restored: {error.message}", error.hint) from error


class _LargeFile:
    """A file that several threads write, flushed now and then so that the last flush need not wait for all of it.

    A filesystem lets one thread write to a file at a time, and others spin until they may. So one thread writes what
    all bring, while they go on decoding.

    Args:
        path: Where it is to be; there is nothing yet.
        entry: Which file it is.
        flush_later: Takes what is to be done about the disk, in its order.
    """

    def __init__(self, path: Path, entry: FileEntry, flush_later: Callable[[Callable[[], None]], None]) -> None:
        self.entry = entry
        self._flush_later = flush_later
        self.descriptor = _create(path, entry.executable)
        self._writing = threading.Lock()
        self._waiting: deque[tuple[Buffer, int]] = deque()
        self._left_bytes = entry.size_bytes
        self._unflushed_bytes = 0

    def make_room(self) -> None:
        """Have room on the disk for all of it, rather than find out at its end that there is none.

        Raises:
            OSError: There is none.
        """
        allocate(self.descriptor, 0, self.entry.size_bytes)

    def write(self, raw: Buffer, offset: int) -> None:
        """Write a chunk, unless another thread is writing: then it does."""
        self._waiting.append((raw, offset))
        # What is brought while the last one is written is seen by who brings it, or here.
        while self._waiting and self._writing.acquire(blocking=len(self._waiting) > _MOST_WAITING):
            try:
                while self._waiting:
                    raw, offset = self._waiting.popleft()
                    _write(self.descriptor, raw, offset)
                    self._left_bytes -= len(raw)
                    self._unflushed_bytes += len(raw)
                    if self._left_bytes == 0:
                        self._flush_later(self._finish)
                    elif self._unflushed_bytes >= _FLUSH_EVERY_BYTES:
                        self._unflushed_bytes = 0
                        self._flush_later(partial(os.fdatasync, self.descriptor))
            finally:
                self._writing.release()

    def close(self) -> None:
        """Close the file if it is open: one that could not be written to its end still is."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _finish(self) -> None:
        try:
            os.fsync(self.descriptor)
        finally:
            self.close()


def _create(path: Path, executable: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o777 if executable else 0o666)


def _write(descriptor: int, data: Buffer, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view[:WRITE_BYTES], offset)
        view = view[written:]
        offset += written


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
