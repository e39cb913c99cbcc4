"""Finding and opening repositories, and that the index is a cache: gone, damaged or stale, the answers are the same."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlver.errors import MlverError, NotARepositoryError, NotFoundError
from mlver.repository import Repository
from tests.support.trees import read_tree, without_index, write_tree


def test_init_makes_a_repository_once(tmp_path: Path) -> None:
    with Repository.init(tmp_path / "new" / "place") as made:
        assert made.path == tmp_path / "new" / "place" / ".mlver"
        assert (made.path / "format").read_bytes() == b"mlver 1\n"
        assert made.artifacts() == []
        before = read_tree(made.path)
    with Repository.init(tmp_path / "new" / "place") as again:
        assert read_tree(again.path) == before


def test_repository_is_found_upwards(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    for place in (tmp_path, deep, tmp_path / ".mlver", str(deep)):
        with Repository.open(place) as found:
            assert found.path == repository.path
    monkeypatch.chdir(deep)
    with Repository.open() as found:
        assert found.path == repository.path
    with Repository.init(tmp_path / "a") as inner, Repository.open(deep) as nearest:
        assert nearest.path == inner.path


def test_there_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(NotARepositoryError, match="is not in a repository") as caught:
        Repository.open(tmp_path)
    assert caught.value.exit_code == 10
    assert "mlver init" in str(caught.value.hint)
    (tmp_path / ".mlver").write_text("a file")
    with pytest.raises(NotARepositoryError, match=r"\.mlver is not a folder"):
        Repository.open(tmp_path)
    with pytest.raises(MlverError, match="not a folder"):
        Repository.init(tmp_path)
    assert (tmp_path / ".mlver").read_text() == "a file"


def test_folder_that_is_half_a_repository(tmp_path: Path) -> None:
    (tmp_path / ".mlver").mkdir()
    with pytest.raises(NotARepositoryError, match="has no 'format' file"):
        Repository.open(tmp_path)
    Repository.init(tmp_path).close()
    Repository.open(tmp_path).close()


@pytest.mark.parametrize("text", [b"mlver 2\n", b"", b"mlver 1", b"mlver 1\n\n", b"\xff" * 100])
def test_layout_that_is_not_known_is_refused_and_left_alone(tmp_path: Path, text: bytes) -> None:
    Repository.init(tmp_path).close()
    (tmp_path / ".mlver" / "format").chmod(0o644)
    (tmp_path / ".mlver" / "format").write_bytes(text)
    before = read_tree(tmp_path)
    for way in (Repository.open, Repository.init):
        with pytest.raises(NotARepositoryError, match="layout that this mlver does not know") as caught:
            way(tmp_path)
        assert "upgrade" in str(caught.value.hint)
    assert read_tree(tmp_path) == before


def test_malformed_settings_are_named_when_they_are_needed(repository: Repository, model: Path) -> None:
    (repository.path / "config.toml").chmod(0o644)
    (repository.path / "config.toml").write_text("identity = 5")
    with pytest.raises(MlverError, match=r"config\.toml"):
        repository.add(model, name="net", type="t")
    (repository.path / "config.toml").write_text('[identity]\nname = "ada"')
    assert repository.add(model, name="net", type="t").version.created_by == "ada"
    (repository.path / "config.toml").unlink()
    assert "@" in repository.add(model, name="other", type="t").version.created_by


@pytest.mark.parametrize(
    ("text", "setting", "meant"),
    [
        ('compresion = "max"', "compresion", " Did you mean compression?"),
        ('[identity]\nnames = "ada"', "identity.names", " Did you mean identity.name?"),
        ("[store]\nsize = 5", "store", ""),
    ],
)
def test_settings_that_mean_nothing_are_told_once_and_ignored(
    repository: Repository, model: Path, caplog: pytest.LogCaptureFixture, text: str, setting: str, meant: str
) -> None:
    (repository.path / "config.toml").chmod(0o644)
    (repository.path / "config.toml").write_text(text)
    repository.add(model, name="net", type="t")
    repository.alias("best")
    assert caplog.messages == [f"config.toml: {setting} is no setting of this mlver and was ignored.{meant}"]


@pytest.mark.parametrize("head", [b"", b"absent\n", b"../../etc\n", b"\xff\n", b"net\nmore\n"])
def test_current_artifact_that_is_none(repository: Repository, model: Path, head: bytes) -> None:
    repository.add(model, name="net", type="t")
    (repository.path / "HEAD").chmod(0o644)
    (repository.path / "HEAD").write_bytes(head)
    with pytest.raises(NotFoundError):
        repository.resolve("v0")
    assert repository.resolve("net:v0").number == 0
    repository.switch("net")
    assert repository.resolve("v0").number == 0


# The index


@pytest.fixture
def rich(repository: Repository, tmp_path: Path) -> Repository:
    """Two artifacts with some history of every kind."""
    for number in range(20):
        folder = write_tree(tmp_path / "m", {"w": b"%d" % number * 100, "same": b"x" * 100})
        name = "data" if number % 5 == 4 else "net"
        repository.add(folder, name=name, type="t", aliases=[f"a{number % 3}"], tags=["t"], metrics={"n": number})
    repository.note("net:v2", "note")
    repository.meta("net:v3", {"k": [1]})
    repository.remove("net:v4", "data:v1", force=True)
    repository.rename("data", "set")
    repository.undo("net")
    return repository


def answers(repository: Repository) -> list[Any]:
    told: list[Any] = [repository.verify().ok, repository.usage()]
    told[1] = (told[1].total, told[1].pack_bytes, told[1].unused_bytes)
    for artifact in repository.artifacts():
        told += [
            artifact._replace(key=0),
            repository.log(artifact.name, removed=True),
            repository.reflog(artifact.name),
        ]
    return [*told, repository.resolve("set:latest").name, repository.resolve("data").name]


DAMAGES = {
    "lost": None,
    "empty": lambda good: b"",
    "garbage": lambda good: random.Random(1).randbytes(len(good)),
    "text": lambda good: b"hello",
    "cut": lambda good: good[: len(good) // 2],
    "half zeros": lambda good: good[: len(good) // 2] + bytes(len(good) - len(good) // 2),
    "no header": lambda good: bytes(100) + good[100:],
    "other tables": None,
}


@pytest.mark.parametrize("opened", ["anew", "before"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_index_that_is_lost_or_damaged_changes_no_answer(rich: Repository, damage: str, opened: str) -> None:
    told = answers(rich)
    index = rich.path / "index.sqlite"
    spoil = DAMAGES[damage]
    if damage == "other tables":
        from mlver.store.sqlite import open_cache

        index.unlink()
        open_cache(index, ["CREATE TABLE versions (x);"]).close()
    elif spoil is None:
        index.unlink()
    else:
        index.write_bytes(spoil(index.read_bytes()))
    with Repository.open(rich.path) if opened == "anew" else rich as again:
        assert answers(again) == told
        assert again.alias("after", "net:v1").number == 1
    with Repository.open(rich.path) as third:
        assert third.resolve("net:after").number == 1


def test_every_page_of_the_index_may_go_bad(rich: Repository) -> None:
    told = answers(rich)
    rich.close()
    index = rich.path / "index.sqlite"
    good = index.read_bytes()
    chance = random.Random(1)
    for page in range(0, len(good), 4096):
        for junk in (bytes(4096), chance.randbytes(4096)):
            index.write_bytes(good[:page] + junk + good[page + 4096 :])
            with Repository.open(rich.path) as again:
                assert answers(again) == told, f"page {page // 4096} was bad"


def test_index_of_an_older_state_catches_up(rich: Repository, tmp_path: Path) -> None:
    shutil.copy(rich.path / "index.sqlite", tmp_path / "old")
    rich.alias("new", "net:v1")
    rich.add(write_tree(tmp_path / "m", {"w": b"newest"}), name="net")
    told = answers(rich)
    rich.close()
    shutil.copy(tmp_path / "old", rich.path / "index.sqlite")
    with Repository.open(rich.path) as again:
        assert answers(again) == told


def test_log_of_an_older_state_is_believed(rich: Repository, tmp_path: Path) -> None:
    told = answers(rich)
    shutil.copytree(rich.path, tmp_path / "old")
    rich.alias("new", "net:v1")
    rich.add(write_tree(tmp_path / "m", {"w": b"newest"}), name="net")
    for folder in ("log", "names"):
        shutil.rmtree(rich.path / folder)
        shutil.copytree(tmp_path / "old" / folder, rich.path / folder)
    now = answers(rich)
    assert now[2:] == told[2:]


def test_index_that_cannot_be_written_is_kept_in_memory(rich: Repository) -> None:
    told = answers(rich)
    rich.close()
    (rich.path / "index.sqlite").unlink()
    (rich.path / "index.sqlite").mkdir()
    with Repository.open(rich.path) as again:
        assert answers(again) == told
        assert again.alias("after", "net:v1").number == 1


def test_two_repositories_opened_at_once_see_each_other(rich: Repository, tmp_path: Path) -> None:
    with without_index(rich) as other:  # the first has an index that is no file any more
        for number in range(4):
            here, there = (rich, other) if number % 2 else (other, rich)
            done = here.add(write_tree(tmp_path / "m", {"w": b"%d" % number}), name="net", aliases=["best"])
            assert there.resolve("net:best") == done.version
            assert there.open("net:best", "w").read() == b"%d" % number
        assert answers(rich) == answers(other)


def test_store_that_goes_away_is_an_error_and_not_an_empty_repository(rich: Repository) -> None:
    os.rename(rich.path, rich.path.with_name("unmounted"))
    with pytest.raises(MlverError, match="does not exist"):
        rich.log("net")
