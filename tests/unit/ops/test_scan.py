from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from mlver.errors import MlverError, UsageError
from mlver.ops.scan import scan
from mlver.repository import Repository
from tests.support.child import run_python
from tests.support.trees import read_tree, write_tree


def paths(folder: Path, exclude: list[str] | None = None) -> list[str]:
    found = scan([folder], exclude or [])
    return [source.path for source in found.sources] + [f"{path}/" for path in found.folders]


def test_links_are_kept_as_what_they_point_to(repository: Repository, tmp_path: Path) -> None:
    cache = write_tree(tmp_path / "cache", {"blob": b"weights", "folder/x": b"1"})
    model = tmp_path / "model"
    model.mkdir()
    (model / "w").symlink_to("../cache/blob")
    (model / "again").symlink_to(cache / "blob")
    (model / "sub").symlink_to(cache / "folder")
    repository.add(model, name="net", type="t")
    repository.pull("net", tmp_path / "out")
    assert read_tree(tmp_path / "out") == {"w": b"weights", "again": b"weights", "sub/x": b"1"}


def test_link_given_by_name_is_followed(repository: Repository, tmp_path: Path) -> None:
    write_tree(tmp_path / "real", {"a": b"1"})
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").symlink_to("real/a")
    assert paths(tmp_path / "link") == ["a"]
    assert paths(tmp_path / "file") == ["file"]


@pytest.mark.parametrize("target", [".", "..", "../model", "deep/.."])
def test_loop_is_refused_by_name(tmp_path: Path, target: str) -> None:
    model = write_tree(tmp_path / "model", {"deep/x": b"1"})
    (model / "loop").symlink_to(target)
    with pytest.raises(MlverError, match="is a link to a folder that it is in") as caught:
        scan([model])
    assert "--exclude" in str(caught.value.hint)
    assert paths(model, ["loop"]) == ["deep/x"]


def test_one_folder_by_two_ways_is_no_loop(tmp_path: Path) -> None:
    model = write_tree(tmp_path / "model", {"a/x": b"1"})
    (model / "b").symlink_to("a")
    assert paths(model) == ["a/x", "b/x"]


@pytest.mark.parametrize("target", ["nowhere", "self"])
def test_link_that_leads_nowhere_is_refused_by_name(tmp_path: Path, target: str) -> None:
    model = write_tree(tmp_path / "model", {"x": b"1"})
    (model / "self").symlink_to(target)
    with pytest.raises(MlverError, match=r"self cannot be read: .*link"):
        scan([model])
    assert paths(model, ["self"]) == ["x"]


def test_empty_folders_are_kept(repository: Repository, tmp_path: Path) -> None:
    model = write_tree(tmp_path / "model", {"x": b"1"})
    (model / "a" / "b").mkdir(parents=True)
    (model / "c").mkdir()
    assert paths(model) == ["x", "a/b/", "c/"]
    repository.add(model, name="net", type="t")
    repository.pull("net", tmp_path / "out")
    assert read_tree(tmp_path / "out") == {"x": b"1", "a/b/": None, "c/": None}


def test_only_empty_folders_are_something(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "model" / "a").mkdir(parents=True)
    repository.add(tmp_path / "model", name="net", type="t")
    repository.pull("net", tmp_path / "out")
    assert read_tree(tmp_path / "out") == {"a/": None}


def test_permission_to_execute_is_kept_and_no_other(repository: Repository, tmp_path: Path) -> None:
    model = write_tree(tmp_path / "model", {"run": b"#!", "big": bytes(2 << 20), "no": b"x"})
    (model / "run").chmod(0o4711)
    (model / "big").chmod(0o500)
    (model / "no").chmod(0o676)
    repository.add(model, name="net", type="t")
    mask = os.umask(0o027)
    try:
        repository.pull("net", tmp_path / "out")
    finally:
        os.umask(mask)
    modes = {path.name: path.stat().st_mode & 0o7777 for path in (tmp_path / "out").iterdir()}
    assert modes == {"run": 0o750, "big": 0o750, "no": 0o640}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750


def test_change_of_the_executable_bit_alone_is_a_version(repository: Repository, tmp_path: Path) -> None:
    model = write_tree(tmp_path / "model", {"run": b"#!"})
    repository.add(model, name="net", type="t")
    (model / "run").chmod(0o755)
    assert repository.add(model).version.number == 1
    (model / "run").chmod(0o644)
    assert repository.add(model).version.number == 0


@pytest.mark.parametrize("kind", ["socket", "pipe"])
def test_what_is_no_file_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    model = write_tree(tmp_path / "model", {"x": b"1"})
    if kind == "pipe":
        os.mkfifo(model / "odd")
    else:
        with socket.socket(socket.AF_UNIX) as server:
            here = os.open(model, os.O_RDONLY)
            server.bind(f"/proc/self/fd/{here}/odd")  # a socket's own path must be short
            os.close(here)
    for place in (model, model / "odd"):
        with pytest.raises(MlverError, match=r"odd is neither a file nor a folder \(a socket, pipe or device\)"):
            scan([place])
    assert paths(model, ["odd"]) == ["x"]


def test_device_is_refused() -> None:
    with pytest.raises(MlverError, match="/dev/null is neither"):
        scan([Path("/dev/null")])


NOBODY = """
import mlver.lineage.capture.git, mlver.ops.runs.provenance  # nobody may not see the standard library
os.setgroups([]), os.setgid(65534), os.setuid(65534)
with Repository.open(sys.argv[1]) as repository:
    for what in sys.argv[2:]:
        try:
            repository.add(what, name="net", type="t")
            print("added")
        except mlver.MlverError as error:
            print(error.message, error.hint)
    print(len(repository.artifacts()), repository.verify().ok)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_unreadable_files_and_folders_are_refused_by_name(tmp_path: Path) -> None:
    home = tmp_path / "home"
    Repository.init(home).close()
    (home / ".mlver" / "index.sqlite").unlink()
    closed = write_tree(home / "closed", {"a": b"1", "secret": b"2"})
    shut = write_tree(home / "shut", {"in/x": b"1"})
    fine = write_tree(home / "fine", {"a": b"1"})
    (closed / "secret").chmod(0)
    (shut / "in").chmod(0o711)
    for place in (home, home / ".mlver", *(home / ".mlver").rglob("*")):
        os.chown(place, 65534, 65534)
    for above in tmp_path.parents:
        if above.stat().st_mode & 0o005 != 0o005 and above != Path("/"):
            above.chmod(above.stat().st_mode | 0o055)
    tmp_path.chmod(0o755)
    out = run_python(NOBODY, home, closed, shut, fine).splitlines()
    assert out[0].startswith(f"{closed}/secret cannot be read: Permission denied. Leave it out with --exclude")
    assert out[1].startswith(f"{shut}/in cannot be read: Permission denied.")
    assert out[2:] == ["added", "1 True"]


@pytest.mark.parametrize(
    "name", ["a:b", "NUL", "con.txt", "a\\b", "a\nb", "x.", "x ", 'q"', os.fsdecode(b"\xff"), "\x1b[2J"]
)
def test_names_that_would_not_survive_windows_are_refused_by_name(
    repository: Repository, tmp_path: Path, name: str
) -> None:
    for number, place in enumerate(["f", "d/f"]):
        folder = tmp_path / str(number)
        write_tree(folder, {"x": b"1", (name if place == "f" else f"{name}/f"): b"2"})
        with pytest.raises(MlverError) as caught:
            repository.add(folder, name="net", type="t")
        assert repr(name)[1:-1] in caught.value.message
        assert ".mlverignore" in str(caught.value.hint)
    empty = tmp_path / "2"
    (empty / name).mkdir(parents=True)
    with pytest.raises(MlverError, match="cannot be kept"):
        repository.add(empty, name="net", type="t")
    assert repository.artifacts() == []


def test_names_that_collide_elsewhere_are_warned_of(repository: Repository, tmp_path: Path) -> None:
    model = write_tree(tmp_path / "model", {"A": b"1", "a": b"2"})
    done = repository.add(model, name="net", type="t")
    assert "'A' and 'a' are one path where case is ignored" in done.warnings[0]


def test_folders_that_nest_too_deep_are_refused(tmp_path: Path) -> None:
    top = tmp_path / "m"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        with pytest.raises(MlverError, match="m has folders that nest too deep"):
            scan([top])
    finally:
        subprocess.run(["rm", "-rf", top], check=True)  # Python's own way recurses, too


def test_deepest_folders_come_back(repository: Repository, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "m", {"d/" * 255 + "x": b"1"})
    repository.add(folder, name="net", type="t")
    repository.pull("net", tmp_path / "out")
    assert read_tree(tmp_path / "out") == {"d/" * 255 + "x": b"1"}
    with pytest.raises(MlverError, match="has more than 256 parts"):
        scan([write_tree(tmp_path / "n", {"d/" * 256 + "x": b"1"})])


# Patterns


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ([], ["a.pt", "b.txt", "logs/x", "sub/a.pt", "sub/logs"]),
        (["*.pt"], ["b.txt", "logs/x", "sub/logs"]),
        (["/a.pt"], ["b.txt", "logs/x", "sub/a.pt", "sub/logs"]),
        (["logs/"], ["a.pt", "b.txt", "sub/a.pt", "sub/logs"]),
        (["logs"], ["a.pt", "b.txt", "sub/a.pt"]),
        (["sub/**"], ["a.pt", "b.txt", "logs/x"]),
        (["*.pt", "!sub/a.pt"], ["b.txt", "logs/x", "sub/a.pt", "sub/logs"]),
        (["*", "!b.txt"], ["b.txt"]),
        (["# comment", ""], ["a.pt", "b.txt", "logs/x", "sub/a.pt", "sub/logs"]),
    ],
)
def test_patterns_are_those_of_gitignore(tmp_path: Path, patterns: list[str], left: list[str]) -> None:
    files = dict.fromkeys(("a.pt", "b.txt", "logs/x", "sub/a.pt", "sub/logs"), b"")
    folder = write_tree(tmp_path / "m", files)
    assert paths(folder, patterns) == left
    (folder / ".mlverignore").write_text("\n".join(patterns))
    by_file = [path for path in paths(folder) if path != ".mlverignore"]
    assert by_file == left


def test_nearest_ignore_file_speaks_first_and_exclude_before_all(tmp_path: Path) -> None:
    folder = write_tree(
        tmp_path / "m",
        {".mlverignore": b"*.pt\n*.log\n", "sub/.mlverignore": b"!keep.pt\n/here\n", "a.pt": b"", "here": b"",
         "sub/keep.pt": b"", "sub/lose.pt": b"", "sub/here": b"", "sub/deep/here": b"", "sub/x.log": b""},
    )  # fmt: skip
    kept = [".mlverignore", "here", "sub/.mlverignore", "sub/deep/here", "sub/keep.pt"]
    assert paths(folder) == kept
    assert paths(folder, ["keep.pt", "!sub/x.log"]) == [*kept[:4], "sub/x.log"]


def test_ignored_folder_is_not_looked_into(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "m", {"x": b""})
    (folder / "cache").mkdir()
    (folder / "cache" / "broken").symlink_to("nowhere")
    assert paths(folder, ["cache/"]) == ["x"]


def test_malformed_patterns_and_ignore_files(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "m", {"x": b"", ".mlverignore": b"caf\xe9"})
    with pytest.raises(MlverError, match="mlverignore cannot be read"):
        scan([folder])
    with pytest.raises(UsageError, match="--exclude has a malformed pattern"):
        scan([write_tree(tmp_path / "n", {"x": b""})], ["!"])
