from __future__ import annotations

import errno
import fcntl
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlver.errors import IntegrityError, MlverError
from mlver.store import exclusive, temporary
from mlver.store.allocation import allocate
from mlver.store.exclusive import publish_exclusively
from mlver.store.local import LocalStorage


def all_files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_blobs_are_read_only_and_nothing_temporary_stays(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create("log/a/1", b"x")
    assert not storage.create("log/a/1", b"y")
    storage.put("HEAD", b"a")
    storage.put("HEAD", b"b")
    staged = storage.stage()
    staged.write(b"z")
    staged.commit("packs/p")
    storage.stage().abort()
    assert all_files(tmp_path) == ["HEAD", "log/a/1", "packs/p"]
    for name in all_files(tmp_path):
        assert (tmp_path / name).stat().st_mode & 0o222 == 0


def test_an_absent_root_is_not_an_empty_storage(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "unmounted")
    calls = (
        lambda: storage.list("packs"),
        lambda: storage.exists("HEAD"),
        lambda: storage.read("HEAD"),
        lambda: storage.delete("HEAD"),
        lambda: storage.put("HEAD", b""),
        storage.stage,
        storage.sweep,
        lambda: storage.sync(""),
    )
    for call in calls:
        with pytest.raises(MlverError, match="unmounted' does not exist"):
            call()
    assert not (tmp_path / "unmounted").exists()


def test_nothing_follows_a_link_inside_the_storage(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "packs").symlink_to(outside)
    (root / "HEAD").symlink_to(outside / "secret")
    storage = LocalStorage(root)
    calls = (
        lambda: storage.read("packs/secret"),
        lambda: storage.read("HEAD"),
        lambda: storage.exists("HEAD"),
        lambda: storage.size("packs/secret"),
        lambda: storage.list("packs"),
        lambda: storage.create("packs/new", b"x"),
        lambda: storage.put("packs/new", b"x"),
        lambda: storage.delete("packs/secret"),
        lambda: storage.stage().commit("packs/new"),
    )
    for call in calls:
        with pytest.raises(IntegrityError):
            call()
    assert all_files(outside) == ["secret"]
    assert not storage.create("HEAD", b"x")
    storage.put("HEAD", b"mine")  # replaces the link, not what it points to
    assert storage.read("HEAD") == b"mine"
    assert (outside / "secret").read_bytes() == b"secret"


def test_the_root_itself_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    LocalStorage(tmp_path / "link").put("HEAD", b"x")
    assert (tmp_path / "real/HEAD").read_bytes() == b"x"


def test_a_pipe_in_the_storage_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "HEAD")
    storage = LocalStorage(tmp_path)
    for call in (lambda: storage.read("HEAD"), lambda: storage.size("HEAD"), lambda: storage.exists("HEAD")):
        with pytest.raises(IntegrityError, match="neither a file nor a folder"):
            call()


def test_a_file_where_a_folder_belongs_is_named(tmp_path: Path) -> None:
    (tmp_path / "packs").write_bytes(b"")
    storage = LocalStorage(tmp_path)
    calls: tuple[Callable[[], object], ...] = (
        lambda: storage.list("packs"),
        lambda: storage.read("packs/a"),
        lambda: storage.put("packs/a", b""),
    )
    for call in calls:
        with pytest.raises(IntegrityError, match="packs"):
            call()


def test_a_folder_in_the_place_of_a_blob_is_an_error_of_writing(tmp_path: Path) -> None:
    (tmp_path / "packs/a").mkdir(parents=True)
    storage = LocalStorage(tmp_path)
    assert not storage.create("packs/a", b"x")
    calls: tuple[Callable[[], object], ...] = (lambda: storage.put("packs/a", b"x"), lambda: storage.delete("packs/a"))
    for call in calls:
        with pytest.raises(MlverError, match="packs/a"):
            call()
    assert all_files(tmp_path) == []


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "writev", lambda descriptor, buffers: os.write(descriptor, b"".join(buffers)[:1000]))
    pieces = [os.urandom(size % 3000) for size in range(0, 30_000, 37)]
    staged = LocalStorage(tmp_path).stage()
    staged.write(*pieces)
    staged.commit("a")
    assert staged.size_bytes == sum(map(len, pieces))
    assert (tmp_path / "a").read_bytes() == b"".join(pieces)


class TestExclusiveCreation:
    @contextmanager
    def folder(self, path: Path) -> Iterator[int]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def test_a_link_whose_reply_was_lost_is_ours(self, tmp_path: Path) -> None:
        (tmp_path / "temporary").write_bytes(b"mine")
        (tmp_path / "name").hardlink_to(tmp_path / "temporary")
        with self.folder(tmp_path) as folder:
            assert publish_exclusively("temporary", folder, "name", folder)

    @pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
    def test_without_links_a_rename_that_replaces_nothing_does_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(number, "no links here")

        monkeypatch.setattr(os, "link", refuse)
        storage = LocalStorage(tmp_path)
        assert storage.create("log/a/1", b"first")
        assert not storage.create("log/a/1", b"second")
        assert storage.read("log/a/1") == b"first"
        assert all_files(tmp_path) == ["log/a/1"]

    def test_without_either_it_refuses(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refuse)
        monkeypatch.setattr(exclusive, "_RENAME_NOREPLACE", 1 << 30)  # a flag that no kernel knows
        monkeypatch.setattr(exclusive, "_RENAME_EXCL", 1 << 30)
        with pytest.raises(MlverError, match="log/a/1"):
            LocalStorage(tmp_path).create("log/a/1", b"x")
        assert all_files(tmp_path) == []


class TestSweep:
    def test_what_a_dead_process_left_is_removed_and_what_a_living_one_writes_is_not(self, tmp_path: Path) -> None:
        code = (
            "import os, sys, pathlib; from mlver.store.local import LocalStorage\n"
            "LocalStorage(pathlib.Path(sys.argv[1])).stage().write(b'left'); os.kill(os.getpid(), 9)"
        )
        subprocess.run([sys.executable, "-c", code, tmp_path], check=False, cwd=Path(__file__).parents[3])
        storage = LocalStorage(tmp_path)
        staged = storage.stage()
        staged.write(b"living")
        assert len(all_files(tmp_path)) == 2
        assert LocalStorage(tmp_path).sweep() == 1
        staged.commit("packs/a")
        assert storage.read("packs/a") == b"living"
        assert all_files(tmp_path) == ["packs/a"]
        assert storage.sweep() == 0

    def test_files_of_other_machines_and_strangers_stay(self, tmp_path: Path) -> None:
        (tmp_path / "tmp").mkdir()
        (tmp_path / "tmp/00000000-1-abcdef").write_bytes(b"")
        (tmp_path / "tmp/notes.txt").write_bytes(b"")
        assert LocalStorage(tmp_path).sweep() == 0
        assert len(all_files(tmp_path)) == 2

    def test_where_there_are_no_locks_nothing_is_removed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.ENOLCK, "no locks here")

        monkeypatch.setattr(fcntl, "flock", refuse)
        storage = LocalStorage(tmp_path)
        staged = storage.stage()
        staged.write(b"x")
        assert storage.sweep() == 0
        staged.commit("a")
        assert storage.read("a") == b"x"

    def test_an_empty_storage_has_nothing_to_sweep(self, tmp_path: Path) -> None:
        assert LocalStorage(tmp_path).sweep() == 0


class TestFailingSystem:
    """Run as real limits and real permissions, in this process or a small one."""

    def test_a_full_disk_leaves_nothing_behind(self, tmp_path: Path) -> None:
        storage = LocalStorage(tmp_path)
        storage.put("HEAD", b"old")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        try:
            for write in (lambda: storage.put("HEAD", bytes(20_000)), lambda: storage.create("log/a/1", bytes(20_000))):
                with pytest.raises(MlverError, match="File too large") as caught:
                    write()
                assert "tmp" in caught.value.message
                assert caught.value.hint
                assert "space" in caught.value.hint
            staged = storage.stage()
            with pytest.raises(MlverError):
                staged.write(*[bytes(100)] * 1000)
            staged.abort()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert all_files(tmp_path) == ["HEAD"]
        assert storage.read("HEAD") == b"old"

    def test_too_many_open_files(self, tmp_path: Path) -> None:
        storage = LocalStorage(tmp_path)
        storage.put("packs/a", b"x")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        probe = os.open(tmp_path, os.O_RDONLY)
        os.close(probe)
        calls = (
            lambda: storage.read("packs/a"),
            lambda: storage.list("packs"),
            lambda: storage.exists("packs/a"),
            lambda: storage.put("packs/b", b"x"),
            lambda: storage.create("packs/c", b"x"),
            lambda: storage.stage().write(b"x"),
        )

        def outcome(call: Callable[[], object], spare: int) -> str | None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (probe + spare, limits[1]))
            try:
                call()
            except MlverError as error:
                return error.hint
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            return None

        hint = "Too many files are open at once; raise the limit with 'ulimit -n'."
        for call in calls:
            assert outcome(call, 0) == hint
            assert {outcome(call, spare) for spare in (1, 2, 3)} <= {hint, None}
        assert storage.read("packs/a") == b"x"

    def test_no_descriptor_is_left_open(self, tmp_path: Path) -> None:
        storage = LocalStorage(tmp_path)
        before = len(os.listdir("/dev/fd"))
        storage.put("packs/a", b"x")
        storage.create("packs/a", b"y")
        storage.read("packs/a")
        storage.list("packs")
        storage.exists("packs/none")
        storage.delete("packs/none")
        storage.sync("packs")
        storage.sweep()
        for name in ("packs/none", "no/folder", "../up"):
            with pytest.raises(MlverError):
                storage.read(name)
        with pytest.raises(IntegrityError):
            storage.stage().commit("../up")
        storage.stage().abort()
        assert len(os.listdir("/dev/fd")) == before

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become someone else")
    def test_no_permission(self, tmp_path: Path) -> None:
        LocalStorage(tmp_path).put("packs/a", b"x")
        for folder in (*tmp_path.parents, tmp_path):
            if folder != Path("/tmp"):
                folder.chmod(folder.stat().st_mode | 0o055)
        storage = LocalStorage(tmp_path)
        os.seteuid(65534)
        try:
            assert storage.read("packs/a") == b"x"
            for write in (
                lambda: storage.put("packs/a", b"y"),
                lambda: storage.create("packs/b", b"y"),
                lambda: storage.delete("packs/a"),
                storage.stage,
            ):
                with pytest.raises(MlverError, match="Permission denied") as caught:
                    write()
                assert caught.value.hint
        finally:
            os.seteuid(0)
        assert storage.read("packs/a") == b"x"


def test_of_many_processes_one_creates(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from mlver.store.local import LocalStorage\n"
        "storage = LocalStorage(pathlib.Path(sys.argv[1]))\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print([n for n in range(50) if storage.create(f'log/a/{n}', sys.argv[2].encode() * 5000)])"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [
        subprocess.Popen(
            [*command, digit], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
        )
        for digit in "0123"
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    won = [eval(process.communicate()[0]) for process in processes]
    assert sorted(sum(won, [])) == list(range(50))  # noqa: RUF017
    storage = LocalStorage(tmp_path)
    for digit, events in zip("0123", won, strict=True):
        for event in events:
            assert storage.read(f"log/a/{event}") == digit.encode() * 5000
    assert storage.list("") == ["log"]
    assert len(all_files(tmp_path)) == 50


def test_blobs_of_all_folders_are_listed_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)
    for name in ("log/a/1", "log/a/b/2", "log/3"):
        storage.put(name, b"x" * len(name))
    (tmp_path / "log/empty").mkdir()
    (tmp_path / "log/link").symlink_to("a")
    os.mkfifo(tmp_path / "log/pipe")
    with pytest.raises(MlverError):  # a link or a pipe is nothing that a storage has
        storage.list_blobs("log")
    (tmp_path / "log/link").unlink()
    (tmp_path / "log/pipe").unlink()
    assert {name: blob.size_bytes for name, blob in storage.list_blobs("log").items()} == {"3": 5, "a/1": 7, "a/b/2": 9}
    assert storage.list_blobs("absent") == {}
    real = LocalStorage.list
    monkeypatch.setattr(LocalStorage, "list", lambda self, folder: [*real(self, folder), "gone since"])
    assert "gone since" not in storage.list_blobs("log")


def test_a_blob_that_shrinks_while_it_is_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("blob", bytes(range(100)))
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, size, offset: real(descriptor, min(size, 30), offset))
    assert storage.read("blob", 10, 80) == bytes(range(10, 90))
    monkeypatch.setattr(os, "pread", lambda descriptor, size, offset: real(descriptor, size, offset)[: 50 - offset])
    with pytest.raises(IntegrityError):
        storage.read("blob", 10, 80)


def test_the_time_is_told_where_there_is_no_room_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)
    written_ns = storage.now_ns()
    real = os.open

    def full(path: str, flags: int, *rest: int, **more: int | None) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, "full")
        return real(path, flags, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", full)
    assert storage.now_ns() >= written_ns


def test_a_name_that_vanishes_between_two_looks_was_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").write_bytes(b"x")
    folder = os.open(tmp_path, os.O_RDONLY)

    def taken(*names: str, **options: object) -> None:
        raise FileExistsError(errno.EEXIST, "taken")

    monkeypatch.setattr(os, "link", taken)
    try:
        assert not publish_exclusively("temporary", folder, "name", folder)
    finally:
        os.close(folder)


def test_a_system_that_knows_no_exclusive_rename_says_what_links_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ctypes

    (tmp_path / "temporary").write_bytes(b"x")
    folder = os.open(tmp_path, os.O_RDONLY)

    def no_links(*names: str, **options: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    try:
        with pytest.raises(OSError, match="no links here"):
            publish_exclusively("temporary", folder, "name", folder)
    finally:
        os.close(folder)


class TestTemporaryFiles:
    """Files that nobody sees until they are whole."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Iterator[int]:
        descriptor = os.open(tmp_path, os.O_RDONLY)
        yield descriptor
        os.close(descriptor)

    def test_what_cannot_be_flushed_is_thrown_away(
        self, tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = temporary.TemporaryFile(folder, str(tmp_path))

        def fails(descriptor: int) -> None:
            raise OSError(errno.EIO, "the disk fails")

        monkeypatch.setattr(os, "fsync", fails)
        file.write([b"x"])
        with pytest.raises(MlverError, match="Input/output error"):
            file.flush()
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(ValueError, match="published or discarded"):
            file.write([b"y"])

    def test_a_large_file_has_room_ahead_and_gives_the_rest_back(self, tmp_path: Path, folder: int) -> None:
        probe = os.open(tmp_path / "probe", os.O_WRONLY | os.O_CREAT)
        allocate(probe, 0, 1 << 20)
        has_room = os.fstat(probe).st_blocks > 0
        os.close(probe)
        if not has_room:
            pytest.skip("this file system finds room only for what is written")
        content = os.urandom(17 << 20)
        file = temporary.TemporaryFile(folder, str(tmp_path))
        path = tmp_path / file.name

        def room_bytes() -> int:
            return 512 * path.stat().st_blocks

        file.write([content[:1000]])
        assert room_bytes() < 1 << 20
        for start, end in ((1000, 2 << 20), (2 << 20, 3 << 20), (3 << 20, 17 << 20)):
            file.write([content[start:end]])
            assert room_bytes() > max(16 << 20, end)
            assert path.stat().st_size == end
        assert room_bytes() > 32 << 20
        file.flush()
        assert path.read_bytes() == content
        assert room_bytes() < 18 << 20

    def test_room_is_only_a_wish(self) -> None:
        reading, writing = os.pipe()
        allocate(writing, 0, 1 << 20)  # no pipe has any
        os.close(reading)
        os.close(writing)
        allocate(writing, 0, 1 << 20)

    def test_a_system_that_takes_nothing_is_an_error(
        self, tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = temporary.TemporaryFile(folder, str(tmp_path))
        monkeypatch.setattr(os, "writev", lambda descriptor, buffers: 0)
        with pytest.raises(MlverError):
            file.write([b"x"])
        assert list(tmp_path.iterdir()) == []

    def test_a_file_that_was_removed_by_someone_is_discarded_without_a_word(self, tmp_path: Path, folder: int) -> None:
        file = temporary.TemporaryFile(folder, str(tmp_path))
        (tmp_path / file.name).unlink()
        file.discard()
        file.discard()

    def test_only_files_of_the_dead_are_swept(self, tmp_path: Path, folder: int) -> None:
        host = temporary._host()
        dead = subprocess.Popen(["true"])
        dead.wait()
        for name in (
            f"{host}-{dead.pid}-x",
            f"{host}-{os.getpid()}-x",
            f"{host}-odd-x",
            f"{host}-",
            f"{host}-{9**30}-x",
        ):
            (tmp_path / name).touch()
        assert temporary.sweep(folder) == 1
        assert not (tmp_path / f"{host}-{dead.pid}-x").exists()
        (tmp_path / f"{host}-link-x").symlink_to("nowhere")
        assert temporary.sweep(folder) == 0
