from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from mlver.errors import ConflictError, IntegrityError, MlverError, NotFoundError, UsageError
from mlver.repository import Repository
from tests.support.child import start_python
from tests.support.trees import blobs, flip, read_tree, write_tree

FILES: dict[str, bytes] = {"a.bin": b"a" * 70_000, "sub/b": b"b", "sub/deep/c": b"", "big": os.urandom(3 << 20)}


@pytest.fixture
def net(repository: Repository, tmp_path: Path) -> Repository:
    folder = write_tree(tmp_path / "model", FILES)
    (folder / "hollow").mkdir()
    repository.add(folder, name="net", type="t")
    return repository


WHOLE: dict[str, bytes | None] = {**FILES, "hollow/": None}


def no_leftovers(folder: Path) -> None:
    assert not [path for path in folder.rglob("*") if path.name.startswith(".mlver-pull-")]


def test_the_folder_one_is_in_stays_the_same_folder(
    net: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    before = here.stat().st_ino
    monkeypatch.chdir(here)
    net.pull("v0", ".")
    assert here.stat().st_ino == before
    manifest = net.manifest("v0")
    paths = [file.path for file in manifest.files] + list(manifest.folders)
    assert {path.name for path in Path.cwd().iterdir()} == {path.partition("/")[0] for path in paths}


@pytest.mark.parametrize("target", ["absent", "empty", "deep/er/absent", "link to empty"])
def test_absent_or_empty_folder_becomes_the_version(net: Repository, tmp_path: Path, target: str) -> None:
    out = tmp_path / target
    if target == "empty":
        out.mkdir(mode=0o710)
        out.chmod(0o710)
    if target == "link to empty":
        (tmp_path / "real").mkdir()
        out.symlink_to("real")
    done = net.pull("net", out)
    assert read_tree(out) == WHOLE
    assert (done.version.name, done.target, done.written) == ("net:v0", str(out), tuple(sorted(FILES)))
    assert (done.overwritten, done.kept, done.written_bytes) == ((), (), sum(map(len, FILES.values())))
    if target == "empty":
        assert out.stat().st_mode & 0o777 == 0o710
    assert out.is_symlink() == (target == "link to empty")
    no_leftovers(tmp_path)


def test_default_folder_is_the_name_here(net: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert net.pull("latest").target == str(tmp_path / "here" / "net")
    assert read_tree(tmp_path / "here" / "net") == WHOLE


def test_existing_files_are_named_and_refused_without_force(net: Repository, tmp_path: Path) -> None:
    mine: dict[str, bytes] = {"a.bin": b"mine", "sub/b": b"b", "other": b"keep me"}
    out = write_tree(tmp_path / "out", mine)
    with pytest.raises(ConflictError, match=r"1 of the files in .*out would be overwritten: a\.bin") as caught:
        net.pull("net", out)
    assert "--force" in str(caught.value.hint)
    assert read_tree(out) == mine
    done = net.pull("net", out, force=True)
    assert read_tree(out) == {**WHOLE, "other": b"keep me"}
    assert (done.overwritten, done.kept) == (("a.bin",), ("sub/b",))
    assert done.written == ("a.bin", "big", "sub/deep/c")
    no_leftovers(out)


def test_many_files_in_the_way_are_counted(net: Repository, tmp_path: Path) -> None:
    out = write_tree(tmp_path / "out", dict.fromkeys(FILES, b"?"))
    with pytest.raises(ConflictError, match=r"4 of the files .*: a\.bin, big, sub/b and 1 more"):
        net.pull("net", out)


def test_pulling_twice_writes_nothing(net: Repository, tmp_path: Path) -> None:
    net.pull("net", tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    done = net.pull("net", tmp_path / "out")
    assert (done.written, done.kept, done.written_bytes) == ((), tuple(sorted(FILES)), 0)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_lost_files_and_folders_come_again(net: Repository, tmp_path: Path) -> None:
    net.pull("net", tmp_path / "out")
    (tmp_path / "out" / "sub" / "b").unlink()
    (tmp_path / "out" / "hollow").rmdir()
    assert net.pull("net", tmp_path / "out").written == ("sub/b",)
    assert read_tree(tmp_path / "out") == WHOLE


def test_executable_bit_counts_as_a_difference(net: Repository, tmp_path: Path) -> None:
    net.pull("net", tmp_path / "out")
    (tmp_path / "out" / "a.bin").chmod(0o755)
    with pytest.raises(ConflictError, match=r"a\.bin"):
        net.pull("net", tmp_path / "out")
    net.pull("net", tmp_path / "out", force=True)
    assert not (tmp_path / "out" / "a.bin").stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("patterns", "written"),
    [
        (["sub"], ("sub/b", "sub/deep/c")),
        (["*.bin", "c"], ("a.bin", "sub/deep/c")),
        (["/b"], None),
        (["*", "!sub/**"], ("a.bin", "big")),
    ],
)
def test_part_of_a_version(
    net: Repository, tmp_path: Path, patterns: list[str], written: tuple[str, ...] | None
) -> None:
    if written is None:
        with pytest.raises(NotFoundError, match="No file of this version matches '/b'"):
            net.pull("net", tmp_path / "out", patterns)
        assert not (tmp_path / "out").exists()
        return
    assert net.pull("net", tmp_path / "out", patterns).written == written
    assert read_tree(tmp_path / "out") == {path: FILES[path] for path in written}
    with pytest.raises(NotFoundError, match="not known which version"):
        net.status(tmp_path / "out")


def test_pattern_that_is_no_list_is_refused(net: Repository, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="paths must be a list"):
        net.pull("net", tmp_path / "out", "*.bin")


def test_target_that_is_no_folder(net: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("file", "dangling"):
        with pytest.raises(MlverError, match=f"{name} is not a folder"):
            net.pull("net", tmp_path / name, force=True)
    with pytest.raises(MlverError, match="file"):
        net.pull("net", tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("obstacle", ["link", "link to inside", "dangling link", "file"])
def test_link_or_file_on_the_way_is_never_followed_or_replaced(
    net: Repository, tmp_path: Path, obstacle: str, force: bool
) -> None:
    out = write_tree(tmp_path / "out", {"other": b"1", "inside/x": b"2"})
    elsewhere = write_tree(tmp_path / "elsewhere", {"x": b"3"})
    if obstacle == "file":
        (out / "sub").write_bytes(b"a file")
    else:
        target: Path | str = {"link": elsewhere, "link to inside": out / "inside", "dangling link": Path("nowhere")}[
            obstacle
        ]
        (out / "sub").symlink_to(target)
    before = sorted(os.listdir(out))
    with pytest.raises(MlverError, match=r"Cannot write .*out/sub"):
        net.pull("net", out, force=force)
    assert sorted(os.listdir(out)) == before, "some files were moved before the obstacle was found"
    assert read_tree(elsewhere) == {"x": b"3"}
    assert os.listdir(out / "inside") == ["x"]


def test_link_in_place_of_an_empty_folder_is_refused(net: Repository, tmp_path: Path) -> None:
    out = write_tree(tmp_path / "out", {"other": b"1"})
    (out / "hollow").symlink_to(tmp_path)
    with pytest.raises(MlverError, match=r"Cannot write .*hollow"):
        net.pull("net", out, force=True)
    assert sorted(os.listdir(out)) == ["hollow", "other"]


def test_link_in_place_of_a_file_is_replaced_and_not_followed(net: Repository, tmp_path: Path) -> None:
    secret = write_tree(tmp_path / "secret", {"x": b"untouched"}) / "x"
    out = write_tree(tmp_path / "out", {"other": b"1"})
    (out / "a.bin").symlink_to(secret)
    with pytest.raises(ConflictError, match=r"a\.bin"):
        net.pull("net", out)
    net.pull("net", out, force=True)
    assert secret.read_bytes() == b"untouched"
    assert not (out / "a.bin").is_symlink()
    assert (out / "a.bin").read_bytes() == FILES["a.bin"]


def test_folder_in_place_of_a_file_is_refused(net: Repository, tmp_path: Path) -> None:
    out = write_tree(tmp_path / "out", {"a.bin/x": b"1"})
    with pytest.raises(MlverError, match=r"a\.bin is a folder, where the version has a file"):
        net.pull("net", out, force=True)
    assert read_tree(out) == {"a.bin/x": b"1"}


def test_files_that_collide_where_case_is_ignored_are_refused(repository: Repository, tmp_path: Path) -> None:
    repository.add(write_tree(tmp_path / "m", {"A": b"1", "a": b"2"}), name="net", type="t")
    with pytest.raises(MlverError, match="'A' and 'a', which are one path where case is ignored"):
        repository.pull("net", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    repository.pull("net", tmp_path / "out", ["A"])
    assert read_tree(tmp_path / "out") == {"a" if (tmp_path / "OUT").exists() else "A": b"1"}


@pytest.mark.parametrize("existing", [False, True])
def test_damaged_version_leaves_the_target_as_it_was_and_names_the_file(
    net: Repository, tmp_path: Path, existing: bool
) -> None:
    (pack,) = blobs(net, "packs")
    flip(pack, pack.stat().st_size // 2)
    out = tmp_path / "out"
    if existing:
        write_tree(out, {"a.bin": b"mine"})
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(IntegrityError, match="big cannot be restored"):
            net.pull("net", out, force=True)
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    if existing:
        assert read_tree(out) == {"a.bin": b"mine"}
    assert out.exists() == existing
    no_leftovers(tmp_path)
    assert set(net.pull("net", out, ["*", "!big"], force=True).written) == set(FILES) - {"big"}


def test_removed_folders_of_killed_pulls_are_swept(net: Repository, tmp_path: Path) -> None:
    process = start_python(PULL, tmp_path, tmp_path / "out", "wait")
    assert process.stdout
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".mlver-pull-")]
    net.pull("net", tmp_path / "out")
    no_leftovers(tmp_path)
    assert read_tree(tmp_path / "out") == WHOLE


PULL = """
import time
class Slow:
    def start(self, total, what):
        print("writing", flush=True)
    def advance(self, size):
        time.sleep(3600 if sys.argv[3] == "wait" else float(sys.argv[3]))
    def done(self):
        pass
Repository.open(sys.argv[1]).pull("net", sys.argv[2], force=True, progress=Slow())
print("done", flush=True)
"""


@pytest.mark.parametrize("existing", [False, True])
def test_pull_killed_at_any_time_leaves_the_target_absent_or_whole(
    net: Repository, tmp_path: Path, existing: bool
) -> None:
    chance = random.Random(1)
    outcomes = set()
    for number in range(8):
        out = tmp_path / f"out{number}"
        if existing:
            write_tree(out, {"a.bin": b"mine", "other": b"1"})
        process = start_python(PULL, tmp_path, out, "0.002")
        assert process.stdout
        process.stdout.readline()
        time.sleep(chance.random() * 0.06)
        process.kill()
        finished = "done" in process.communicate()[0]
        if existing:
            for path, content in read_tree(out).items():
                if not path.startswith(".mlver-pull-"):
                    assert content in (b"mine", b"1", WHOLE.get(path, b"1")), f"{path} is a mix"
        else:
            assert not out.exists() or read_tree(out) == WHOLE
            assert out.exists() or not finished
        outcomes.add(finished)
        net.pull("net", out, force=True)
        assert {**read_tree(out), "other": b"1"} == {**WHOLE, "other": b"1"}
        no_leftovers(tmp_path)
    assert False in outcomes


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_target_that_may_not_be_written(net: Repository, tmp_path: Path) -> None:
    from tests.support.child import run_python

    (tmp_path / "closed").mkdir(mode=0o755)
    for place in (tmp_path / ".mlver", *(tmp_path / ".mlver").rglob("*")):
        os.chown(place, 65534, 65534)
    for above in (tmp_path, *tmp_path.parents[:-1]):
        above.chmod(above.stat().st_mode | 0o055)
    code = """
os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    Repository.open(sys.argv[1]).pull("net", sys.argv[1] + "/closed/out")
except mlver.MlverError as error:
    print(error.message)
"""
    assert "closed: Permission denied" in run_python(code, tmp_path)
