from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlver.errors import MlverError, NotFoundError
from mlver.repository import Repository
from tests.support.trees import bytes_read, overwrite_unseen, settle, write_tree


@pytest.fixture
def folder(repository: Repository, tmp_path: Path) -> Path:
    made = write_tree(tmp_path / "model", {"a": b"1" * 5_000_000, "sub/b": b"2", "run": b"3"})
    (made / "hollow").mkdir()
    settle()
    repository.add(made, name="net", type="t")
    return made


def test_folder_as_it_was(repository: Repository, folder: Path) -> None:
    done = repository.status(folder)
    assert done.is_clean
    assert (done.version.name, done.latest, done.unchanged_count, done.place) == ("net:v0", "net:v0", 3, str(folder))


def test_untouched_files_are_not_read(repository: Repository, folder: Path) -> None:
    assert bytes_read(lambda: repository.status(folder)) < 1_000_000


def test_every_kind_of_difference(repository: Repository, folder: Path) -> None:
    overwrite_unseen(folder / "a", b"1" * 4_999_999 + b"2")
    (folder / "run").chmod(0o755)
    (folder / "sub" / "b").unlink()
    (folder / "hollow").rmdir()
    write_tree(folder, {"new/c": b"4"})
    done = repository.status(folder)
    assert (done.modified, done.removed, done.added) == (("a", "run"), ("hollow/", "sub/b"), ("new/c", "sub/"))
    assert (done.is_clean, done.unchanged_count) == (False, 0)


def test_touched_file_with_the_same_bytes_is_unchanged(repository: Repository, folder: Path) -> None:
    (folder / "sub" / "b").write_bytes(b"2")
    assert repository.status(folder).is_clean


def test_pulled_folder(repository: Repository, folder: Path, tmp_path: Path) -> None:
    (folder / "run").write_bytes(b"4")
    repository.add(folder)
    repository.pull("v0", tmp_path / "out")
    done = repository.status(tmp_path / "out")
    assert (done.is_clean, done.version.name, done.latest) == (True, "net:v0", "net:v1")
    (tmp_path / "out" / "run").write_bytes(b"4")
    assert repository.status(tmp_path / "out").modified == ("run",)
    repository.add(tmp_path / "out")
    assert repository.status(tmp_path / "out").version.name == "net:v1"


def test_after_a_rename_and_a_removal(repository: Repository, folder: Path) -> None:
    repository.rename("net", "web")
    assert repository.status(folder).version.name == "web:v0"
    repository.remove("web:v0")
    done = repository.status(folder)
    assert (done.is_clean, done.version.removed, done.latest) == (True, True, None)


def test_one_file(repository: Repository, tmp_path: Path) -> None:
    path = write_tree(tmp_path / "m", {"w": b"1"}) / "w"
    repository.add(path, name="net", type="t")
    assert repository.status(path).is_clean
    path.write_bytes(b"2")
    assert repository.status(path).modified == ("w",)


def test_repository_that_was_moved(repository: Repository, folder: Path, tmp_path: Path) -> None:
    repository.close()
    shutil.copytree(tmp_path / ".mlver", tmp_path / "moved" / ".mlver")
    shutil.copytree(folder, tmp_path / "moved" / "model")
    with Repository.open(tmp_path / "moved") as moved:
        assert moved.status(tmp_path / "moved" / "model").is_clean


def test_place_that_nothing_is_known_of(repository: Repository, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(NotFoundError, match=r"not known which version .*other came from"):
        repository.status(tmp_path / "other")
    shutil.rmtree(folder)
    with pytest.raises(NotFoundError, match="model does not exist"):
        repository.status(folder)


def test_note_of_the_origin_that_is_damaged_is_as_good_as_none(repository: Repository, folder: Path) -> None:
    for note in (repository.path / "origins").iterdir():
        note.chmod(0o644)
        note.write_bytes(b'{"path": 5')
    with pytest.raises(MlverError, match="not known"):
        repository.status(folder)
    assert repository.add(folder).version.name == "net:v0"
    assert repository.status(folder).is_clean
