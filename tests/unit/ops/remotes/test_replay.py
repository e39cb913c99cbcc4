"""What unpushed events mean after those of others."""

from __future__ import annotations

from mlver.ops.artifacts import rename
from mlver.ops.labels import change_tags, change_values, set_alias, set_note
from mlver.ops.remotes.fetch import fetch
from mlver.ops.remotes.push import push
from mlver.ops.removal import remove, restore
from mlver.ops.undo import reflog, undo
from tests.unit.ops.remotes.conftest import NewClone
from tests.unit.ops.remotes.stories import contents, record


def test_a_version_that_someone_else_gave_an_alias_is_not_removed(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"0")
    record(ada, b"1")
    push(ada)
    fetch(bob)
    set_alias(ada, "best", "net:v0")
    push(ada)
    remove(bob, ["net:v0"])
    assert "was not removed" in push(bob).artifacts[0].notices[0]
    assert bob.resolve("net:best").version.number == 0


def test_an_alias_is_not_moved_to_a_version_that_someone_else_removed(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"0")
    record(ada, b"1")
    push(ada)
    fetch(bob)
    remove(ada, ["net:v0"])
    push(ada)
    set_alias(bob, "best", "net:v0")
    assert "which someone else removed" in push(bob).artifacts[0].notices[0]
    assert bob.index.alias(bob.artifact("net"), "best") is None
    fetch(ada)
    assert ada.index.alias(ada.artifact("net"), "best") is None


def test_an_undo_takes_back_the_event_under_its_new_number(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"0")
    push(ada)
    fetch(bob)
    change_tags(ada, "net:v0", ["one"])
    change_tags(ada, "net:v0", ["two"])
    push(ada)
    set_note(bob, "net:v0", "to be taken back")
    undo(bob, "net")
    set_note(bob, "net:v0", "to stay")
    push(bob)
    fetch(ada)
    for person in (ada, bob):
        undone = [entry.id for entry in reflog(person, "net") if entry.undone]
        assert undone == ["3"], "the note is event 3 now, after two tags"
        assert person.resolve("net:v0").version.note == "to stay"


def test_what_was_left_out_at_a_push_does_not_come_back_after_what_was_not(machine: NewClone) -> None:
    """Bob does what Ada did, and takes it back: afterwards it is taken back, for him too."""
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"0")
    record(ada, b"1")
    set_alias(ada, "best", "net:v0")
    push(ada)
    fetch(bob)
    for person, alias in ((ada, "v1"), (bob, "v1"), (bob, "v0")):
        set_alias(person, "best", f"net:{alias}")
    remove(ada, ["net:v1"], force=True)
    set_alias(ada, "best", "net:v0")
    restore(ada, ["net:v1"])
    set_alias(ada, "best", "net:v1")
    push(ada)
    remove(bob, ["net:v1"])
    restore(bob, ["net:v1"])
    push(bob)
    assert bob.resolve("net:best").version.number == 0
    assert not bob.resolve("net:v1").version.removed
    assert push(bob).artifacts == ()
    fetch(ada)
    assert contents(ada) == contents(bob)
    assert ada.resolve("net:best").version.number == 0


def test_an_undo_of_what_was_left_out_is_an_undo_of_nothing(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"0")
    push(ada)
    fetch(bob)
    for person in (ada, bob):
        change_tags(person, "net:v0", ["same"])
    push(ada)
    undo(bob, "net")
    push(bob)
    fetch(ada)
    for person in (ada, bob):
        assert [entry.id for entry in reflog(person, "net") if entry.undone] == []
        assert person.resolve("net:v0").version.tags == ()


def test_the_labels_of_a_renumbered_version_follow_it(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"ada")
    push(ada)
    record(bob, b"bob", tags=["t"], metrics={"acc": 1})
    set_note(bob, "net:v0", "of bob")
    change_values(bob, "net:v0", {"k": [1]}, {"acc": 2})
    set_alias(bob, "bobs", "net:v0")
    remove(bob, ["net:v0"], force=True)
    record(bob, b"bob again")
    push(bob)
    fetch(ada)
    version = ada.index.version(ada.artifact("net"), 1)
    assert version is not None
    assert (version.note, version.tags, version.removed) == ("of bob", ("t",), True)
    assert (version.metadata, version.metrics) == ({"k": [1]}, {"acc": 2})
    assert contents(ada) == contents(bob)
    assert len(contents(ada)) == 3


def test_a_rename_of_both_is_the_first_ones(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"0")
    push(ada)
    fetch(bob)
    rename(ada, "net", "adas")
    push(ada)
    rename(bob, "net", "bobs")
    record(bob, b"1", "bobs")
    assert any("'net' is called 'adas' by others" in notice for notice in push(bob).notices)
    fetch(ada)
    assert ada.artifact("net").name == bob.artifact("net").name == "adas"
    assert contents(ada, "adas") == contents(bob, "adas")
    assert len(contents(ada, "adas")) == 2


def test_the_folder_of_a_renumbered_version_knows_its_number(machine: NewClone) -> None:
    from mlver.ops.status import status

    ada, bob = machine("ada"), machine("bob")
    record(ada, b"ada")
    push(ada)
    record(bob, b"bob")
    push(bob)
    assert status(bob, bob.root.parent / "model").version.name == "net:v1"
