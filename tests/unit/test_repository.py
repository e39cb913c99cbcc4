from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlver
from mlver.errors import MlverError
from tests.support.places import quick_folder
from tests.support.process import environment
from tests.support.trees import blobs, flip, read_tree, write_tree


@pytest.fixture
def home() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture
def repository(home: Path) -> Iterator[mlver.Repository]:
    with mlver.Repository.init(home) as made:
        yield made


def test_importing_mlver_imports_nothing_heavy() -> None:
    code = "import sys, mlver; print(*{'numpy', 'blake3', 'sqlite3', 'json', 'zstandard'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_names_of_the_package() -> None:
    for name in mlver.__all__:
        assert getattr(mlver, name)
    assert issubclass(mlver.ConflictError, mlver.MlverError)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mlver.nothing


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ("MlverError", "error", 1),
        ("NotFoundError", "not-found", 1),
        ("UsageError", "usage", 2),
        ("NotARepositoryError", "not-a-repository", 10),
        ("IntegrityError", "integrity", 12),
        ("RemoteError", "remote", 13),
        ("ConflictError", "conflict", 14),
    ],
)
def test_kinds_and_codes_of_errors_never_change(error: str, kind: str, code: int) -> None:
    made = getattr(mlver, error)("What happened.", "What helps.")
    assert (made.kind, made.exit_code, str(made), made.message, made.hint) == (
        kind, code, "What happened.", "What happened.", "What helps."
    )  # fmt: skip
    assert isinstance(made, MlverError)


def test_what_the_documentation_shows(repository: mlver.Repository, home: Path) -> None:
    write_tree(home / "model", {"w": b"1"})
    version = repository.add(
        str(home / "model"), name="resnet50_attn", type="resnet50", metrics={"val_acc": 0.9}
    ).version
    assert version.name == "resnet50_attn:v0"
    assert repository.alias("best").name == "resnet50_attn:v0"
    assert repository.pull("best", str(home / "out")).written == ("w",)
    assert [artifact.name for artifact in repository.artifacts()] == ["resnet50_attn"]
    assert repository.log(limit=1)[0].id == version.id
    assert repository.status(str(home / "model")).is_clean
    assert repository.manifest("best").file("w").size_bytes == 1
    assert repository.path == home / ".mlver"


def test_files_are_opened_like_any_binary_file(repository: mlver.Repository, home: Path) -> None:
    data = os.urandom(5 << 20)
    repository.add(write_tree(home / "m", {"w": data, "lines": b"a\nb\nc", "none": b""}), name="net", type="t")
    with repository.open("net", "w") as file:
        assert isinstance(file, io.BufferedReader)
        assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
        assert file.read(10) == data[:10]
        for position in (0, 1, (1 << 20) - 1, 1 << 20, 3_333_333, len(data) - 5, len(data), len(data) + 9):
            assert file.seek(position) == position
            assert file.read(1000) == data[position : position + 1000]
        assert file.seek(-7, io.SEEK_END) == len(data) - 7
        assert file.read() == data[-7:]
        file.seek(100)
        assert file.seek(5, io.SEEK_CUR) == 105
        assert file.tell() == 105
        assert file.read() == data[105:]
        with pytest.raises((ValueError, OSError)):
            file.seek(-1)
    assert list(repository.open("net", "lines")) == [b"a\n", b"b\n", b"c"]
    assert repository.open("net", "none").read() == b""
    with pytest.raises(mlver.NotFoundError, match="no file 'x'"):
        repository.open("net", "x")


def test_damage_behind_a_file_that_is_open_is_an_error(repository: mlver.Repository, home: Path) -> None:
    repository.add(write_tree(home / "m", {"w": os.urandom(5 << 20)}), name="net", type="t")
    (pack,) = blobs(repository, "packs")
    flip(pack, pack.stat().st_size - 10_000)
    with repository.open("net", "w") as file:
        assert len(file.read(1 << 10)) == 1 << 10
        with pytest.raises(mlver.IntegrityError, match="damaged"):
            file.read()


def test_index_that_goes_bad_while_it_is_open_is_no_error(repository: mlver.Repository, home: Path) -> None:
    for number in range(5):
        repository.add(write_tree(home / "m", {"w": b"%d" % number}), name="net", type="t", tags=["x"])
        (home / ".mlver" / "index.sqlite").write_bytes(b"not a database at all" * 1000)
        assert [version.number for version in repository.log("net")] == list(range(number, -1, -1))
    assert repository.verify().ok


def test_progress_is_told_of_every_byte(repository: mlver.Repository, home: Path) -> None:
    class Told:
        def __init__(self) -> None:
            self.pieces: list[tuple[str, int, int]] = []

        def start(self, total_bytes: int, what: str) -> None:
            self.pieces.append((what, total_bytes, 0))

        def advance(self, size_bytes: int) -> None:
            what, total, done = self.pieces[-1]
            self.pieces[-1] = (what, total, done + size_bytes)

        def done(self) -> None:
            what, total, done = self.pieces[-1]
            assert total == done, what

    told = Told()
    files = {"big": os.urandom(6 << 20), "a": b"1" * 1000, "b": b"", "same": b"1" * 1000}
    size = sum(map(len, files.values()))
    repository.add(write_tree(home / "m", files), name="net", type="t", progress=told)
    repository.pull("net", home / "out", progress=told)
    assert [(what.split()[0], total) for what, total, _ in told.pieces] == [("Adding", size), ("Writing", size)]
    repository.verify(progress=told)
    assert told.pieces[-1][0] == "Verifying"
    assert read_tree(home / "out") == files
