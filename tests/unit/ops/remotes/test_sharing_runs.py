"""Runs travel with versions: what they used and made is the same for everybody, whatever number it got."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mlver.errors import RemoteError
from mlver.history.records import RunRecord
from mlver.history.run_blob import blob_name
from mlver.ids import RunId
from mlver.ops.artifacts import rename
from mlver.ops.collect.collect import collect
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.remotes.check import verify_remote
from mlver.ops.remotes.clone import clone
from mlver.ops.remotes.collect.collect import collect_remote
from mlver.ops.remotes.fetch import fetch
from mlver.ops.remotes.push import push
from mlver.ops.removal import remove
from mlver.ops.runs.begin import begin_run
from mlver.ops.runs.blobs import read_blob, read_record
from mlver.ops.runs.current import run_variable
from mlver.ops.runs.end import RunOutcome, end_run
from mlver.ops.verify import verify
from mlver.store.local import LocalStorage
from tests.support.faulty import FaultyStorage
from tests.support.trees import flip
from tests.unit.ops.remotes.conftest import NewClone
from tests.unit.ops.remotes.stories import record
from tests.unit.ops.remotes.test_remote_faults import faulty


def train(person: OpenRepository, text: str) -> RunId:
    """Run a training that makes a version of `net`."""
    run = begin_run(person, name=text, uses=["data"], record={"who": text}, patch=f"patch of {text}".encode())
    person.run_variable = run_variable(person, run)
    record(person, text.encode())
    person.run_variable = None
    end_run(person, run, RunOutcome("finished", 0, 1.0, series=f"series of {text}".encode(), output=b"out"))
    return run


def told(person: OpenRepository) -> dict[str | None, tuple[list[str], list[str]]]:
    """Return what each run used and made, by the runs' names."""
    person.index.refresh()
    return {
        run.name: ([link.name for link in run.inputs], [link.name for link in run.outputs])
        for run in person.runs.runs()
    }


def by_name(person: OpenRepository, name: str) -> RunRecord:
    person.index.refresh()
    (run,) = person.runs.find(name)
    return run


def test_runs_of_two_machines_do_not_collide(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"images", "data")
    push(ada)
    fetch(bob)
    train(ada, "of ada")
    train(bob, "of bob")
    begin_run(bob, name="bob looks", uses=["net:v0"])
    assert push(ada).run_count == 1
    assert push(bob).run_count == 2
    assert fetch(ada).run_count == 2
    everything = {
        "of ada": (["data:v0"], ["net:v0"]),
        "of bob": (["data:v0"], ["net:v1"]),
        "bob looks": (["net:v1"], []),
    }
    assert told(ada) == told(bob) == everything
    assert (push(ada).run_count, fetch(ada).run_count) == (0, 0)


def test_a_clone_has_all_that_runs_left(machine: NewClone, place: Path) -> None:
    ada = machine("ada")
    record(ada, b"images", "data")
    train(ada, "first")
    push(ada)
    copy = open_repository(Path(clone(str(place / "remote"), place / "copy").path) / ".mlver")
    run = by_name(copy, "first")
    assert run == by_name(ada, "first")
    assert run.series is not None
    assert read_blob(copy, run.series) == b"series of first"
    assert read_blob(copy, run.code["patch"]) == b"patch of first"
    assert read_record(copy, run)["who"] == "first"
    assert verify(copy).damaged == ()
    assert verify_remote(ada).damaged == ()


def test_news_of_a_run_that_was_shared_while_it_ran(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    run = begin_run(ada, name="long")
    push(ada)
    assert fetch(bob).run_count == 1
    assert by_name(bob, "long").status == "running"
    end_run(ada, run, RunOutcome("failed", 1, 2.0))
    assert push(ada).run_count == 1
    assert fetch(bob, dry_run=True).run_count == 1
    assert by_name(bob, "long").status == "running"
    assert fetch(bob).run_count == 1
    assert by_name(bob, "long").status == "failed"


def test_a_version_that_joined_another_artifact_is_found(machine: NewClone) -> None:
    """Ada's `net` is in a log of another name, so what bob made as `net` is said again in that one."""
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"0", "draft")
    record(ada, b"1", "draft")
    rename(ada, "draft", "net")
    push(ada)
    record(bob, b"images", "data")
    train(bob, "weights")
    begin_run(bob, name="look", uses=["net:v0"])
    push(bob)
    fetch(ada)
    assert told(bob) == told(ada) == {"weights": (["data:v0"], ["net:v2"]), "look": (["net:v2"], [])}
    assert [link.is_known for link in by_name(ada, "look").inputs] == [True]


def test_what_was_not_pushed_is_an_input_that_others_do_not_know(machine: NewClone) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"images", "data")
    train(ada, "first")
    push(ada, ["net:v0"])
    fetch(bob)
    (link,) = by_name(bob, "first").inputs
    assert (link.name, link.is_known) == ("data:v0", False)
    record(bob, b"other images", "data")
    (link,) = by_name(bob, "first").inputs
    assert not link.is_known, "another version of that name and number is not meant"
    graph = bob.runs.graph()
    ((used, _),) = graph.used
    assert used[0].startswith("data@")
    assert used in graph.versions


@pytest.mark.parametrize("harm", [lambda path: flip(path, 20), lambda path: path.unlink()])
def test_what_a_remote_lost_of_a_run_is_said_and_mended(
    machine: NewClone, place: Path, harm: Callable[[Path], None]
) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"images", "data")
    train(ada, "first")
    push(ada)
    series = by_name(ada, "first").series
    assert series is not None
    harm(place / "remote" / blob_name(series))
    assert fetch(bob).artifacts != (), "versions come all the same"
    assert [notice for notice in bob.notices if blob_name(series) in notice]
    found = verify_remote(ada)
    assert [(damage.kind, damage.name) for damage in found.damaged] == [("blob", blob_name(series))]
    assert "1 of 1" in push(ada).notices[0]
    assert verify_remote(ada).damaged == ()
    assert not (bob.root / blob_name(series)).exists()
    assert read_blob(bob, series) == b"series of first", "who wants it gets it from there now"
    assert (bob.root / blob_name(series)).exists()


def test_what_is_lost_here_of_a_run_keeps_nobody_from_pushing(machine: NewClone, place: Path) -> None:
    ada = machine("ada")
    record(ada, b"images", "data")
    train(ada, "first")
    series = by_name(ada, "first").series
    assert series is not None
    (ada.root / blob_name(series)).unlink()
    result = push(ada)
    assert [blob_name(series) in notice for notice in result.notices] == [True]
    assert (place / "remote" / "log" / "net").is_dir()
    assert not (place / "remote" / blob_name(series)).exists()


def test_a_damaged_event_of_runs_is_named_and_mended(machine: NewClone, place: Path) -> None:
    ada = machine("ada")
    begin_run(ada, name="first")
    push(ada)
    flip(place / "remote" / "runs" / "log" / "000000000000.json", 50)
    assert [damage.name for damage in verify_remote(ada).damaged] == ["runs/log/000000000000.json"]
    push(ada)
    assert verify_remote(ada).ok


def test_many_push_runs_at_once(machine: NewClone) -> None:
    people = [machine(f"p{number}") for number in range(3)]
    record(people[0], b"images", "data")
    push(people[0])
    for person in people[1:]:
        fetch(person)
    for number, person in enumerate(people):
        train(person, f"run {number}")

    def work(person: OpenRepository) -> None:
        mine = open_repository(person.root)
        push(mine)
        mine.close()

    threads = [threading.Thread(target=work, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for person in people:
        fetch(person)
    assert told(people[0]) == told(people[1]) == told(people[2])
    assert sorted(made for _, (made,) in told(people[0]).values()) == ["net:v0", "net:v1", "net:v2"]


def whole(person: OpenRepository) -> list[str | None]:
    """Return the names of the runs that somebody knows, after reading all that they left."""
    person.index.refresh()
    runs = person.runs.runs()
    for run in runs:
        assert read_record(person, run)["who"] == run.name
        assert read_blob(person, run.code["patch"]) == f"patch of {run.name}".encode()
        if run.series is not None:
            assert read_blob(person, run.series) == f"series of {run.name}".encode()
    return [run.name for run in runs]


@pytest.mark.parametrize("operation", ["create", "put", "commit", "read", "list"])
@pytest.mark.parametrize("after", [False, True])
def test_a_push_of_runs_that_ends_anywhere_leaves_the_remote_whole(
    machine: NewClone, place: Path, operation: str, after: bool
) -> None:
    """Whoever clones in between finds all that each run left which there is, and the next push brings the others."""
    ada, bob = machine("ada"), machine("bob")
    record(bob, b"images", "data")
    push(bob)
    fetch(ada)
    for name in ("first", "second"):
        train(ada, name)
    skip, is_through = -1, False
    while not is_through:
        skip += 1
        storage = FaultyStorage(LocalStorage(place / "remote"))
        storage.fail(operation, skip=skip, after=after, error=RemoteError("Injected."))
        try:
            with faulty(storage):
                push(ada)
            is_through = True
        except RemoteError:
            pass
        copy = open_repository(Path(clone(str(place / "remote"), place / f"copy{skip}").path) / ".mlver")
        whole(copy)
        copy.close()
    assert skip > 0 or operation in ("list", "commit")
    push(ada)
    fetch(bob)
    assert sorted(map(str, whole(bob))) == ["first", "second"]
    assert told(bob) == told(ada)


@pytest.mark.parametrize("operation", ["create", "put", "commit", "read"])
def test_a_fetch_of_runs_that_ends_anywhere_goes_on(machine: NewClone, place: Path, operation: str) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"images", "data")
    for name in ("first", "second"):
        train(ada, name)
    push(ada)
    skip, is_through = -1, False
    while not is_through:
        skip += 1
        storage = FaultyStorage(LocalStorage(place / "remote"))
        storage.fail(operation, skip=skip, error=RemoteError("Injected."))
        try:
            with faulty(storage):
                fetch(bob)
            is_through = True
        except RemoteError:
            pass
        whole(bob)
    assert sorted(map(str, whole(bob))) == ["first", "second"]
    assert verify(bob).damaged == ()


def test_collecting_leaves_what_runs_need(machine: NewClone, place: Path) -> None:
    """Where versions came from is told after they are gone, here and there."""
    ada = machine("ada")
    record(ada, b"images", "data")
    train(ada, "first")
    train(ada, "second")
    remove(ada, ["net:v0", "data:v0"], force=True)
    push(ada)
    collect(ada, 0)
    collect_remote(ada, None, 0)
    copy = open_repository(Path(clone(str(place / "remote"), place / "copy").path) / ".mlver")
    assert sorted(map(str, whole(ada))) == sorted(map(str, whole(copy))) == ["first", "second"]
    assert told(copy)["first"] == (["data:v0"], ["net:v0"])
    assert verify(copy).damaged == verify_remote(ada).damaged == ()
