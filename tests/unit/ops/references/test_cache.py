"""What was downloaded is kept, checked, bounded, and may go at any time; digests that were learned hold."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlver.errors import IntegrityError, MlverError
from mlver.repository import Repository
from tests.support.odd_web import OddWeb, Page, odd_web
from tests.support.places import quick_folder


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with Repository.init(tmp_path / "home") as made:
        yield made


@pytest.fixture
def web() -> Iterator[OddWeb]:
    with odd_web() as running:
        for name in "abc":
            running.pages[f"/{name}"] = Page(name.encode() * 1000, etag=f'"{name}"', knows_ranges=True)
        yield running


@pytest.fixture
def cached(repository: Repository, web: OddWeb, tmp_path: Path) -> Path:
    """The cache's folder after three objects were downloaded."""
    repository.add(name="d", type="t", references=[f"{web.url}/{name}" for name in "abc"])
    repository.pull("d", tmp_path / "first")
    return repository.path / "references"


def contents(cached: Path) -> list[Path]:
    return [path for path in cached.iterdir() if len(path.name) == 64]


def limit(repository: Repository, size_bytes: object) -> None:
    config = repository.path / "config.toml"
    config.write_text(f"reference_cache_bytes = {size_bytes}\n" + config.read_text())


def test_a_damaged_content_is_downloaded_again(
    repository: Repository, web: OddWeb, cached: Path, tmp_path: Path
) -> None:
    damaged = contents(cached)[0]
    damaged.chmod(0o644)
    damaged.write_bytes(b"x" * 1000)
    assert repository.pull("d", tmp_path / "second").downloaded_bytes == 1000
    assert sorted(path.read_bytes() for path in (tmp_path / "second").iterdir()) == [
        c * 1000 for c in (b"a", b"b", b"c")
    ]
    assert repository.pull("d", tmp_path / "third").downloaded_bytes == 0


def test_a_link_in_the_cache_is_not_followed(repository: Repository, cached: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(contents(cached)[0].read_bytes())
    name = contents(cached)[0].name
    (cached / name).unlink()
    (cached / name).symlink_to(tmp_path / "elsewhere")
    assert repository.pull("d", tmp_path / "second").downloaded_bytes == 1000


def test_the_cache_keeps_what_was_used_last(repository: Repository, web: OddWeb, cached: Path, tmp_path: Path) -> None:
    for age, path in enumerate(sorted(contents(cached))):
        os.utime(path, (1000 + age, 1000 + age))
    oldest = min(contents(cached), key=lambda path: path.stat().st_mtime)
    limit(repository, 3500)
    web.pages["/n"] = Page(b"n" * 1000, etag='"n"', knows_ranges=True)
    repository.add(name="e", type="t", references=[f"{web.url}/n"])
    repository.pull("e", tmp_path / "e")
    assert len(contents(cached)) == 3
    assert not oldest.exists()


def test_nothing_is_kept_where_there_is_no_room_for_it(repository: Repository, cached: Path, tmp_path: Path) -> None:
    shutil.rmtree(cached)
    limit(repository, 999)
    repository.pull("d", tmp_path / "second")
    assert contents(cached) == []
    assert repository.pull("d", tmp_path / "third").downloaded_bytes == 3000


@pytest.mark.parametrize("text", ["-1", "true", '"10 GB"'])
def test_a_limit_that_is_none_is_refused(repository: Repository, cached: Path, tmp_path: Path, text: str) -> None:
    limit(repository, text)
    with pytest.raises(MlverError, match="reference_cache_bytes"):
        repository.pull("d", tmp_path / "second")


def test_what_killed_processes_left_goes(repository: Repository, cached: Path, tmp_path: Path) -> None:
    (cached / "partial-999999999-x").write_bytes(b"x")
    (cached / "partial-999999999-y").mkdir()
    (cached / f"partial-{os.getpid()}-z").write_bytes(b"x")
    contents(cached)[0].unlink()
    repository.pull("d", tmp_path / "second")
    assert [path.name for path in cached.glob("partial-*")] == [f"partial-{os.getpid()}-z"]


def test_a_learned_digest_holds(repository: Repository, web: OddWeb, cached: Path, tmp_path: Path) -> None:
    for path in contents(cached):
        path.unlink()
    web.pages["/a"].content = b"A" * 1000  # with the same tag
    with pytest.raises(IntegrityError, match="a is not what it was"):
        repository.pull("d", tmp_path / "second")
    found = {check.paths[0]: check.status for check in repository.verify(references="read").references}
    assert found == {"a": "changed", "b": "same", "c": "same"}
    assert repository.verify().ok, "the server does not tell"


def test_notes_of_digests_may_be_damaged_or_gone(repository: Repository, cached: Path, tmp_path: Path) -> None:
    notes = cached / "digests.jsonl"
    lines = notes.read_bytes().split()
    assert len(lines) == 3
    notes.write_bytes(b"\n".join([b"{", b"[]", b'{"digest":5}', lines[0], lines[1][:-9], lines[2]]) + b"\xff")
    assert repository.pull("d", tmp_path / "second").downloaded_bytes >= 1000
    notes.unlink()
    assert repository.pull("d", tmp_path / "third").downloaded_bytes == 3000


def test_digests_asked_for_later_make_no_version(repository: Repository, web: OddWeb, cached: Path) -> None:
    shutil.rmtree(cached)
    uris = [f"{web.url}/{name}" for name in "abc"]
    done = repository.add(name="d", references=uris, digest=True)
    assert (done.version.name, done.created) == ("d:v0", False)
    assert any("recorded without digests" in warning for warning in done.warnings)
    assert len((cached / "digests.jsonl").read_bytes().split()) == 3
    fresh = repository.add(name="other", type="t", references=uris, digest=True)
    assert all(entry.digest for entry in repository.manifest(fresh.version.name).references)


def test_status_tells_references_from_files(repository: Repository, cached: Path, tmp_path: Path) -> None:
    place = tmp_path / "first"
    (place / "a").unlink()
    (place / "b").write_bytes(b"b" * 999 + b"!")
    (place / "own.txt").write_text("x")
    found = repository.status(place)
    assert (found.added, found.removed, found.modified) == (("own.txt",), (), ("b",))
    assert (found.absent_references, found.unknown_references, found.unchanged_count) == (("a",), (), 1)
    (cached / "digests.jsonl").unlink()
    found = repository.status(place)
    assert (found.modified, found.unknown_references) == ((), ("b", "c"))


def test_what_is_there_already_is_not_replaced(repository: Repository, cached: Path, tmp_path: Path) -> None:
    place = tmp_path / "first"
    (place / "b").write_bytes(b"mine")
    with pytest.raises(MlverError, match="would be overwritten: b"):
        repository.pull("d", place)
    assert (place / "b").read_bytes() == b"mine"
    assert repository.pull("d", place, force=True).overwritten == ("b",)
    assert (place / "b").read_bytes() == b"b" * 1000
    (place / "c").unlink()
    (place / "c").mkdir()
    with pytest.raises(MlverError, match="is a folder"):
        repository.pull("d", place, force=True)
