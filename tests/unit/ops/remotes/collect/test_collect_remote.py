"""`gc --remote` deletes what no version there uses and nothing else, whoever pushes and pulls meanwhile."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from mlver.errors import ConflictError, IntegrityError, MlverError, NotFoundError, RemoteError
from mlver.history.manifest_blob import manifest_name
from mlver.ops.collect.collect import CollectResult
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.remotes import opening, securing
from mlver.ops.remotes.check import verify_remote
from mlver.ops.remotes.clone import clone
from mlver.ops.remotes.collect.claims import read_claims
from mlver.ops.remotes.collect.collect import collect_remote
from mlver.ops.remotes.fetch import fetch
from mlver.ops.remotes.pack_listing import read_hint
from mlver.ops.remotes.push import push
from mlver.ops.remotes.receiving import obtain_manifest
from mlver.ops.removal import remove, restore
from mlver.store import pack as pack_module
from mlver.store.local import LocalStorage
from mlver.store.storage import Blob
from tests.support.faulty import FaultyStorage
from tests.support.interleaving import Killed, PausingStorage
from tests.support.trees import flip
from tests.unit.ops.remotes.conftest import NewClone
from tests.unit.ops.remotes.stories import contents, get, record
from tests.unit.ops.remotes.test_remote_faults import chain

DAY = 86_400


def grow_old(place: Path, days: float = 30) -> None:
    """Make everything at the remote so much older."""
    for file in (place / "remote").rglob("*"):
        if file.is_file():
            status = file.stat()
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns - round(days * DAY * 1e9)))


def blobs(place: Path) -> dict[str, int]:
    root = place / "remote"
    return {file.relative_to(root).as_posix(): file.stat().st_size for file in root.rglob("*") if file.is_file()}


def packs_bytes(place: Path) -> int:
    return sum(size for name, size in blobs(place).items() if name.startswith("packs/"))


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_module, "PACK_TARGET_BYTES", 1 << 17)


@pytest.fixture
def ada(machine: NewClone, place: Path) -> OpenRepository:
    """Of `net`, v0 and v2 were removed a month ago, of `chain` v1; all is at the remote."""
    made = machine("ada")
    for number in range(4):
        record(made, bytes([number]) + os.urandom(60_000))
        push(made)
    chain(made, 3)
    push(made)
    remove(made, ["net:v0", "net:v2", "chain:v1"])
    push(made)
    grow_old(place)
    return made


LEFT = {"net:v1", "net:v3", "chain:v0", "chain:v2"}


def collect(repository: OpenRepository, days: float = 14, *, dry_run: bool = False) -> CollectResult:
    return collect_remote(repository, None, days * DAY, dry_run=dry_run)


def check(repository: OpenRepository, place: Path, versions: set[str] = LEFT) -> None:
    """Check that the versions can be had from the remote alone, and are what they are here."""
    found = verify_remote(repository)
    assert found.ok, found.damaged
    target = place / f"check-{os.urandom(4).hex()}"
    copy = open_repository(Path(clone(str(place / "remote"), target).path) / ".mlver")
    try:
        for version in versions:
            assert get(copy, version, target / f"a-{version}") == get(repository, version, target / f"b-{version}")
    finally:
        copy.close()
        shutil.rmtree(target)


def test_removed_versions_go_and_all_others_stay(ada: OpenRepository, place: Path) -> None:
    before = packs_bytes(place)
    done = collect(ada)
    assert done.remote == "origin"
    assert done.versions == ("chain:v1", "net:v0", "net:v2")
    assert (done.bytes_before, done.bytes_after) == (before, packs_bytes(place))
    assert done.freed_bytes > 110_000
    assert done.deleted_packs == 2
    assert not [name for name in blobs(place) if name.startswith("collecting/")]
    check(ada, place)
    again = collect(ada)
    assert (again.versions, again.freed_bytes, again.deleted_packs, again.rewritten_packs) == ((), 0, 0, 0)


def test_a_dry_run_says_the_same_and_writes_nothing(ada: OpenRepository, place: Path) -> None:
    before = blobs(place)
    planned = collect(ada, dry_run=True)
    assert blobs(place) == before
    done = collect(ada)
    assert planned.is_dry_run
    assert (planned.versions, planned.deleted_packs, planned.rewritten_packs) == (
        done.versions,
        done.deleted_packs,
        done.rewritten_packs,
    )


def test_what_was_removed_or_pushed_lately_stays(ada: OpenRepository, place: Path) -> None:
    remove(ada, ["net:v1"])
    push(ada)
    done = collect(ada)
    assert "net:v1" not in done.versions
    assert done.waiting == ("net:v1",)
    restore(ada, ["net:v1"])
    push(ada)
    check(ada, place)
    remove(ada, ["net:v1"])
    push(ada)
    assert collect(ada, 0).versions == ("net:v1",)
    check(ada, place, LEFT - {"net:v1"})


def test_packs_of_which_half_is_superfluous_are_written_anew(machine: NewClone, place: Path) -> None:
    ada = machine("ada")
    parts = [os.urandom(30_000) for _ in range(4)]
    for part in parts:
        record(ada, part, "parts")
    push(ada)
    remove(ada, ["parts:v0", "parts:v1", "parts:v2"])
    push(ada)
    grow_old(place)
    bob = open_repository(Path(clone(str(place / "remote"), place / "bob").path) / ".mlver")
    from mlver.ops.remotes.opening import open_remote
    from mlver.ops.remotes.pack_listing import refresh_packs

    with open_remote(bob, None) as remote:
        refresh_packs(remote)
    done = collect(ada)
    assert (done.rewritten_packs, done.deleted_packs) == (1, 0)
    assert done.freed_bytes > 80_000
    check(ada, place, {"parts:v3"})
    for hint in (place / "remote" / "manifests").glob("*.packs"):
        hint.rename(hint.with_suffix(".hidden"))
    assert get(bob, "parts:v3", place / "out") == {"w": parts[3]}, "who knew the old pack looks again"
    bob.close()
    for hint in (place / "remote" / "manifests").glob("*.hidden"):
        hint.rename(hint.with_suffix(".packs"))
    assert push(ada).notices == (), "nothing was lost, and nothing is sent again"
    assert packs_bytes(place) == done.bytes_after


def test_a_web_reader_finds_what_moved(machine: NewClone, place: Path, https_server: object) -> None:
    from tests.support.servers import Server

    server = cast(Server, https_server)
    ada = machine("ada")
    parts = [os.urandom(30_000) for _ in range(4)]
    for part in parts:
        record(ada, part, "parts")
    push(ada)
    remove(ada, ["parts:v0", "parts:v1", "parts:v2"])
    push(ada)
    grow_old(place)
    assert collect(ada).rewritten_packs == 1
    name = os.urandom(6).hex()
    folder = Path(server.extra["folder"]) / name
    shutil.copytree(place / "remote", folder)
    copy = open_repository(Path(clone(f"{server.url}/{name}", place / "web").path) / ".mlver")
    try:
        assert get(copy, "parts:v3", place / "out") == {"w": parts[3]}
    finally:
        copy.close()
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("manifests/*.json.zst", "manifest|cannot be told"),
        ("packs/*.pack", "missing|damaged"),
        ("log/net/000000000004.json", "Event 4|000000000004"),
        ("names/000000000000.json", "names"),
    ],
)
@pytest.mark.parametrize("harm", ["lost", "flipped"])
def test_whatever_is_damaged_stops_it(ada: OpenRepository, place: Path, what: str, message: str, harm: str) -> None:
    for file in (place / "remote").glob(what):
        flip(file, file.stat().st_size - 20) if harm == "flipped" else file.unlink()
    for repository_has_them in (True, False):
        if not repository_has_them:
            for folder in ("manifests", "packs"):
                shutil.rmtree(ada.root / folder)
        before = blobs(place)
        if repository_has_them and what.startswith("manifests") and harm == "flipped":
            continue  # the content is known here
        with pytest.raises(IntegrityError, match=message):
            collect(ada, 0)
        assert blobs(place) == before


def test_other_machines_push_and_restore_after_it(ada: OpenRepository, machine: NewClone, place: Path) -> None:
    bob = machine("bob")
    fetch(bob)
    before = get(ada, "net:v1", place / "x")
    obtain_manifest(bob, contents(bob)[2])  # type: ignore[arg-type]
    collect(ada)
    for version in ("net:v0", "net:v2"):
        with pytest.raises(NotFoundError, match="is gone: mlver gc deleted it"):
            restore(bob, [version])
    record(bob, b"bob's")
    push(bob)
    restore(ada, ["net:v0"])  # ada has it still
    push(ada)
    fetch(bob)
    check(ada, place, LEFT | {"net:v0"})
    assert get(bob, "net:v1", place / "y") == before
    assert contents(ada) == contents(bob)


def test_a_restored_version_without_content_is_not_pushed(ada: OpenRepository, machine: NewClone, place: Path) -> None:
    bob = machine("bob")
    fetch(bob)
    restore(bob, ["net:v0"])  # it is at the remote
    collect(ada, 0)
    shutil.rmtree(bob.root / "manifests")
    with pytest.raises(ConflictError, match="neither here nor at origin"):
        push(bob)
    remove(bob, ["net:v0"])
    push(bob)
    check(ada, place)


def test_the_same_content_can_be_pushed_again(ada: OpenRepository, place: Path) -> None:
    wanted = get(ada, "chain:v2", place / "x")
    collect(ada, 0)
    restore(ada, ["chain:v1"])
    push(ada)
    check(ada, place, LEFT | {"chain:v1"})
    assert get(ada, "chain:v2", place / "y") == wanted


class Short(FaultyStorage):
    """Lists four of five blobs."""

    def __init__(self, inner: LocalStorage, dropped: int) -> None:
        super().__init__(inner)
        self._dropped = dropped

    def list_blobs(self, folder: str) -> dict[str, Blob]:
        found = cast(LocalStorage, self.inner).list_blobs(folder)
        return {name: blob for number, (name, blob) in enumerate(found.items()) if number % 5 != self._dropped}


def test_a_listing_that_lies_deletes_nothing(ada: OpenRepository, place: Path) -> None:
    for dropped in range(5):
        with _storage(Short(LocalStorage(place / "remote"), dropped)), pytest.raises(IntegrityError):
            collect(ada, 0)
    check(ada, place)


class _storage:  # noqa: N801
    """Let remotes that are opened by this thread be a storage."""

    def __init__(self, storage: FaultyStorage) -> None:
        self._storage = storage
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> FaultyStorage:
        self._patch.setattr(opening, "open_storage", lambda address: self._storage)
        return self._storage

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


class Counted(FaultyStorage):
    """Dies before one call; lists blobs, too."""

    def __init__(self, inner: LocalStorage, calls: int) -> None:
        super().__init__(inner)
        self.left = calls
        self._lock = threading.Lock()

    def call(self, operation, name, inner):  # type: ignore[no-untyped-def]
        with self._lock:
            if self.left <= 0:
                raise Killed
            self.left -= 1
        return super().call(operation, name, inner)

    def list_blobs(self, folder: str) -> dict[str, Blob]:
        return self.call("list", folder, lambda: cast(LocalStorage, self.inner).list_blobs(folder))  # type: ignore[no-any-return, no-untyped-call]


def test_killed_before_any_request_it_loses_nothing_and_the_next_one_finishes(ada: OpenRepository, place: Path) -> None:
    shutil.copytree(place / "remote", place / "saved", copy_function=shutil.copy2)
    with _storage(Counted(LocalStorage(place / "remote"), 1 << 30)) as counted:
        collect(ada)
    calls = (1 << 30) - cast(Counted, counted).left
    for left in range(calls):
        shutil.rmtree(place / "remote")
        shutil.copytree(place / "saved", place / "remote", copy_function=shutil.copy2)
        with _storage(Counted(LocalStorage(place / "remote"), left)), pytest.raises(Killed):
            collect(ada)
        assert verify_remote(ada).ok, left
        grow_old(place, 3)
        collect(ada)
        assert not [name for name in blobs(place) if name.startswith("collecting/")]
        assert collect(ada).freed_bytes == 0
        assert packs_bytes(place) < 3_000_000
    check(ada, place)


# Somebody pushes meanwhile: each of the two is stopped at one request, the other one runs to its end.


class Paused(PausingStorage):
    """Stops before one call; lists blobs, too."""

    def list_blobs(self, folder: str) -> dict[str, Blob]:
        return self.call("list", folder, lambda: cast(LocalStorage, self.inner).list_blobs(folder))


def _add_again(repository: OpenRepository, content: dict[str, bytes]) -> None:
    """Add what was removed there, under another name, and push it: its chunks are known there, and superfluous."""
    record(repository, content["net:v0"], "again")
    record(repository, content["chain:v1"], "again")
    push(repository)


def _restore(repository: OpenRepository, content: dict[str, bytes]) -> None:
    restore(repository, ["net:v2", "chain:v1"])
    push(repository)


@pytest.mark.parametrize("other", [_add_again, _restore])
@pytest.mark.parametrize("first", ["collector", "pusher"])
def test_one_stops_anywhere_while_the_other_runs(
    ada: OpenRepository,
    place: Path,
    other: Callable[[OpenRepository, dict[str, bytes]], None],
    first: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(securing, "PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(securing, "_PAUSE_SECONDS", 0.01)
    content = _contents(ada, place)
    for name in ("remote", "ada"):
        shutil.copytree(place / name, place / f"saved-{name}", copy_function=shutil.copy2)
    step = int(os.environ.get("MLVER_TEST_PAUSES", "7"))
    for calls in range(0, 10_000, step):
        for name in ("remote", "ada"):
            shutil.rmtree(place / name)
            shutil.copytree(place / f"saved-{name}", place / name, copy_function=shutil.copy2)
        pusher, collector = open_repository(ada.root), open_repository(ada.root)
        try:
            done = _race(place, calls, first, partial(other, pusher, content), partial(collect, collector))
        finally:
            pusher.close()
            collector.close()
        again = open_repository(ada.root)
        try:
            for attempt in range(3):
                try:
                    push(again)
                    break
                except ConflictError:
                    assert attempt < 2
                    collect_remote(again, None, 0)  # clears up
            live = {v.name for a in again.index.artifacts() for v in again.index.versions(a)}
            assert live >= LEFT
            check(again, place, live)
        finally:
            again.close()
        if done:
            return
    raise AssertionError("it never ended")


def _contents(repository: OpenRepository, place: Path) -> dict[str, bytes]:
    """Return the content of removed versions, from the store here."""
    restore(repository, ["net:v0", "chain:v1"])
    found = {
        "net:v0": cast(bytes, get(repository, "net:v0", place / "p")["w"]),
        "chain:v1": cast(bytes, get(repository, "chain:v1", place / "q")["m.safetensors"]),
    }
    remove(repository, ["net:v0", "chain:v1"])
    push(repository)
    grow_old(place)
    return found


def _race(place: Path, calls: int, first: str, push_it: Callable[[], object], collect_it: Callable[[], object]) -> bool:
    """Stop one before its call number `calls`, run the other, let the first go on; True if it did not come so far."""
    storages = {
        "stopped": Paused(LocalStorage(place / "remote"), calls),
        "other": Paused(LocalStorage(place / "remote"), 1 << 30),
    }
    names = threading.local()
    patch = pytest.MonkeyPatch()
    patch.setattr(opening, "open_storage", lambda address: storages[names.role])
    errors: list[BaseException] = []

    def run(role: str, work: Callable[[], object]) -> None:
        names.role = role
        try:
            work()
        except (ConflictError, RemoteError, NotFoundError):
            pass  # it may have to be run again
        except BaseException as error:  # noqa: BLE001 - looked at below
            errors.append(error)
        finally:
            storages[role].paused.set()

    stopped, others = (collect_it, push_it) if first == "collector" else (push_it, collect_it)
    thread = threading.Thread(target=run, args=("stopped", stopped), daemon=True)
    try:
        thread.start()
        assert storages["stopped"].paused.wait(60)
        is_done = not thread.is_alive() or storages["stopped"]._left > -1
        run("other", others)
        storages["stopped"].go_on.set()
        thread.join(60)
    finally:
        patch.undo()
    assert not thread.is_alive()
    assert not errors, errors
    return is_done


def test_a_pack_that_is_claimed_is_sent_again_under_another_name(ada: OpenRepository, place: Path) -> None:
    storage = LocalStorage(place / "remote")
    with opening.open_remote(ada, None) as remote:
        (pack,) = read_hint(remote, contents(ada)[0])  # type: ignore[arg-type]
    doomed = f"packs/{pack}.pack"
    storage.put("collecting/0123456789abcdef", b'{"delete":["%s"]}\n' % doomed.encode())
    assert len(read_claims(storage).packs) == 1
    content = os.urandom(5_000)
    record(ada, content)
    for version in ("net:v0", "net:v2", "chain:v1"):
        restore(ada, [version])
    push(ada)
    (place / "remote" / doomed).unlink()
    storage.delete("collecting/0123456789abcdef")
    check(ada, place, LEFT | {"net:v0", "net:v2", "chain:v1", "net:v4"})


def test_a_claim_that_nobody_understands_stops_pushes(ada: OpenRepository, place: Path) -> None:
    storage = LocalStorage(place / "remote")
    for strange in (b"{}", b"[]", b'{"delete": 5}', b"\xff", b'{"delete": [5]}', b"[" * 100_000):
        storage.put("collecting/0123456789abcdef", strange)
        record(ada, os.urandom(10))
        with pytest.raises(RemoteError, match="does not know"):
            push(ada)
    collect(ada, 0)
    push(ada)


def test_a_read_only_remote_is_refused(https_server: object, machine: NewClone, place: Path) -> None:
    from mlver.ops.remotes.configure import add_remote
    from tests.support.servers import Server

    server = cast(Server, https_server)
    ada = machine("ada")
    record(ada, b"1")
    push(ada)
    name = os.urandom(6).hex()
    shutil.copytree(place / "remote", Path(server.extra["folder"]) / name)
    add_remote(ada, "web", f"{server.url}/{name}")
    with pytest.raises(RemoteError, match="Nothing can be deleted"):
        collect_remote(ada, "web", 0)


@pytest.fixture(params=["s3", "gcs", "sftp"])
def bucket(request: pytest.FixtureRequest) -> tuple[str, dict[str, str]]:
    server = request.getfixturevalue(f"{request.param}_server")
    name = os.urandom(6).hex()
    if request.param == "sftp":
        (server.folder / "data" / name).mkdir()
    return f"{server.url}/{name}", server.options


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_over_real_servers(bucket: tuple[str, dict[str, str]], place: Path) -> None:
    from mlver.ops.init import init_repository
    from mlver.ops.remotes.configure import add_remote

    url, options = bucket
    ada = open_repository(Path(init_repository(place / "ada").path))
    try:
        add_remote(ada, "origin", url, options)
        contents_of = [os.urandom(size) for size in (80_000, 80_000, 60_000, 60_000)]  # most of it goes
        for content in contents_of:
            record(ada, content)
        push(ada)
        remove(ada, ["net:v0", "net:v1"])
        push(ada)
        young = collect_remote(ada, None, DAY)
        assert (young.versions, young.freed_bytes, young.waiting) == ((), 0, ("net:v0", "net:v1"))
        done = collect_remote(ada, None, 0)
        assert done.versions == ("net:v0", "net:v1")
        assert done.freed_bytes > 130_000
        copy = open_repository(Path(clone(url, place / "copy", options).path) / ".mlver")
        try:
            for number in (2, 3):
                assert get(copy, f"net:v{number}", place / f"out{number}") == {"w": contents_of[number]}
        finally:
            copy.close()
        record(ada, contents_of[0], "again")
        push(ada)
        assert verify_remote(ada).ok
    finally:
        ada.close()


def test_errors_of_the_remote_leave_all_that_is_used(ada: OpenRepository, place: Path) -> None:
    for operation in ("put", "read", "list", "delete", "commit"):
        for skip in range(0, 40, 5):
            storage = Counted(LocalStorage(place / "remote"), 1 << 30)
            storage.fail(operation, skip=skip, error=RemoteError("Injected."))
            with _storage(storage), suppress(MlverError):
                collect(ada)
            assert verify_remote(ada).ok
    check(ada, place)
    assert manifest_name("blake3:" + "0" * 64) not in blobs(place)


def test_who_has_not_fetched_yet_takes_nothing_for_damage(ada: OpenRepository, machine: NewClone) -> None:
    bob = machine("bob")
    fetch(bob)
    remove(ada, ["net:v1"])
    push(ada)
    restore(bob, ["net:v0"])
    collect(ada, 0)
    assert verify_remote(bob).ok
    record(bob, b"bob's")
    remove(bob, ["net:v0"])
    assert push(bob).notices == ()
