"""Aliases that follow a metric, and protected ones: who may move them, and taking that back."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlver.errors import ConflictError, MlverError, NotFoundError, UsageError
from mlver.ops.add import AddRequest, add
from mlver.ops.labels import set_alias
from mlver.ops.moving import protect_alias, track_alias
from mlver.ops.opening import OpenRepository
from mlver.ops.remotes.fetch import fetch
from mlver.ops.remotes.push import push
from mlver.repository import Repository
from tests.unit.ops.remotes.conftest import NewClone, machine, place

__all__ = ["machine", "place"]


def add_net(repository: Repository, folder: Path, acc: float, **more: object) -> str:
    (folder / "w").write_text(f"{acc} {len(repository.reflog('net')) if repository.artifacts() else 0}")
    return repository.add(folder, name="net", type="t", metrics={"acc": acc}, **more).version.name  # type: ignore[arg-type]


@pytest.fixture
def net(repository: Repository, model: Path) -> Repository:
    """Three versions of `net`, the second of which is the best."""
    for acc in (0.5, 0.9, 0.7):
        add_net(repository, model, acc)
    return repository


def test_it_follows_by_itself(net: Repository, model: Path) -> None:
    assert net.track("best", "max(acc)") == "net:v1"
    assert net.track("net:worst", "min(acc)") == "net:v0"
    add_net(net, model, 0.95)
    assert net.resolve("best").name == "net:v3"
    net.meta("v2", metrics={"acc": 1})
    assert (net.resolve("best").name, net.resolve("v2").aliases) == ("net:v2", ("best",))
    net.meta("v2", remove=["acc"])
    assert net.resolve("best").name == "net:v3"
    with pytest.raises(MlverError, match="bears the alias 'best'"):
        net.remove("v3")
    assert net.remove("v3", force=True).dropped_aliases == ()
    assert net.resolve("best").name == "net:v1"
    net.restore("net:v3")
    assert net.resolve("best").name == "net:v3"


def test_nobody_moves_it(net: Repository, model: Path) -> None:
    net.track("best", "max(acc)")
    with pytest.raises(MlverError, match=r"follows max\(acc\) by itself"):
        net.alias("best", "v1")
    count = len(net.reflog())
    with pytest.raises(MlverError, match=r"follows max\(acc\) by itself"):
        add_net(net, model, 0.1, aliases=["best"])
    with pytest.raises(UsageError, match="follows a metric by itself"):
        net.protect("best")
    assert len(net.reflog()) == count


def test_it_stays_goes_and_comes_back(net: Repository, model: Path) -> None:
    net.alias("best", "v0")
    net.track("best", "max(acc)")
    net.undo()
    assert net.resolve("best").name == "net:v0", "where it was before it followed"
    net.track("best", "max(acc)")
    assert net.track("best", None) == "net:v1"
    add_net(net, model, 0.99)
    assert net.resolve("best").name == "net:v1", "it follows no more"
    with pytest.raises(NotFoundError, match="follows nothing"):
        net.track("best", None)
    net.undo()
    net.undo()
    assert net.resolve("best").name == "net:v1"
    with pytest.raises(MlverError, match="follows"):
        net.alias("best", "v2")
    net.track("new", "max(acc)")
    net.delete_alias("new")
    with pytest.raises(NotFoundError):
        net.resolve("net:new")
    net.undo()
    assert net.resolve("new").name == "net:v1"


def test_undo_of_an_add_lets_it_move_back(net: Repository, model: Path) -> None:
    net.track("best", "max(acc)")
    add_net(net, model, 0.99)
    entry = net.undo()
    assert entry.what == ["add v3", "alias best: v1 → v3 by itself"]
    assert net.resolve("best").name == "net:v1"


def test_what_follows_is_not_undone_by_what_was_before(net: Repository) -> None:
    net.alias("best", "v0")
    moved = net.reflog()[0].id
    net.track("best", "max(acc)")
    with pytest.raises(ConflictError, match=r"follows max\(acc\) by itself since"):
        net.undo(entry_id=moved)
    net.delete_alias("best")
    with pytest.raises(ConflictError):
        net.undo(entry_id=moved)


def test_a_rule_may_change(net: Repository) -> None:
    net.track("best", "max(acc)")
    assert net.track("best", "min(acc)") == "net:v0"
    net.undo()
    assert net.resolve("best").name == "net:v1"
    assert net.track("other", "max(nothing)") is None
    with pytest.raises(UsageError):
        net.track("best", "acc")


def test_a_protected_alias_moves_only_by_force(net: Repository, model: Path) -> None:
    with pytest.raises(NotFoundError):
        net.protect("prod")
    net.alias("prod", "v0")
    net.protect("prod")
    net.protect("prod")
    for refused in (
        lambda: net.alias("prod", "v1"),
        lambda: net.delete_alias("prod"),
        lambda: add_net(net, model, 0.1, aliases=["prod"]),
        lambda: net.remove("v0"),
        lambda: net.track("prod", "max(acc)"),
    ):
        with pytest.raises(MlverError, match=r"protected|protects"):
            refused()
    assert net.resolve("prod").name == "net:v0"
    net.alias("prod", "v1", force=True)
    with pytest.raises(MlverError, match="protected"):
        net.alias("prod", "v2")
    with pytest.raises(MlverError, match="protected"):
        net.undo()
    net.undo(force=True)
    assert net.resolve("prod").name == "net:v0"
    with pytest.raises(MlverError, match="protected"):
        net.alias("prod", "v2")
    assert net.remove("v0", force=True).dropped_aliases == ("net:prod",)
    net.undo()
    assert net.resolve("prod").name == "net:v0"
    with pytest.raises(MlverError, match="protected"):
        net.alias("prod", "v2")
    net.protect("prod", False)
    assert net.alias("prod", "v2").name == "net:v2"


def test_a_move_from_before_is_undone_by_force_only(net: Repository) -> None:
    net.alias("prod", "v0")
    net.alias("prod", "v1")
    moved = net.reflog()[0].id
    net.protect("prod")
    with pytest.raises(MlverError, match="protected"):
        net.undo(entry_id=moved)
    net.undo(entry_id=moved, force=True)
    assert net.resolve("prod").name == "net:v0"


def said(repository: OpenRepository, acc: float, *aliases: str) -> None:
    place = repository.root.parent / "w"
    place.write_text(f"{acc}")
    add(repository, AddRequest([place], name="net", type="t", metrics={"acc": acc}, aliases=aliases))


def alias_of(repository: OpenRepository, alias: str) -> str:
    return repository.resolve(f"net:{alias}").version.name


def test_two_who_add_at_once_do_not_meet_over_it(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    said(ada, 0.5)
    track_alias(ada, "net:best", "max(acc)")
    push(ada)
    fetch(bob)
    said(ada, 0.8)
    said(bob, 0.9)
    push(ada)
    push(bob)
    fetch(ada)
    assert alias_of(ada, "best") == alias_of(bob, "best") == "net:v2"
    said(ada, 0.7)
    fetch(bob)
    assert alias_of(ada, "best") == "net:v2"


def test_both_may_say_the_same(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    said(ada, 0.5)
    push(ada)
    fetch(bob)
    track_alias(ada, "net:best", "max(acc)")
    track_alias(bob, "net:best", "max(acc)")
    push(ada)
    push(bob)
    assert alias_of(bob, "best") == "net:v0"


def test_different_rules_are_a_conflict(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    said(ada, 0.5)
    said(ada, 0.6)
    push(ada)
    fetch(bob)
    track_alias(ada, "net:best", "max(acc)")
    track_alias(bob, "net:best", "min(acc)")
    push(ada)
    with pytest.raises(ConflictError, match=r"someone else lets it follow max\(acc\), and you min\(acc\)"):
        push(bob)
    (news,) = fetch(bob).artifacts
    assert "Theirs stands" in news.notices[0]
    assert alias_of(bob, "best") == "net:v1"


def test_a_move_of_what_someone_else_let_follow_is_left_out(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    said(ada, 0.5)
    said(ada, 0.6)
    push(ada)
    fetch(bob)
    track_alias(ada, "net:best", "max(acc)")
    set_alias(bob, "best", "net:v0")
    push(ada)
    with pytest.raises(ConflictError, match=r"let it follow max\(acc\)"):
        push(bob)
    push(bob, force=True)
    assert alias_of(bob, "best") == "net:v1"


def test_a_move_of_what_someone_else_protected_is_a_conflict(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    said(ada, 0.5, "prod")
    said(ada, 0.6)
    push(ada)
    fetch(bob)
    protect_alias(ada, "net:prod", True)
    set_alias(bob, "prod", "net:v1")
    push(ada)
    with pytest.raises(ConflictError, match="someone else protected it"):
        push(bob)
    push(bob, force=True)
    fetch(ada)
    assert alias_of(ada, "prod") == "net:v1"
    set_alias(ada, "prod", "net:v0", force=True)
    push(ada)
    fetch(bob)
    assert alias_of(bob, "prod") == "net:v0"
