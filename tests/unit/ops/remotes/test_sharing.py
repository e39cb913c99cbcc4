"""Several machines share one remote: numbers, aliases, names, and nothing lost."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from mlver.errors import ConflictError, IntegrityError, MlverError, NotFoundError, RemoteError
from mlver.ops.artifacts import rename
from mlver.ops.hooks.here import is_here
from mlver.ops.labels import change_tags, set_alias, set_note
from mlver.ops.opening import open_repository
from mlver.ops.remotes.clone import clone
from mlver.ops.remotes.fetch import fetch
from mlver.ops.remotes.push import push
from mlver.ops.removal import remove, restore
from tests.support.trees import read_tree
from tests.unit.ops.remotes.conftest import NewClone
from tests.unit.ops.remotes.stories import contents, get, record


def test_what_one_pushes_another_gets(machine: NewClone, place: Path) -> None:
    ada, bob = machine("ada"), machine("bob")
    data = os.urandom(3 << 20)
    record(ada, data, message="first", tags=["t"], metrics={"acc": 0.5}, aliases=["best"])
    done = push(ada)
    assert [(p.artifact, p.versions) for p in done.artifacts] == [("net", (0,))]
    assert done.sent_bytes >= len(data)
    news = fetch(bob)
    assert [(n.artifact, n.versions) for n in news.artifacts] == [("net", (0,))]
    assert bob.resolve("net:best").version == ada.resolve("net:best").version
    assert get(bob, "net:best", place / "out") == {"w": data}
    assert push(ada).artifacts == ()
    assert fetch(bob).artifacts == ()


def test_the_first_push_of_a_number_wins_and_nothing_is_lost(machine: NewClone, place: Path) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"base")
    push(ada)
    fetch(bob)
    record(ada, b"ada 1")
    record(bob, b"bob 1", aliases=["mine"])
    record(bob, b"bob 2")
    set_note(bob, "net:v2", "the second of bob")
    push(ada)
    done = push(bob)
    assert [(p.versions, p.renumbered) for p in done.artifacts] == [((2, 3), ((1, 2), (2, 3)))]
    fetch(ada)
    assert contents(ada) == contents(bob)
    assert sorted(contents(ada)) == [0, 1, 2, 3]
    for repository in (ada, bob):
        assert repository.resolve("net:mine").version.number == 2
        assert repository.resolve("net:v3").version.note == "the second of bob"
    assert get(ada, "net:v2", place / "a") == {"w": b"bob 1"}
    assert get(bob, "net:v1", place / "b") == {"w": b"ada 1"}
    for name in ("ada", "bob"):
        root = place / name / ".mlver"
        (root / "index.sqlite").unlink()
        again = open_repository(root)
        assert contents(again) == contents(ada), "folded anew"
        again.close()


def test_fetch_puts_unpushed_versions_after_those_that_came(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"ada")
    push(ada)
    record(bob, b"bob")
    news = fetch(bob)
    assert [(n.versions, n.renumbered) for n in news.artifacts] == [((0,), ((0, 1),))]
    assert record(bob, b"bob again") == "net:v2"
    push(bob)
    fetch(ada)
    assert contents(ada) == contents(bob)
    assert len(contents(ada)) == 3


def test_many_rounds_keep_everybody_the_same(machine: NewClone) -> None:
    people = [machine(name) for name in ("ada", "bob", "eve")]
    for turn in range(4):
        for number, person in enumerate(people):
            record(person, b"%d %d" % (turn, number))
        for person in people[turn % 3 :] + people[: turn % 3]:
            push(person)
    for person in people:
        fetch(person)
    assert contents(people[0]) == contents(people[1]) == contents(people[2])
    assert sorted(contents(people[0])) == list(range(12))
    assert len(set(contents(people[0]).values())) == 12


def test_an_alias_that_someone_else_moved_is_a_conflict(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    for number in range(3):
        record(ada, b"%d" % number)
    set_alias(ada, "best", "net:v0")
    push(ada)
    fetch(bob)
    set_alias(ada, "best", "net:v1")
    push(ada)
    set_alias(bob, "best", "net:v2")
    with pytest.raises(ConflictError, match=r"it is v1 there, and you moved it from v0 to v2"):
        push(bob)
    assert bob.resolve("net:best").version.number == 2, "nothing changed"
    assert push(bob, force=True).artifacts[0].event_count == 1
    fetch(ada)
    assert ada.resolve("net:best").version.number == bob.resolve("net:best").version.number == 2


def test_fetch_lets_their_move_of_an_alias_stand_and_says_so(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"0")
    record(ada, b"1")
    push(ada)
    fetch(bob)
    set_alias(ada, "best", "net:v0")
    push(ada)
    set_alias(bob, "best", "net:v1")
    news = fetch(bob)
    assert "it is v0 there" in news.artifacts[0].notices[0]
    assert bob.resolve("net:best").version.number == 0
    set_alias(bob, "best", "net:v1")
    push(bob)
    fetch(ada)
    assert ada.resolve("net:best").version.number == 1


def test_two_make_an_artifact_of_one_name(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"ada", "net")
    record(bob, b"other", "set")
    record(bob, b"bob", "net")
    push(ada)
    push(bob)
    fetch(ada)
    assert contents(ada) == contents(bob)
    assert contents(ada, "set") == contents(bob, "set")
    assert bob.resolve("net:v1").version.id == ada.resolve("net:v1").version.id


def test_names_that_differ_by_case_are_refused(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"ada", "net")
    push(ada)
    record(bob, b"bob", "NET")
    with pytest.raises(ConflictError, match="cannot be told from"):
        push(bob)
    assert not (Path(bob.config.remotes["origin"]["url"]) / "log/NET").exists()
    with pytest.raises(ConflictError, match="cannot be told from"):
        fetch(bob)
    assert list(contents(bob, "NET")) == [0]


def test_an_artifact_that_was_renamed_out_of_the_way_is_pushed(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"ada", "net")
    push(ada)
    record(bob, b"bob", "NET")
    rename(bob, "NET", "bobs")
    assert [(pushed.artifact, pushed.versions) for pushed in push(bob).artifacts] == [("bobs", (0,))]
    assert sorted(os.listdir(Path(bob.config.remotes["origin"]["url"]) / "log")) == ["bobs", "net"]
    for person in (ada, bob):
        fetch(person)
        assert contents(person, "bobs").keys() == contents(person, "net").keys() == {0}
        assert contents(person, "bobs") != contents(person, "net")


@pytest.mark.parametrize("name", ["net", "renamed"])
def test_an_artifact_whose_name_was_another_ones_joins_it(machine: NewClone, name: str) -> None:
    """`net` has the same folder there, `renamed` another one; so has `NET`, which was renamed to join."""
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"ada", "net")
    rename(ada, "net", "renamed")
    push(ada)
    record(bob, b"bob", name, aliases=["bobs"])
    bob.set_current(name)
    result = push(bob)
    assert contents(bob, "renamed").keys() == {0, 1}
    assert bob.resolve("bobs").version.name == "renamed:v1"
    assert any("v1" in notice for notice in result.notices) or result.artifacts[0].renumbered == ((0, 1),)
    fetch(ada)
    assert contents(ada, "renamed") == contents(bob, "renamed")
    assert push(bob).artifacts == push(ada).artifacts == ()


def test_one_can_join_by_renaming(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"ada", "net")
    push(ada)
    record(bob, b"bob", "NET")
    rename(bob, "NET", "net")
    fetch(bob)
    assert contents(bob, "net").keys() == {0, 1}
    assert push(bob).artifacts[0].versions == (1,)


def test_what_is_added_while_an_artifact_joins_another_one_is_not_lost(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"ada", "net")
    rename(ada, "net", "renamed")
    push(ada)
    record(bob, b"first", "renamed")
    racing = open_repository(bob.root)
    log, number = racing.index.tail(racing.artifact("renamed"))
    event = racing.index.events(racing.artifact("renamed"))[0]
    push(bob)
    late = replace(event, number=number, write_id="0" * 32)
    assert not log.append(late), "the log is closed: an add looks again, and finds the artifact that is there now"
    racing.close()


def test_labels_of_both_are_kept(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"0")
    push(ada)
    fetch(bob)
    change_tags(ada, "net:v0", ["ada"])
    change_tags(bob, "net:v0", ["bob"])
    push(ada)
    push(bob)
    fetch(ada)
    assert ada.resolve("net").version.tags == bob.resolve("net").version.tags == ("ada", "bob")


def test_push_of_one_version_leaves_the_later_ones(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    for number in range(3):
        record(ada, b"%d" % number)
    record(ada, b"x", "other")
    push(ada, ["net:v1"])
    fetch(bob)
    assert sorted(contents(bob)) == [0, 1]
    with pytest.raises(NotFoundError):
        bob.resolve("other")
    push(ada)
    fetch(bob)
    assert sorted(contents(bob)) == [0, 1, 2]
    assert bob.resolve("other").version.number == 0


def test_a_dry_run_changes_nothing(machine: NewClone, place: Path) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"0" * 1000)
    planned = push(ada, dry_run=True)
    assert (planned.artifacts[0].versions, planned.sent_chunks) == ((0,), 1)
    assert not (place / "remote" / "log").exists()
    assert not (place / "remote" / "packs").exists()
    push(ada)
    assert fetch(bob, dry_run=True).artifacts[0].versions == (0,)
    with pytest.raises(NotFoundError):
        bob.resolve("net")


def test_a_clone_has_everything(machine: NewClone, place: Path) -> None:
    ada = machine("ada")
    for number in range(5):
        record(ada, os.urandom(1000) + b"%d" % number)
    push(ada)
    made = clone(str(place / "remote"), place / "copy")
    copy = open_repository(Path(made.path) / ".mlver")
    assert contents(copy) == contents(ada)
    assert get(copy, "latest", place / "out") == read_tree(place / "ada" / "model")
    assert is_here(copy.root), "its hooks are its person's own"
    assert copy.root.stat().st_mode & 0o777 == ada.root.stat().st_mode & 0o777
    copy.close()
    with pytest.raises(ConflictError, match="already"):
        clone(str(place / "remote"), place / "copy")


def test_a_clone_of_nothing_leaves_nothing(place: Path) -> None:
    (place / "empty").mkdir()
    with pytest.raises(RemoteError, match="no mlver remote"):
        clone(str(place / "empty"), place / "copy")
    assert not (place / "copy").exists()
    (place / "copy").mkdir()
    (place / "copy" / "mine").write_text("mine")
    with pytest.raises(RemoteError, match="no mlver remote"):
        clone(str(place / "empty"), place / "copy")
    assert os.listdir(place / "copy") == ["mine"]


def test_a_clone_takes_nothing_for_its_own(machine: NewClone, place: Path) -> None:
    ada = machine("ada")
    record(ada, b"0")
    push(ada)
    lost = place / "copy" / ".mlver" / "packs"
    lost.mkdir(parents=True)
    with pytest.raises(MlverError, match="it is no repository"):
        clone(str(place / "remote"), place / "copy")
    assert lost.is_dir()
    with pytest.raises(MlverError, match="Cannot write"):
        clone(str(place / "remote"), place / "remote" / "format")


def test_a_removed_version_that_is_damaged_hinders_no_push(machine: NewClone, place: Path) -> None:
    ada, bob = machine("ada"), machine("bob")
    lost, kept = os.urandom(50_000), os.urandom(50_000)
    record(ada, lost)
    for pack in (ada.root / "packs").iterdir():
        pack.unlink()
    record(ada, kept)
    with pytest.raises(IntegrityError, match="missing here"):
        push(ada)
    remove(ada, ["net:v0"])
    assert "net:v0, which was removed, is damaged here" in push(ada).notices[0]
    fetch(bob)
    assert get(bob, "net:v1", place / "out") == {"w": kept}
    with pytest.raises(NotFoundError, match="is gone"):
        restore(bob, ["net:v0"])


def test_a_lost_pack_is_sent_again(machine: NewClone, place: Path) -> None:
    ada, bob = machine("ada"), machine("bob")
    data = os.urandom(50_000)  # too few to be cut into two chunks
    record(ada, data)
    push(ada)
    for pack in (place / "remote" / "packs").iterdir():
        pack.unlink()
    fetch(bob)
    with pytest.raises(NotFoundError, match="no remote has them all"):
        get(bob, "net", place / "out")
    done = push(ada)
    assert "lost 1 of the chunks" in done.notices[0]
    assert get(bob, "net", place / "out") == {"w": data}


def test_a_deleted_cache_of_the_remote_is_rebuilt(machine: NewClone, place: Path) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"0")
    push(ada)
    fetch(bob)
    record(bob, b"1")
    for cache in (place / "bob" / ".mlver" / "remotes").iterdir():
        cache.unlink()
    assert push(bob).artifacts[0].versions == (1,)
    fetch(ada)
    assert contents(ada) == contents(bob)


def test_long_logs_come_in_segments(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"0")
    for number in range(299):
        change_tags(ada, "net:v0", [f"t{number}"])
    push(ada)
    fetch(bob)
    assert bob.resolve("net").version.tags == ada.resolve("net").version.tags
    assert len(bob.index.events_from(bob.artifact("net"), 0)) == 300
