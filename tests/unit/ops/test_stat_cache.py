from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mlver.ops.stat_cache import Stamp
from mlver.repository import Repository
from tests.support.trees import blobs, bytes_read, overwrite_unseen, read_tree, settle, write_tree

SIZE = 8 << 20


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = write_tree(tmp_path / "model", {"big": os.urandom(SIZE), "small": b"small"})
    settle()
    return folder


@pytest.fixture
def added(repository: Repository, model: Path) -> Repository:
    assert bytes_read(lambda: repository.add(model, name="net", type="t")) >= SIZE
    return repository


def test_untouched_files_are_not_read_again(added: Repository, model: Path) -> None:
    assert bytes_read(lambda: added.add(model)) < SIZE // 8
    assert bytes_read(lambda: added.add(model, name="other", type="t")) < SIZE // 8


def test_files_added_at_once_after_they_were_written_are_known_the_next_time(
    repository: Repository, tmp_path: Path
) -> None:
    folder = write_tree(tmp_path / "fresh", {"big": os.urandom(SIZE)})
    repository.add(folder, name="net", type="t")
    assert bytes_read(lambda: repository.add(folder)) < SIZE // 8


def test_only_what_was_touched_is_read(added: Repository, model: Path) -> None:
    (model / "small").write_bytes(b"other")
    done = []
    assert bytes_read(lambda: done.append(added.add(model))) < SIZE // 8
    assert (done[0].version.number, done[0].new_bytes) == (1, 5)
    added.pull("v1", model.parent / "out")
    assert read_tree(model.parent / "out") == read_tree(model)


def test_files_in_another_folder_or_under_another_root_are_known(added: Repository, model: Path) -> None:
    assert bytes_read(lambda: added.add(model / "big", name="file", type="t")) < SIZE // 8
    assert [entry.path for entry in added.manifest("file").files] == ["big"]
    assert bytes_read(lambda: added.add(model, exclude=["small"], name="part", type="t")) < SIZE // 8
    assert added.manifest("part").file("big") == added.manifest("net").file("big")


def test_rehash_reads_everything(added: Repository, model: Path) -> None:
    assert bytes_read(lambda: added.add(model, rehash=True)) >= SIZE
    assert len(added.log()) == 1


@pytest.mark.parametrize("name", ["big", "small"])
def test_other_bytes_with_the_same_size_and_time_are_found(added: Repository, model: Path, name: str) -> None:
    before = (model / name).stat()
    content = (model / name).read_bytes()
    overwrite_unseen(model / name, content[:-1] + bytes([content[-1] ^ 1]))
    after = (model / name).stat()
    assert (before.st_size, before.st_mtime_ns, before.st_ino) == (after.st_size, after.st_mtime_ns, after.st_ino)
    done = added.add(model)
    assert done.created
    assert added.open("latest", name).read() == (model / name).read_bytes()


def test_file_that_another_one_replaced_is_read(added: Repository, model: Path) -> None:
    before = (model / "small").stat()
    (model / "new").write_bytes(b"SMALL")
    os.utime(model / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(model / "new", model / "small")
    assert added.add(model).version.number == 1
    assert added.open("latest", "small").read() == b"SMALL"


@pytest.mark.parametrize("when", ["whole seconds", "future"])
def test_files_too_young_to_trust_are_read_again(repository: Repository, tmp_path: Path, when: str) -> None:
    folder = write_tree(tmp_path / "m", {"big": os.urandom(SIZE)})
    seconds = int(time.time())
    stamp = seconds * 10**9 if when == "whole seconds" else (seconds + 3600) * 10**9 + 1
    os.utime(folder / "big", ns=(stamp, stamp))
    settle()
    repository.add(folder, name="net", type="t")
    assert bytes_read(lambda: repository.add(folder)) >= SIZE


def test_rapid_changes_of_the_same_size_and_time_are_all_seen(repository: Repository, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "m", {"x": b"-----"})
    for number in range(12):
        overwrite_unseen(folder / "x", b"%5d" % number)
        assert repository.add(folder, name="net", type="t").version.number == number
        assert repository.open(f"v{number}", "x").read() == b"%5d" % number


def test_cache_is_not_trusted_when_the_bytes_are_gone(added: Repository, model: Path) -> None:
    for pack in blobs(added, "packs"):
        pack.unlink()
    assert not added.verify().ok
    done = added.add(model)
    assert (done.created, done.version.number) == (False, 0)
    assert done.new_bytes == SIZE + 5
    assert added.verify().ok
    added.pull("net", model.parent / "out")
    assert read_tree(model.parent / "out") == read_tree(model)


def test_lost_pack_is_mended_by_another_process_that_adds(added: Repository, model: Path) -> None:
    """Whoever notices first that a pack is gone forgets the stamps for all."""
    with Repository.open(model.parent) as other:
        for pack in blobs(added, "packs"):
            pack.unlink()
        assert not other.verify().ok
        added.add(model)
        assert other.verify().ok


def test_removed_version_is_no_shortcut(added: Repository, model: Path) -> None:
    added.remove("v0")
    done = added.add(model)
    assert (done.created, done.version.number, done.new_bytes) == (True, 1, 0)


def test_lost_manifest_is_written_again(added: Repository, model: Path) -> None:
    (model / "small").write_bytes(b"other")
    settle()
    added.add(model)
    for manifest in blobs(added, "manifests"):
        manifest.unlink()
    (model / "more").write_bytes(b"1")
    added.add(model)
    added.pull("latest", model.parent / "out")
    assert read_tree(model.parent / "out") == read_tree(model)


def test_stamps_tell_files_apart_by_all_they_have(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x")
    status = path.stat()
    stamp = Stamp.of(status)
    assert stamp.text() == Stamp.of(path.stat()).text()
    for field in ("size_bytes", "mtime_ns", "ctime_ns", "inode", "device"):
        assert stamp._replace(**{field: getattr(stamp, field) + 1}).text() != stamp.text()
    path.chmod(0o755)
    assert Stamp.of(path.stat()).text().endswith(".1")


@pytest.mark.parametrize(
    ("mtime", "ctime", "read_at", "young"),
    [
        (5_000_000_001, 5_000_000_001, 5_020_000_001, True),
        (5_000_000_001, 5_000_000_001, 5_020_000_002, False),
        (5_000_000_001, 9_000_000_001, 9_000_000_001, True),
        (5_000_000_000, 5_000_000_000, 7_000_000_000, True),
        (5_000_000_000, 5_000_000_000, 7_000_000_001, False),
        (9_000_000_001, 5_000_000_001, 8_000_000_000, True),
    ],
)
def test_young_is_what_a_later_change_could_look_like(mtime: int, ctime: int, read_at: int, young: bool) -> None:
    assert Stamp(1, mtime, ctime, 1, 1, False).is_young(read_at) is young
