"""Pushes and pulls that end at any request: the remote is whole, and the same command run again succeeds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mlver.errors import IntegrityError, MlverError, NotFoundError, RemoteError
from mlver.ops.add import AddRequest, add
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.remotes import opening
from mlver.ops.remotes.clone import clone
from mlver.ops.remotes.fetch import fetch
from mlver.ops.remotes.push import push
from mlver.store.local import LocalStorage
from tests.support.arrays import as_safetensors
from tests.support.faulty import FaultyStorage
from tests.support.trees import flip
from tests.unit.ops.remotes.conftest import NewClone
from tests.unit.ops.remotes.stories import contents, get, record


@contextmanager
def faulty(storage: FaultyStorage) -> Iterator[FaultyStorage]:
    """Let every remote be this storage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "open_storage", lambda address: storage)
        yield storage


def chain(repository: OpenRepository, versions: int) -> list[bytes]:
    """Record checkpoints that resemble each other, so that they are stored as differences; return their bytes."""
    random = np.random.default_rng(0)
    weights = random.normal(0, 0.02, (400, 500)).astype(np.float32)
    made = []
    folder = repository.root.parent / "chain"
    folder.mkdir()
    for _ in range(versions):
        weights = (weights * (1 + 1e-4 * random.normal(size=weights.shape))).astype(np.float32)
        made.append(as_safetensors({"w": weights}))
        (folder / "m.safetensors").write_bytes(made[-1])
        add(repository, AddRequest([folder], name="chain", type="model"))
    return made


@pytest.mark.parametrize("operation", ["create", "put", "commit", "read", "list"])
@pytest.mark.parametrize("after", [False, True])
def test_a_push_that_fails_anywhere_leaves_the_remote_whole(
    machine: NewClone, place: Path, operation: str, after: bool
) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(bob, b"bob was first")
    push(bob)
    contents_of = [os.urandom(1000) for _ in range(3)]
    for content in contents_of:
        record(ada, content)
    is_through = False
    skip = -1
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
        for number in contents(copy):
            get(copy, f"net:v{number}", place / f"out{skip}-{number}")
        copy.close()
    assert skip > 0 or operation == "list"
    push(ada)
    fetch(bob)
    assert contents(ada) == contents(bob)
    assert sorted(contents(bob)) == [0, 1, 2, 3]
    for number, content in enumerate(contents_of, 1):
        assert get(bob, f"net:v{number}", place / f"last{number}") == {"w": content}


def test_a_lost_reply_makes_no_second_event(machine: NewClone, place: Path) -> None:
    ada = machine("ada")
    record(ada, b"0")
    storage = FaultyStorage(LocalStorage(place / "remote"))
    storage.fail("create", where="log/net", after=True, error=RemoteError("The reply was lost."))
    with faulty(storage), pytest.raises(RemoteError):
        push(ada)
    push(ada)
    assert len(list((place / "remote/log/net").glob("*.json"))) == 1


def test_deltas_travel_as_deltas_with_the_bases_that_are_missing(machine: NewClone, place: Path) -> None:
    ada, bob = machine("ada"), machine("bob")
    made = chain(ada, 4)
    push(ada)
    size_here = sum(file.stat().st_size for file in (place / "ada/.mlver/packs").iterdir())
    size_there = sum(file.stat().st_size for file in (place / "remote/packs").iterdir())
    assert size_there <= size_here
    fetch(bob)
    assert get(bob, "chain:v3", place / "out") == {"m.safetensors": made[3]}
    assert get(bob, "chain:v1", place / "out1") == {"m.safetensors": made[1]}


@pytest.mark.parametrize("skip", range(0, 12, 2))
def test_a_pull_that_fails_goes_on(machine: NewClone, place: Path, skip: int) -> None:
    ada, bob = machine("ada"), machine("bob")
    data = os.urandom(20 << 20)
    record(ada, data)
    push(ada)
    fetch(bob)
    storage = FaultyStorage(LocalStorage(place / "remote"))
    storage.fail("read", where="packs", skip=skip, error=RemoteError("Injected."))
    with faulty(storage):
        try:
            get(bob, "net", place / "out")
        except RemoteError:
            assert not (place / "out").exists()
            assert get(bob, "net", place / "out") == {"w": data}
    assert get(bob, "net", place / "again") == {"w": data}
    assert list((place / "bob/.mlver/incoming/packs").iterdir()) == []


def test_what_was_received_before_is_not_asked_for_again(machine: NewClone, place: Path) -> None:
    ada, bob = machine("ada"), machine("bob")
    storage = FaultyStorage(LocalStorage(place / "remote"))
    record(ada, os.urandom(60 << 20))
    push(ada)
    fetch(bob)
    storage.fail("read", where="packs", skip=8, error=RemoteError("Injected."))
    with faulty(storage), pytest.raises(RemoteError):
        get(bob, "net", place / "out")
    before = len([name for call, name in storage.calls if call == "read" and "packs/" in name])
    storage.calls.clear()
    with faulty(storage):
        get(bob, "net", place / "out")
    assert 0 < len([name for call, name in storage.calls if call == "read" and "packs/" in name]) < before


def test_an_altered_remote_is_noticed_and_nothing_is_let_in(machine: NewClone, place: Path) -> None:
    ada, bob = machine("ada"), machine("bob")
    data = os.urandom(50_000)
    record(ada, data)
    push(ada)
    fetch(bob)
    (pack,) = (place / "remote/packs").iterdir()
    flip(pack, 1000)
    with pytest.raises(IntegrityError, match=pack.name[:20]):
        get(bob, "net", place / "out")
    assert not (place / "out").exists()
    assert list((place / "bob/.mlver").glob("packs/*")) == []


def test_a_frame_that_lies_about_its_chunk_is_not_let_in(machine: NewClone, place: Path) -> None:
    from mlver.digests import chunk_id
    from mlver.store.frames import FrameHeader, build_frame
    from mlver.store.pack import PackWriter, pack_name

    ada, bob = machine("ada"), machine("bob")
    record(ada, b"the truth")
    push(ada)
    fetch(bob)
    (pack,) = (place / "remote/packs").iterdir()
    pack.unlink()
    storage = LocalStorage(place / "remote")
    writer = PackWriter(storage.stage())
    writer.append(build_frame(FrameHeader(chunk_id(b"the truth"), 5, 0), [b"a lie"]))
    identity, _ = writer.finish()
    writer.staged.commit(pack_name(identity))
    with pytest.raises(IntegrityError):
        get(bob, "net", place / "out")
    assert list((place / "bob/.mlver").glob("packs/*")) == []
    assert list((place / "bob/.mlver").glob("incoming/packs/*")) == []


@pytest.mark.parametrize("offset", [0, 20, 100, 200])
def test_a_damaged_event_stops_a_fetch_and_nothing_changes(machine: NewClone, place: Path, offset: int) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"0")
    push(ada)
    flip(place / "remote/log/net/000000000000.json", offset)
    with pytest.raises(IntegrityError):
        fetch(bob)
    with pytest.raises(NotFoundError):
        bob.resolve("net:v0")


def test_a_missing_event_is_no_end(machine: NewClone, place: Path) -> None:
    ada, bob = machine("ada"), machine("bob")
    for number in range(6):
        record(ada, b"%d" % number)
    push(ada)
    for name in ("000000000003.json", "000000000000-000000000003.segment"):
        (place / "remote/log/net" / name).unlink()
    with pytest.raises(MlverError, match=r"lost event 3|missing"):
        fetch(bob)


def test_a_newer_layout_is_refused(machine: NewClone, place: Path) -> None:
    ada = machine("ada")
    (place / "remote/format").chmod(0o644)
    (place / "remote/format").write_text("mlver 2\n")
    record(ada, b"0")
    for verb in (push, fetch):
        with pytest.raises(RemoteError, match="does not know: 'mlver 2'"):
            verb(ada)
