"""Watches: each thing once, across restarts, kills, renumbering and changes of mind."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from mlver.errors import ConflictError, IntegrityError, MlverError, UsageError
from mlver.lineage.live import process
from mlver.ops.add import AddRequest, add
from mlver.ops.artifacts import rename
from mlver.ops.collect.collect import collect
from mlver.ops.labels import set_alias
from mlver.ops.moving import track_alias
from mlver.ops.opening import OpenRepository
from mlver.ops.remotes.fetch import fetch
from mlver.ops.remotes.push import push
from mlver.ops.removal import remove
from mlver.ops.undo import undo
from mlver.ops.watch.conditions import parse_condition
from mlver.ops.watch.watch import Watch
from mlver.repository import Repository
from tests.unit.ops.remotes.conftest import NewClone, machine, place

__all__ = ["machine", "place"]


def said(repository: OpenRepository, text: str, *aliases: str, name: str = "net", acc: float = 0.0) -> None:
    folder = repository.root.parent / "files"
    folder.mkdir(exist_ok=True)
    (folder / "w").write_text(text)
    add(repository, AddRequest([folder / "w"], name=name, type="model", metrics={"acc": acc}, aliases=aliases))


def seen(repository: OpenRepository, *conditions: str, name: str | None = None, from_start: bool = False) -> list[str]:
    """Let a watch do all there is to do; return what that was."""
    found = []
    with Watch(repository, conditions, name=name, from_start=from_start) as watch:
        for pending in watch.pending():
            again = f" again {pending.attempt}" if pending.attempt > 1 else ""
            found.append(f"{pending.document['kind']} {pending.version}{again}")
            watch.end(pending)
    return found


@pytest.fixture
def opened(repository: Repository) -> OpenRepository:
    said(repository._opened, "0", "best")
    return repository._opened


def test_each_thing_once(opened: OpenRepository) -> None:
    assert seen(opened, "add", "alias:best") == [], "it begins with what happens from now on"
    said(opened, "1")
    said(opened, "2", "best")
    assert seen(opened, "add", "alias:best") == ["add net:v1", "add net:v2", "alias net:v2"]
    assert seen(opened, "add", "alias:best") == []
    said(opened, "x", "best", name="other")
    assert seen(opened, "add", "alias:best") == ["add other:v0", "alias other:v0"]
    set_alias(opened, "best", "net:v0")
    set_alias(opened, "best", "net:v1")
    set_alias(opened, "best", "net:v0")
    assert seen(opened, "add", "alias:best") == ["alias net:v0", "alias net:v1", "alias net:v0"]


def test_an_artifact_that_is_renamed(opened: OpenRepository) -> None:
    assert seen(opened, "add") == []
    said(opened, "1")
    assert seen(opened, "add") == ["add net:v1"]
    rename(opened, "net", "new")
    assert seen(opened, "add") == [], "what was done is done, whatever it is called"
    said(opened, "2", name="new")
    assert seen(opened, "add") == ["add new:v2"]


def test_versions_that_are_gone_and_moves_that_were_taken_back(opened: OpenRepository) -> None:
    assert seen(opened, "add", "alias:best") == []
    said(opened, "1", "best")
    said(opened, "2")
    undo(opened, "net")
    set_alias(opened, "best", "net:v0")
    undo(opened, "net")
    assert seen(opened, "add", "alias:best") == [
        *("add net:v1", "alias net:v1", "add net:v2", "alias net:v0"),
        "alias net:v1",  # taking a move back is a move
    ]
    said(opened, "3")
    remove(opened, ["net:v3"])
    collect(opened, 0)
    assert seen(opened, "add", "rm", name="w", from_start=True)[-2:] == ["add net:v3", "rm net:v3"]
    assert seen(opened, "add", "alias:best") == ["add net:v3"]


def test_from_the_start(opened: OpenRepository) -> None:
    assert seen(opened, "add", name="all", from_start=True) == ["add net:v0"]
    assert seen(opened, "add", name="all", from_start=True) == []


def test_what_was_cut_off_comes_again(opened: OpenRepository) -> None:
    assert seen(opened, "add") == []
    said(opened, "1")
    said(opened, "2")
    identities = set()
    for _ in range(2):
        with Watch(opened, ["add"]) as watch:
            pending = next(watch.pending())
            identities.add(pending.id)
            assert pending.version == "net:v1"
    assert len(identities) == 1, "whoever does it can tell that it is the same"
    assert seen(opened, "add") == ["add net:v1 again 3", "add net:v2"]


def test_a_line_that_was_cut_off_means_nothing(opened: OpenRepository) -> None:
    seen(opened, "add", name="w")
    said(opened, "1")
    journal = opened.root / "watch" / "w.jsonl"
    before = journal.read_bytes()
    assert seen(opened, "add", name="w") == ["add net:v1"]
    lines = journal.read_bytes().removeprefix(before).splitlines(keepends=True)
    assert len(lines) == 3, "begun, ended, moved on"
    after = [["add net:v1"], ["add net:v1 again 2"], [], []]
    for whole, expected in enumerate(after):
        for torn in (b"", b'{"start": "00'):
            journal.write_bytes(before + b"".join(lines[:whole]) + torn)
            assert seen(opened, "add", name="w") == expected, (whole, torn)
            assert seen(opened, "add", name="w") == []


def test_only_the_very_process_is_ended(opened: OpenRepository) -> None:
    """Numbers of processes are used again, and a journal may have come with the repository."""
    seen(opened, "add", name="w")
    said(opened, "1")
    with Watch(opened, ["add"], name="w") as watch:
        pending = next(watch.pending())
    journal = opened.root / "watch" / "w.jsonl"
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        for wrong in ({"started": 1}, {"boot": "x"}, {"host": "x"}):
            by = {**asdict(process(other.pid)), **wrong}
            with journal.open("a") as file:
                file.write(json.dumps({"run": pending.id, "by": by}) + "\n")
            with Watch(opened, ["add"], name="w") as watch:
                next(watch.pending())
            assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_damaged_journal_is_told_of(opened: OpenRepository) -> None:
    seen(opened, "add", name="w")
    journal = opened.root / "watch" / "w.jsonl"
    journal.write_bytes(b"rubbish\n" + journal.read_bytes())
    with pytest.raises(IntegrityError, match="Line 1 of"):
        seen(opened, "add", name="w")


def test_one_process_at_a_time(opened: OpenRepository) -> None:
    with Watch(opened, ["add"]):
        with pytest.raises(ConflictError, match="runs already"):
            Watch(opened, ["add"])
        assert seen(opened, "add", name="other") == []
        assert seen(opened, "alias") == []


def test_what_it_waits_for_may_change(opened: OpenRepository) -> None:
    seen(opened, "add", name="w")
    said(opened, "1", "best")
    assert seen(opened, "add", name="w") == ["add net:v1"]
    assert seen(opened, "add", "alias:best", name="w") == [], "what was before is settled"
    said(opened, "2", "best")
    assert seen(opened, "add", "alias:best", name="w") == ["add net:v2", "alias net:v2"]


def test_what_is_fetched_and_renumbered(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    said(ada, "0")
    push(ada)
    fetch(bob)
    said(bob, "b1", "best")
    assert seen(bob, "add", "alias:best") == []
    said(bob, "b2", "best")
    assert seen(bob, "add", "alias:best") == ["add net:v2", "alias net:v2"]
    said(ada, "a1")
    push(ada)
    fetch(bob)
    assert bob.resolve("net:best").version.number == 3, "it was renumbered"
    assert seen(bob, "add", "alias:best") == ["add net:v1"], "theirs, and nothing of what was done or settled"
    said(bob, "b3")
    assert seen(bob, "add", "alias:best") == ["add net:v4"]
    push(bob)
    assert seen(bob, "add", "alias:best") == []


def test_what_moved_by_itself_elsewhere(machine: NewClone) -> None:
    """Whoever deploys what is best must end with the best, whatever came in between."""
    ada, bob = machine("ada"), machine("bob")
    said(ada, "0", acc=0.1)
    track_alias(ada, "net:best", "max(acc)")
    push(ada)
    fetch(bob)
    assert seen(bob, "alias:best") == []
    said(bob, "b1", acc=0.9)
    assert seen(bob, "alias:best") == ["alias net:v1"]
    said(ada, "a1", acc=0.5)
    push(ada)
    fetch(bob)
    moves = seen(bob, "alias:best")
    assert moves == ["alias net:v1", "alias net:v2"]
    assert bob.resolve("net:best").version.name == "net:v2"
    assert seen(bob, "alias:best") == []


def test_an_artifact_that_joins_another(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    assert seen(bob, "add") == []
    said(ada, "0")
    push(ada)
    said(bob, "b0")
    assert seen(bob, "add") == ["add net:v0"]
    fetch(bob)
    assert seen(bob, "add") == ["add net:v0"], "theirs; ours, which is v1 now, was done"


def test_a_cache_that_is_rebuilt_means_nothing(opened: OpenRepository) -> None:
    seen(opened, "add")
    said(opened, "1")
    assert seen(opened, "add") == ["add net:v1"]
    opened.close()
    (opened.root / "index.sqlite").unlink()
    with Repository.open(opened.root.parent) as again:
        assert seen(again._opened, "add") == []


@pytest.mark.parametrize(
    ("text", "document", "fits"),
    [
        ("add", {}, True),
        ("add:net", {}, True),
        ("add:type=model", {}, True),
        ("add:type=mod*,artifact=n?t", {}, True),
        ("add:type=data", {}, False),
        ("add:tag=good", {"tags": ["x", "good"]}, True),
        ("add:tag=good", {"tags": []}, False),
        ("alias:best", {"kind": "alias", "alias": "best"}, True),
        ("alias:net:best", {"kind": "alias", "alias": "best"}, True),
        ("alias:other:best", {"kind": "alias", "alias": "best"}, False),
        ("alias:best", {"kind": "alias", "alias": "best", "version": None}, False),
        ("tag:good", {"kind": "tag", "tag": "good", "present": True}, True),
        ("tag:good", {"kind": "tag", "tag": "good", "present": False}, False),
        ("meta:acc", {"kind": "meta", "key": "acc"}, True),
        ("rm", {"kind": "rm"}, True),
        ("rm", {}, False),
    ],
)
def test_conditions(text: str, document: dict[str, object], fits: bool) -> None:
    whole = {"kind": "add", "artifact": "net", "type": "model", "version": "net:v1", "tags": [], **document}
    assert parse_condition(text).fits(whole) is fits


@pytest.mark.parametrize(
    "text", ["", "push", "add:", "alias:", "alias:a,", "add:x=1", "add:type=", "alias:a=b", "rm:tag=x"]
)
def test_conditions_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="nothing to wait for"):
        parse_condition(text)


def test_names(opened: OpenRepository, tmp_path: Path) -> None:
    for bad in ("", "a/b", "../x", "-x", "a" * 65):
        with pytest.raises(UsageError):
            Watch(opened, ["add"], name=bad)
    with pytest.raises(UsageError, match="nothing to wait for"):
        Watch(opened, [])
    (opened.root / "watch").rmdir() if (opened.root / "watch").exists() else None
    (opened.root / "watch").symlink_to(tmp_path / "nowhere")
    with pytest.raises(MlverError):
        Watch(opened, ["add"])


def test_from_python(repository: Repository, model: Path) -> None:
    repository.add(model, name="net", type="t")
    assert list(repository.watch("add", name="py")) == []
    (model / "w").write_bytes(b"1")
    repository.add(model)
    for _ in range(2):
        for happened in repository.watch("add", name="py"):
            assert happened["version"] == "net:v1"
            break
    (happened,) = repository.watch("add", name="py")
    assert (happened["version"], happened["attempt"]) == ("net:v1", 3)
    assert list(repository.watch("add", name="py")) == []
