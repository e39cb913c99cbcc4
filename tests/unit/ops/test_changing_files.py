"""Files that change while `add` reads them: once is made good, for ever is refused, a mix is never kept."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlver.errors import ConflictError, MlverError
from mlver.ops.scan import scan
from mlver.ops.source_file import ChangedError, open_source, start_reading
from mlver.repository import Repository
from tests.support.trees import Meddler, overwrite_unseen, write_tree

SMALL, LARGE = 1000, 6 << 20
TORN = 60 << 20
"""So large that reading has not come to its end when the first bytes were stored."""


def same(path: Path, content: bytes) -> None:
    overwrite_unseen(path, content)


def replace(path: Path, content: bytes) -> None:
    new = path.with_name("new")
    new.write_bytes(content)
    os.replace(new, path)


def truncate(path: Path, content: bytes) -> None:
    path.write_bytes(content[:-7])


def grow(path: Path, content: bytes) -> None:
    path.write_bytes(content + b"more")


CHANGES: dict[str, Callable[[Path, bytes], None]] = {
    "in place": same, "replaced": replace, "cut": truncate, "grown": grow
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_one_change_before_reading_is_simply_read(
    repository: Repository, tmp_path: Path, change: str, size: int
) -> None:
    path = write_tree(tmp_path / "m", {"w": b"a" * size}) / "w"
    meddle = Meddler(at_start=lambda: CHANGES[change](path, b"b" * size))
    repository.add(path, name="net", type="t", progress=meddle)
    assert repository.open("net", "w").read() == path.read_bytes()
    assert not repository.add(path).created
    assert not repository.add(path, rehash=True).created


@pytest.mark.parametrize("change", CHANGES)
def test_one_change_amid_reading_is_read_again(repository: Repository, tmp_path: Path, change: str) -> None:
    path = write_tree(tmp_path / "m", {"w": b"a" * LARGE, "other": b"x" * LARGE}) / "w"
    meddle = Meddler(at_advance=lambda: CHANGES[change](path, b"b" * LARGE))
    done = repository.add(path.parent, name="net", type="t", progress=meddle)
    assert repository.open("net", "w").read() == path.read_bytes()
    assert repository.manifest("net").file("w").size_bytes == path.stat().st_size
    assert done.version.file_count == 2
    assert not repository.add(path.parent, rehash=True).created
    assert repository.verify().ok


def test_no_mix_of_two_states_is_kept(repository: Repository, tmp_path: Path) -> None:
    path = write_tree(tmp_path / "m", {"w": b"a" * TORN}) / "w"
    repository.add(path, name="net", type="t", progress=Meddler(at_advance=lambda: same(path, b"b" * TORN)))
    with repository.open("net", "w") as stored:
        while piece := stored.read(8 << 20):
            assert piece == b"b" * len(piece)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_small_file_that_becomes_large_is_read_right(repository: Repository, tmp_path: Path, size: int) -> None:
    path = write_tree(tmp_path / "m", {"w": b"a" * size}) / "w"
    other = SMALL + LARGE - size
    repository.add(path, name="net", type="t", progress=Meddler(at_start=lambda: path.write_bytes(b"b" * other)))
    assert repository.open("net", "w").read() == b"b" * other


def always(path: Path) -> Callable[[], None]:
    state = [0]

    def change() -> None:
        state[0] += 1
        overwrite_unseen(path, bytes([state[0]]) * path.stat().st_size)

    return change


def test_file_that_changes_each_time_is_refused_by_name(repository: Repository, tmp_path: Path) -> None:
    path = write_tree(tmp_path / "m", {"w": b"a" * LARGE, "other": b"x"}) / "w"
    with pytest.raises(ConflictError, match=r"m/w changes while it is read") as caught:
        repository.add(path.parent, name="net", type="t", progress=Meddler(at_advance=always(path), times=1000))
    assert caught.value.exit_code == 14
    assert repository.artifacts() == []
    assert repository.add(path.parent, name="net", type="t").version.number == 0
    assert repository.verify().ok


def _rewrite(path: Path, size: int) -> None:
    with open(path, "r+b", buffering=0) as file:
        while True:
            for letter in b"ab":
                file.seek(0)
                file.write(bytes([letter]) * size)
                time.sleep(0.003)


@pytest.mark.parametrize("size", [200_000, 2_000_000])
def test_file_that_is_rewritten_all_the_time_is_refused(repository: Repository, tmp_path: Path, size: int) -> None:
    path = write_tree(tmp_path / "m", {"w": b"a" * size}) / "w"
    writer = multiprocessing.get_context("fork").Process(target=_rewrite, args=(path, size), daemon=True)
    writer.start()
    refused = 0
    try:
        for _ in range(8):
            try:
                repository.add(path, name="net", type="t")
            except ConflictError as error:
                refused += "m/w changes while it is read" in error.message
            else:  # the writer had to wait for a processor just then
                assert len(set(repository.open("net", "w").read())) == 1, "a mix of two states was kept"
    finally:
        writer.kill()
        writer.join()
    assert refused
    repository.add(path, name="net", type="t")
    assert repository.status(path).is_clean


def test_file_that_is_being_written_when_reading_begins_is_not_trusted(tmp_path: Path) -> None:
    """Reading waits until later changes show; one that comes during the wait means that a writer is at work."""
    path = write_tree(tmp_path / "m", {"w": b"a" * SMALL}) / "w"
    (source,) = scan([path]).sources
    done = threading.Event()

    def keep_writing() -> None:
        while not done.wait(0.001):
            path.write_bytes(b"b" * SMALL)

    writer = threading.Thread(target=keep_writing)
    writer.start()
    descriptor = open_source(source)
    outcomes = set()
    try:
        for _ in range(20):
            try:
                outcomes.add(start_reading(source, descriptor).source.path)
            except ChangedError:
                outcomes.add("changed")
    finally:
        done.set()
        writer.join()
        os.close(descriptor)
    assert "changed" in outcomes


def test_file_that_goes_away_is_refused_by_name(repository: Repository, tmp_path: Path) -> None:
    path = write_tree(tmp_path / "m", {"w": b"a" * LARGE, "x": b"1"}) / "w"
    for meddle in (Meddler(at_start=path.unlink), Meddler(at_advance=path.unlink)):
        with pytest.raises(MlverError, match=r"m/w cannot be read: No such file"):
            repository.add(path.parent, name="net", type="t", progress=meddle)
        path.write_bytes(b"a" * LARGE)
    assert repository.artifacts() == []


def test_file_that_becomes_a_pipe_does_not_block(repository: Repository, tmp_path: Path) -> None:
    path = write_tree(tmp_path / "m", {"w": b"a" * SMALL}) / "w"

    def swap() -> None:
        path.unlink()
        os.mkfifo(path)

    with pytest.raises(MlverError, match=r"m/w "):
        repository.add(path, name="net", type="t", progress=Meddler(at_start=swap))


def test_no_descriptor_is_left_open_by_refusals(repository: Repository, tmp_path: Path) -> None:
    path = write_tree(tmp_path / "m", {"w": b"a" * LARGE, "x": b"1"}) / "w"
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(ConflictError):
            repository.add(path.parent, name="net", type="t", progress=Meddler(at_advance=always(path), times=1000))
    assert len(os.listdir("/proc/self/fd")) <= before + 1
