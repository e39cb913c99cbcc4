"""docs/cli.md agrees with the program: its reference, exit codes, variables, revisions and decisions."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.generate import COMMAND_LINE_PAGE, generated_files
from mlver import Repository, errors
from mlver.cli.command_table import COMMANDS
from mlver.cli.main import BROKEN_PIPE, INTERRUPTED
from mlver.errors import MlverError
from tests.support.process import PROJECT, run_mlver

PAGE = (PROJECT / COMMAND_LINE_PAGE).read_text("utf-8")


def section(title: str) -> str:
    """Return the part of the page under a heading."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_reference_is_current() -> None:
    assert generated_files()[COMMAND_LINE_PAGE] == PAGE, "run dev/generate"
    assert re.findall(r"^### `mlver (\w+)`$", PAGE, re.MULTILINE) == list(COMMANDS)


def test_exit_codes_are_those_of_the_errors() -> None:
    rows = re.findall(r"^\| (\d+) \| (?:`(.+)`)? ?\|", section("Exit codes"), re.MULTILINE)
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MlverError)]
    assert {(kind.kind, kind.exit_code) for kind in classes} | {("bug", 70)} == {
        (kind, int(code)) for code, kind in rows if kind
    }
    assert {int(code) for code, kind in rows if not kind} == {0, INTERRUPTED, BROKEN_PIPE}


def test_environment_is_what_is_read() -> None:
    documented = set(re.findall(r"`([A-Z_]+)`(?=[,` |])", section("Environment"))) - {"LESS"}
    sources = "".join(path.read_text("utf-8") for path in (PROJECT / "mlver").rglob("*.py"))
    read = set(re.findall(r"environ(?:ment)?\.get\(\s*\"(\w+)\"", sources))
    read |= set(re.findall(r"^\w+_VARIABLE = \"(\w+)\"", sources, re.MULTILINE))
    assert documented == read


@pytest.mark.parametrize(
    ("revision", "number"),
    [
        *(("v4", 4), ("best", 1), ("latest", 4), ("m", 4), ("m:v4", 4), ("m:best", 1), ("m@best", 1), ("best~1", 0)),
        *(("m~2", 1), ("v4~", 3), ("first:v0", 0)),
    ],
)
def test_revisions_mean_what_the_page_says(five_versions: Repository, revision: str, number: int) -> None:
    assert five_versions.resolve(revision).number == number


def test_ids_are_revisions(five_versions: Repository) -> None:
    version = five_versions.resolve("v3")
    assert five_versions.resolve(version.id).number == 3
    assert five_versions.resolve(version.id.removeprefix("blake3:")[:12]).number == 3


@pytest.fixture(scope="module")
def five_versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """Yield a repository with v0 to v4 of `m`, once `first`; v2 is removed and v1 is `best`."""
    home = tmp_path_factory.mktemp("home")
    with Repository.init(home) as repository:
        for text in "01234":
            (home / "a.txt").write_text(text)
            repository.add(home / "a.txt", name="first", type="text")
        repository.alias("best", "v1")
        repository.remove("v2")
        repository.rename("first", "m")
        yield repository


def add(folder: Path) -> tuple[int, str, list[str]]:
    """Add a folder; return the exit code, what was said, and the files of the version."""
    done = run_mlver("add", "model", "--name", "m", "--type", "t", folder=folder)
    files = run_mlver("ls", "m", "-q", folder=folder)
    return done.code, done.err, files.out.split("\n")[:-1]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a repository with a folder `model` with one file `a` in it."""
    assert run_mlver("init", folder=tmp_path).code == 0
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a").write_text("a")
    return tmp_path


def test_add_keeps_what_the_page_says_it_keeps(home: Path) -> None:
    model = home / "model"
    (home / "elsewhere").mkdir()
    (home / "elsewhere" / "b").write_text("b")
    (model / "link").symlink_to("a")
    (model / "folder").symlink_to("../elsewhere")
    (model / "empty" / "inner").mkdir(parents=True)
    (model / "run").write_text("#!")
    (model / "run").chmod(0o711)
    os.link(model / "a", model / "hard")
    (model / ".mlverignore").write_text("*.tmp\n")
    (model / "x.tmp").write_text("x")
    (model / "deep" / ".mlver").mkdir(parents=True)
    (model / "deep" / ".mlver" / "format").write_text("x")
    code, _, files = add(home)
    assert (code, files) == (0, [".mlverignore", "a", "folder/b", "hard", "link", "run"])
    assert run_mlver("pull", "m", "-o", "out", folder=home).code == 0
    out = home / "out"
    assert [path.name for path in out.rglob("*") if os.access(path, os.X_OK) and path.is_file()] == ["run"]
    assert (out / "empty" / "inner").is_dir()
    assert not (out / "link").is_symlink()


@pytest.mark.parametrize("what", ["nowhere", "loop", "socket", "pipe", "a:b", "NUL", "x.", "bell\a", "invalid"])
def test_add_refuses_what_the_page_says_it_refuses(home: Path, what: str) -> None:
    path = home / "model" / what
    if what == "nowhere":
        path.symlink_to("absent")
    elif what == "loop":
        path.symlink_to(".")
    elif what == "socket":
        (home / "model" / "socket").parent.mkdir(exist_ok=True)
        here = Path.cwd()
        os.chdir(home / "model")  # the path of a socket has to be short
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind("socket")
        os.chdir(here)
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "invalid":
        (home / "model" / os.fsdecode(b"caf\xe9")).write_text("x")
    else:
        path.write_text("x")
    code, said, files = add(home)
    assert (code, files) == (1, [])
    assert {"bell\a": "bell", "invalid": "caf"}.get(what, what) in said


def test_names_that_differ_by_case_are_kept_and_not_pulled(home: Path) -> None:
    (home / "model" / "A").write_text("A")
    code, said, files = add(home)
    assert (code, files) == (0, ["A", "a"])
    assert "Warning: " in said
    done = run_mlver("pull", "m", "-o", "out", folder=home)
    assert done.code == 1
    assert not (home / "out").exists()


def test_log_shows_people_100_versions_and_scripts_all(home: Path) -> None:
    with Repository.open(home) as repository:
        for number in range(102):
            (home / "model" / "a").write_text(str(number))
            repository.add(home / "model", name="m", type="t")
    shown = run_mlver("log", folder=home)
    assert len(shown.out.splitlines()) == 101  # with the titles
    assert "2 older versions" in shown.err
    assert len(run_mlver("log", "-q", folder=home).out.splitlines()) == 102
    assert len(run_mlver("log", "-n", "0", "--oneline", folder=home).out.splitlines()) == 102
