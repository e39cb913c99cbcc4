"""A remote that loses, cuts or alters objects: noticed, named, mended by the next push from where they are sound."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mlver.errors import IntegrityError, NotFoundError
from mlver.history.manifest import manifest_name
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.remotes.check import verify_remote
from mlver.ops.remotes.clone import clone
from mlver.ops.remotes.fetch import fetch
from mlver.ops.remotes.pack_listing import hint_name
from mlver.ops.remotes.push import push
from mlver.ops.removal import remove
from mlver.ops.verify import verify
from tests.support.trees import flip, replace_bytes
from tests.unit.ops.remotes.conftest import NewClone
from tests.unit.ops.remotes.stories import contents, get, record
from tests.unit.ops.remotes.test_remote_faults import chain


def flip_middle(path: Path) -> None:
    flip(path, path.stat().st_size // 3)


def cut(path: Path) -> None:
    replace_bytes(path, path.read_bytes()[:-30])


def lose(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [flip_middle, cut, lose])
@pytest.mark.parametrize(
    ("what", "kind"),
    [("packs/*.pack", "pack|chunk"), ("manifests/*.zst", "manifest"), ("log/net/000000000000.json", "log")],
)
def test_damage_is_named_and_mended(
    machine: NewClone, place: Path, harm: Callable[[Path], None], what: str, kind: str
) -> None:
    ada = machine("ada")
    data = [os.urandom(30_000) for _ in range(3)]
    for content in data:
        record(ada, content)
        push(ada)
    assert verify_remote(ada).ok
    harm(min((place / "remote").glob(what)))
    found = verify_remote(ada)
    assert [damage.kind in kind for damage in found.damaged] == [True]
    assert [hurt.version[:3] for hurt in found.damaged[0].hurts] == ["net"], "it is said what is hurt"
    told = push(ada).notices
    assert told
    copy = open_repository(Path(clone(str(place / "remote"), place / "copy").path) / ".mlver")
    try:
        for number, content in enumerate(data):
            assert get(copy, f"net:v{number}", place / f"out{number}") == {"w": content}
        assert verify(copy).ok
    finally:
        copy.close()
    if kind != "pack|chunk":
        assert verify_remote(ada).ok


def test_a_machine_without_the_bytes_cannot_mend_and_says_so(machine: NewClone, place: Path) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, os.urandom(30_000))
    push(ada)
    fetch(bob)
    (manifest,) = (place / "remote/manifests").glob("*.zst")
    flip(manifest, 20)
    assert [damage.kind for damage in verify_remote(bob).damaged] == ["manifest"]
    assert any("must be pushed by who has it" in notice for notice in push(bob).notices)
    with pytest.raises(IntegrityError):
        get(bob, "net", place / "out")
    assert not verify_remote(ada).ok
    push(ada)
    assert verify_remote(bob).ok


def test_versions_that_are_elsewhere_are_no_damage(machine: NewClone, place: Path) -> None:
    ada, bob = machine("ada"), machine("bob")
    for number in range(3):
        record(ada, b"%d" % number)
    push(ada)
    fetch(bob)
    found = verify(bob)
    assert (found.ok, found.checked_versions) == (True, 0)
    assert "3 of the versions are not here but at a remote" in bob.notices[0]
    get(bob, "net:v1", place / "out")
    assert verify(bob).checked_chunks == 1
    record(bob, b"mine")
    (pack, *_) = sorted((place / "bob/.mlver/packs").iterdir(), key=lambda path: -path.stat().st_mtime_ns)
    pack.unlink()
    assert not verify(bob).ok, "what was not pushed is damage when it is gone"
    assert len(contents(bob)) == 4


def test_a_lost_pack_is_named_by_who_never_saw_it(machine: NewClone, place: Path) -> None:
    ada = machine("ada")
    made = chain(ada, 3)
    for number in range(3):
        push(ada, [f"chain:v{number}"])
    first = read_hint_of(ada, place, "chain:v0")
    bob = open_repository(Path(clone(str(place / "remote"), place / "bob").path) / ".mlver")
    (place / "remote" / "packs" / f"{first}.pack").unlink()
    found = verify_remote(bob)
    assert [(damage.kind, damage.name) for damage in found.damaged] == [("pack", first)]
    hurt = {hurt.version for hurt in found.damaged[0].hurts}
    assert hurt == {"chain:v0", "chain:v1", "chain:v2"}, "what rests on it is hurt too"
    with pytest.raises(NotFoundError):
        get(bob, "chain:v2", place / "out")
    assert push(ada).sent_chunks > 0
    assert verify_remote(bob).ok
    assert get(bob, "chain:v2", place / "out") == {"m.safetensors": made[2]}
    bob.close()


def read_hint_of(repository: OpenRepository, place: Path, version: str) -> str:
    identity = repository.resolve(version).version.id
    document = json.loads((place / "remote" / hint_name(identity)).read_bytes())
    (pack,) = document["packs"]
    return str(pack)


def test_a_removed_version_whose_content_is_gone_is_pushed_as_such(machine: NewClone, place: Path) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"bad")
    record(ada, b"good")
    identity = ada.resolve("net:v0").version.id
    remove(ada, ["net:v0"])
    (ada.root / manifest_name(identity)).chmod(0o600)
    (ada.root / manifest_name(identity)).unlink()
    push(ada)
    fetch(bob)
    assert contents(bob).keys() == {0, 1}
    assert verify_remote(ada).ok
    assert get(bob, "net", place / "out") == {"w": b"good"}


@pytest.mark.parametrize("lost", ["log/net/000000000001.json", "names/000000000000.json"])
@pytest.mark.parametrize("pushes_first", [False, True])
def test_newest_events_that_were_lost_here_come_again(
    machine: NewClone, place: Path, lost: str, pushes_first: bool
) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"0")
    record(ada, b"1")
    push(ada)
    fetch(bob)
    (bob.root / lost).unlink()
    if pushes_first:
        assert push(bob).artifacts == ()
    record(ada, b"2")
    push(ada)
    fetch(bob)
    assert contents(bob) == contents(ada)
    assert get(bob, "net:v1", place / "out") == {"w": b"1"}
