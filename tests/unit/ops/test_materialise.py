"""Large files, written by several threads at once."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlver.history.manifest import ChunkRef, FileEntry
from mlver.ids import ChunkId, FileDigest
from mlver.ops import materialise
from mlver.ops.materialise import _LargeFile
from tests.support.small_disk import on_small_disk

CHUNK = 1000
COUNT = 400


def large_file(path: Path, flushes: list[Callable[[], None]] | None = None) -> _LargeFile:
    chunks = tuple(ChunkRef(ChunkId(bytes(32)), CHUNK) for _ in range(COUNT))
    entry = FileEntry(path.name, CHUNK * COUNT, FileDigest("0" * 64), chunks)
    return _LargeFile(path, entry, ([] if flushes is None else flushes).append)


def content(number: int) -> bytes:
    return random.Random(number).randbytes(CHUNK)


def test_what_many_threads_bring_is_all_written_and_flushed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(materialise, "_FLUSH_EVERY_BYTES", 50 * CHUNK)
    flushes: list[Callable[[], None]] = []
    file = large_file(tmp_path / "file", flushes)
    at_once = threading.Barrier(8)

    def bring(numbers: list[int]) -> None:
        at_once.wait()
        for number in numbers:
            file.write(content(number), number * CHUNK)

    numbers = list(range(COUNT))
    random.Random(0).shuffle(numbers)
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(bring, numbers[first::8]) for first in range(8)]:
            done.result()
    assert (tmp_path / "file").read_bytes() == b"".join(map(content, range(COUNT)))
    assert len(flushes) == COUNT // 50
    assert flushes.count(file._finish) == 1
    assert flushes[-1] == file._finish
    for flush in flushes:
        flush()
    assert file.descriptor == -1


def test_who_brings_a_chunk_goes_on_while_another_thread_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = large_file(tmp_path / "file")
    is_writing, may_go_on = threading.Event(), threading.Event()
    write = os.pwrite

    def slow(descriptor: int, data: bytes, offset: int) -> int:
        is_writing.set()
        assert may_go_on.wait(30)
        return write(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(file.write, content(0), 0)
        assert is_writing.wait(30)
        for number in range(1, materialise._MOST_WAITING + 1):
            file.write(content(number), number * CHUNK)
        # There is an end to what waits: who brings more waits, too.
        last = pool.submit(file.write, content(99), 99 * CHUNK)
        with pytest.raises(TimeoutError):
            last.result(0.2)
        may_go_on.set()
        first.result()
        last.result()
    written = (tmp_path / "file").read_bytes()
    for number in (*range(materialise._MOST_WAITING + 1), 99):
        assert written[number * CHUNK : (number + 1) * CHUNK] == content(number)
    file.close()


def test_what_is_brought_just_before_the_writer_stops_is_written(tmp_path: Path) -> None:
    file = large_file(tmp_path / "file")
    lock = threading.Lock()

    class Late:
        """A lock before whose release another thread, which could not get it, has brought a chunk."""

        acquire = lock.acquire
        late = True

        def release(self) -> None:
            if self.late:
                self.late = False
                file._waiting.append((content(1), CHUNK))
            lock.release()

    file._writing = Late()  # type: ignore[assignment]
    file.write(content(0), 0)
    assert (tmp_path / "file").read_bytes() == content(0) + content(1)
    file.close()


def test_thread_that_cannot_write_what_others_bring_fails_and_lets_them_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = large_file(tmp_path / "file")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space"):
            file.write(content(0), 0)
    file.write(content(1), CHUNK)
    assert (tmp_path / "file").read_bytes()[CHUNK:] == content(1)
    file.close()


_PULL = """
import os, sys
from pathlib import Path
import numpy as np
from mlver.errors import MlverError
from mlver.ops.opening import open_repository
from mlver.ops.progress import Silent
from mlver.ops.pull import plan_pull, pull
from mlver.repository import Repository

class Watched(Silent):
    done_bytes = 0

    def advance(self, size_bytes):
        self.done_bytes += size_bytes

disk, outside = map(Path, sys.argv[1:])
(outside / "w.bin").write_bytes(np.random.default_rng(1).bytes(26 << 20))
with Repository.init(outside) as repository:
    repository.add(outside / "w.bin", name="net", type="t")
free = os.statvfs(disk).f_bavail
progress = Watched()
opened = open_repository(outside / ".mlver")
try:
    pull(opened, plan_pull(opened, "net", disk / "out"), False, progress)
except MlverError as error:
    print(error.message)
    print(error.hint)
print(progress.done_bytes, os.statvfs(disk).f_bavail == free, os.listdir(disk))
"""


def test_a_file_for_which_there_is_no_room_is_refused_before_any_of_it_is_written(tmp_path: Path) -> None:
    assert on_small_disk(_PULL, tmp_path).splitlines() == [
        f"Cannot write into {tmp_path / 'disk'}: No space left on device.",
        "Free some space (or raise the quota or limit), then run the same command again; nothing was lost.",
        "0 True []",
    ]
