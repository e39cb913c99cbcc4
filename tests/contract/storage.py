"""What every storage must do: subclass `StorageContract`, give it a `storage` fixture, and it is proved or not."""

from __future__ import annotations

import array
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlver.errors import IntegrityError, NotFoundError
from mlver.store.storage import Storage

USED_UP = r"committed|aborted|discarded"
HOSTILE = (
    "",
    "/",
    "/etc/passwd",
    "..",
    ".",
    "../up",
    "packs/../../up",
    "packs/./x",
    "packs//x",
    "packs/",
    "./x",
    "a\\b",
    "..\\up",
    "C:/x",
    "C:x",
    "//host/share",
    "a:stream",
    "nul\0x",
    "a\nb",
    "a\x7fb",
    "a\x1b[2J",
    "NUL",
    "conin$",
    "packs/con.txt",
    "COM1",
    "lpt9/x",
    "dot.",
    "dir./x",
    "space ",
    "what?",
    "st*r",
    "<x>",
    "a|b",
    '"q"',
    "\ud800",
    "x" * 256,
    "é" * 128,
    "tmp/x",
    "TMP/x",
    "tmp",
)
FRIENDLY = (
    "HEAD",
    "log/resnet50 attn/0000000042",
    ".hidden",
    "packs/" + "a" * 64 + ".pack",
    "ä/模型/😀",
    "x" * 255,
    "a..b",
)


class StorageContract:
    """Tests of every promise in `mlver.store.storage`, for any implementation."""

    @pytest.fixture
    def storage(self) -> Storage:
        raise NotImplementedError

    def test_a_blob_comes_back_as_it_was_put(self, storage: Storage) -> None:
        data = os.urandom(100_000)
        storage.put("packs/a", data)
        assert storage.read("packs/a") == data
        assert storage.size("packs/a") == len(data)
        assert storage.exists("packs/a")

    def test_an_empty_blob_is_a_blob(self, storage: Storage) -> None:
        storage.put("HEAD", b"")
        assert storage.read("HEAD") == b""
        assert storage.size("HEAD") == 0
        assert storage.exists("HEAD")

    @pytest.mark.parametrize("name", FRIENDLY)
    def test_ordinary_names_are_taken(self, storage: Storage, name: str) -> None:
        assert storage.create(name, b"x")
        assert storage.read(name) == b"x"
        storage.delete(name)
        assert not storage.exists(name)

    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_names_are_refused_everywhere(self, storage: Storage, name: str) -> None:
        calls: list[Callable[[], object]] = [
            lambda: storage.read(name),
            lambda: storage.size(name),
            lambda: storage.exists(name),
            lambda: storage.create(name, b""),
            lambda: storage.put(name, b""),
            lambda: storage.delete(name),
            lambda: storage.stage().commit(name),
        ]
        if name:  # the empty folder is the top
            calls += [lambda: storage.list(name), lambda: storage.sync(name)]
        for call in calls:
            with pytest.raises(IntegrityError):
                call()
        assert storage.list("") == []

    def test_ranges(self, storage: Storage) -> None:
        storage.put("a", b"0123456789")
        assert storage.read("a", 3) == b"3456789"
        assert storage.read("a", 3, 4) == b"3456"
        assert storage.read("a", 0, 0) == b""
        assert storage.read("a", 10) == b""
        assert storage.read("a", 10, 0) == b""

    @pytest.mark.parametrize(
        ("start", "length"), [(0, 11), (9, 2), (12, 3), (11, None), (11, 0), (0, 1 << 62), (-1, 2), (3, -1)]
    )
    def test_a_range_that_is_not_there_is_an_error_that_names_the_blob(
        self, storage: Storage, start: int, length: int | None
    ) -> None:
        storage.put("packs/a", b"0123456789")
        with pytest.raises(IntegrityError, match="packs/a"):
            storage.read("packs/a", start, length)

    @pytest.mark.parametrize("name", ["a", "packs/a", "packs"])
    def test_an_absent_blob_is_named(self, storage: Storage, name: str) -> None:
        storage.put("packs/b", b"")  # so that `packs` is a folder, which is no blob
        assert not storage.exists(name)
        with pytest.raises(NotFoundError, match=repr(name)):
            storage.read(name)
        with pytest.raises(NotFoundError, match=repr(name)):
            storage.size(name)

    def test_delete(self, storage: Storage) -> None:
        storage.put("log/a/1", b"x")
        storage.delete("log/a/1")
        storage.delete("log/a/1")
        storage.delete("nowhere/at/all")
        storage.sync("log/a")
        assert not storage.exists("log/a/1")
        assert storage.list("log/a") == []

    def test_a_list_is_sorted_and_holds_blobs_and_folders_of_one_level(self, storage: Storage) -> None:
        for name in ("log/b/2", "log/b/10", "log/B/1", "log/x", "logs/y", "z"):
            storage.put(name, b"")
        assert storage.list("log") == ["B", "b", "x"]
        assert storage.list("log/b") == ["10", "2"]
        assert storage.list("") == ["log", "logs", "z"]

    def test_an_absent_folder_is_empty(self, storage: Storage) -> None:
        assert storage.list("packs") == []
        assert storage.list("log/a/b") == []
        storage.sync("log/a/b")

    def test_create_makes_a_blob_once(self, storage: Storage) -> None:
        assert storage.create("log/a/1", b"first") is True
        assert storage.create("log/a/1", b"second") is False
        assert storage.read("log/a/1") == b"first"
        storage.delete("log/a/1")
        assert storage.create("log/a/1", b"third") is True

    def test_of_many_threads_one_creates(self, storage: Storage) -> None:
        start = threading.Barrier(8)

        def race(number: int) -> list[bool]:
            start.wait()
            return [storage.create(f"log/a/{event}", b"%d" % number) for event in range(20)]

        with ThreadPoolExecutor(8) as threads:
            made = list(threads.map(race, range(8)))
        for event in range(20):
            winners = [number for number in range(8) if made[number][event]]
            assert [int(storage.read(f"log/a/{event}"))] == winners

    def test_put_replaces_in_one_step(self, storage: Storage) -> None:
        contents = [bytes([digit]) * 50_000 for digit in range(10)]
        storage.put("HEAD", contents[0])
        done = threading.Event()

        def write() -> None:
            for content in contents * 3:
                storage.put("HEAD", content)
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        while not done.is_set():
            assert storage.read("HEAD") in contents
        writer.join()
        assert storage.read("HEAD") == contents[-1]

    def test_bytes_are_taken_at_once(self, storage: Storage) -> None:
        reused = bytearray(b"first")
        storage.put("a", reused)
        storage.create("b", memoryview(reused))
        staged = storage.stage()
        staged.write(reused)
        reused[:] = b"later"
        staged.commit("c")
        assert [storage.read(name) for name in "abc"] == [b"first"] * 3

    def test_a_staged_blob_is_unseen_until_it_is_committed(self, storage: Storage) -> None:
        staged = storage.stage()
        staged.write(b"ab", bytearray(b"c"), memoryview(b"xdex")[1:3])
        staged.write()
        staged.write(b"")
        assert storage.list("") == []
        assert not storage.exists("packs/a")
        assert staged.size_bytes == 5
        staged.commit("packs/a")
        assert storage.read("packs/a") == b"abcde"
        assert storage.list("") == ["packs"]
        assert staged.size_bytes == 5

    def test_a_staged_blob_takes_buffers_of_any_number_and_shape(self, storage: Storage) -> None:
        numbers = array.array("I", range(1000))
        grid = memoryview(numbers).cast("B").cast("I", (10, 100))
        pieces = [bytes([index % 256]) * (index % 7) for index in range(5000)]
        staged = storage.stage()
        staged.write(grid, *pieces)
        expected = numbers.tobytes() + b"".join(pieces)
        assert staged.size_bytes == len(expected)
        staged.commit("a")
        assert storage.read("a") == expected

    def test_a_staged_blob_may_be_committed_by_another_thread(self, storage: Storage) -> None:
        staged = storage.stage()
        staged.write(b"x")
        with ThreadPoolExecutor(1) as threads:
            threads.submit(staged.commit, "a").result()
        assert storage.read("a") == b"x"

    def test_an_aborted_blob_is_gone(self, storage: Storage) -> None:
        staged = storage.stage()
        staged.write(b"x")
        staged.abort()
        staged.abort()
        assert storage.list("") == []
        with pytest.raises(ValueError, match=USED_UP):
            staged.write(b"y")
        with pytest.raises(ValueError, match=USED_UP):
            staged.commit("a")

    def test_a_committed_blob_is_used_up(self, storage: Storage) -> None:
        staged = storage.stage()
        staged.write(b"x")
        staged.commit("a")
        staged.abort()
        assert storage.read("a") == b"x"
        with pytest.raises(ValueError, match=USED_UP):
            staged.commit("b")
        with pytest.raises(ValueError, match=USED_UP):
            staged.write(b"y")

    def test_committing_a_content_addressed_blob_twice_is_fine(self, storage: Storage) -> None:
        for _ in range(2):
            staged = storage.stage()
            staged.write(b"same")
            staged.commit("packs/a")
        assert storage.read("packs/a") == b"same"

    def test_many_blobs_are_staged_at_once(self, storage: Storage) -> None:
        staged = [storage.stage() for _ in range(5)]
        for index, blob in enumerate(staged):
            blob.write(b"%d" % index)
        for index, blob in enumerate(staged):
            blob.commit(f"packs/{index}")
        assert [storage.read(f"packs/{index}") for index in range(5)] == [b"%d" % index for index in range(5)]
