"""What is known of a remote is a cache: lost or damaged, it costs a listing and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlver.ops.opening import OpenRepository
from mlver.ops.remotes.clone import clone
from mlver.ops.remotes.opening import REMOTES_FOLDER, open_remote
from mlver.ops.remotes.push import push
from mlver.ops.verify import verify
from mlver.repository import Repository
from tests.support.trees import write_tree
from tests.unit.ops.remotes.conftest import NewClone


@pytest.fixture
def pushed(machine: NewClone, place: Path) -> OpenRepository:
    """A repository with a version that its remote has, too."""
    ada = machine("ada")
    with Repository.open(place / "ada") as repository:
        repository.add(write_tree(place / "m", {"w": b"one"}), name="net", type="t")
    push(ada)
    return ada


def cache_of(place: Path) -> Path:
    return next((place / ".mlver" / REMOTES_FOLDER).glob("*.sqlite"))


def test_what_is_at_a_remote_is_no_damage_though_nobody_remembers_it(pushed: OpenRepository, place: Path) -> None:
    clone(str(place / "remote"), place / "bob")
    cache_of(place / "bob").unlink()
    with Repository.open(place / "bob") as repository:
        assert repository.verify().ok
        assert cache_of(place / "bob").exists()


def test_what_no_remote_has_is_damage(pushed: OpenRepository, place: Path) -> None:
    with Repository.open(place / "ada") as repository:
        repository.add(write_tree(place / "m", {"w": b"two"}), name="net")
        manifest = repository.resolve("net:v1").id.removeprefix("blake3:")
        (place / "ada" / ".mlver" / "manifests" / f"{manifest}.json.zst").unlink()
        assert [damage.hurts[0].version for damage in repository.verify().damaged] == ["net:v1"]


def test_a_remote_that_cannot_be_asked_is_told(pushed: OpenRepository, place: Path) -> None:
    bob = clone(str(place / "remote"), place / "bob")
    cache_of(place / "bob").unlink()
    (place / "remote").rename(place / "away")
    with Repository.open(bob.path) as repository:
        assert not verify(repository._opened).ok
        assert "Whether origin has what is not here is unknown" in repository._opened.notices[0]


def test_a_damaged_cache_is_thrown_away_and_the_command_goes_on(pushed: OpenRepository, place: Path) -> None:
    with Repository.open(place / "ada") as repository:
        repository.add(write_tree(place / "m", {"w": b"two"}), name="net")
        cache = cache_of(place / "ada")
        content = bytearray(cache.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)  # the first page has the tables' definitions: it opens
        cache.write_bytes(content)
        assert [artifact.artifact for artifact in repository.push().artifacts] == ["net"]
    with open_remote(pushed, None) as remote:
        assert remote.known_head("log/net") == 1
