"""Bad input, bad files, bad disks, bad moments: one clear error that names the culprit, and nothing changed."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mlver.formats.dtypes import BITS_BY_DTYPE
from tests.cli.conftest import Person
from tests.support.process import COMMAND, Finished, environment, run_mlver
from tests.support.trees import flip, read_tree
from tests.support.weight_files import entry, safetensors_file

BIG_BYTES = 96 << 20
IS_ROOT = os.geteuid() == 0
_WEAK = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all")


def as_anybody(person: Person, *arguments: str) -> Finished:
    """Run a command without root's power to ignore permissions."""
    if IS_ROOT and shutil.which("setpriv") is None:
        pytest.skip("needs setpriv to drop root's capabilities")
    done = subprocess.run(
        [*(_WEAK if IS_ROOT else ()), *COMMAND, *arguments],
        cwd=person.here,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


# The repository itself


def test_repository_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / ".mlver").write_text("x")
    for command, code in (("ls", 10), ("init", 1)):
        done = run_mlver(command, folder=tmp_path)
        assert (done.code, done.out) == (code, "")
        assert ".mlver is" in done.err
        assert "Hint: Move it away" in done.err
    assert (tmp_path / ".mlver").read_text() == "x"


@pytest.mark.parametrize("text", [b"mlver 999\n", b"", b"\x1b[31m\xff" * 99])
def test_unknown_layout(person: Person, text: bytes) -> None:
    file = person.here / ".mlver/format"
    file.chmod(0o600)
    file.write_bytes(text)
    for command in ("ls", "init"):
        code, err = person.fails(command)
        assert code == 10
        assert "has a layout that this mlver does not know" in err[0]
        assert "\x1b" not in err[0]


def test_interrupted_init_is_completed(person: Person) -> None:
    (person.here / ".mlver/format").unlink()
    code, err = person.fails("ls")
    assert (code, err[1]) == (10, "Hint: Make it one with: mlver init")
    assert person.run("init").code == 0
    assert person.screen("ls", "-q") == "net\nset\n"


def test_init_makes_the_repository_that_mlver_dir_names(tmp_path: Path) -> None:
    place = str(tmp_path / "elsewhere/.mlver")
    (tmp_path / "here").mkdir()
    assert run_mlver("init", "-q", folder=tmp_path / "here", variables={"MLVER_DIR": place}).out == f"{place}\n"
    assert run_mlver("ls", folder=tmp_path / "here", variables={"MLVER_DIR": place}).code == 0
    assert list((tmp_path / "here").iterdir()) == []
    done = run_mlver("init", folder=tmp_path / "here", variables={"MLVER_DIR": "store"})
    assert (done.code, "MLVER_DIR is 'store'" in done.err) == (2, True)


@pytest.mark.parametrize("text", [b"nonsense = [", b"\xff", b"[identity]\nname = 3\n"])
def test_broken_settings(person: Person, text: bytes) -> None:
    file = person.here / ".mlver/config.toml"
    file.chmod(0o600)
    file.write_bytes(text)
    code, err = person.fails("alias", "prod")
    assert (code, err[0].startswith("Error: config.toml")) == (1, True)


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_cache_is_only_a_cache(person: Person, damage: bytes | None) -> None:
    cache = person.here / ".mlver/index.sqlite"
    before = person.screen("log", "--json")
    if damage is None:
        cache.unlink()
    else:
        cache.write_bytes(damage)
    assert person.screen("log", "--json") == before


def test_read_only_repository_can_be_read(person: Person) -> None:
    root = person.here / ".mlver"
    for place in (root, *root.rglob("*")):
        place.chmod(0o555 if place.is_dir() else 0o444)
    try:
        for line in ("log", "ls", "show best", "cat v0:conf/config.json", "verify", "du", "reflog", "alias"):
            assert as_anybody(person, *line.split()).code == 0, line
        pulled = as_anybody(person, "pull", "best", "-o", "out")
        assert pulled.code == 0, pulled
        assert (person.here / "out/conf/config.json").is_file()
        for line in ("alias prod", "rm v1", "undo", "note v1 x", "switch set"):
            done = as_anybody(person, *line.split())
            assert (done.code, done.out, "Permission denied" in done.err) == (1, "", True), line
    finally:
        for place in (root, *root.rglob("*")):
            place.chmod(0o755)


def test_read_only_repository_whose_cache_is_behind(person: Person) -> None:
    cache = person.here / ".mlver/index.sqlite"
    before = cache.read_bytes()
    (person.here / "new").write_text("x")
    person.run("add", "new", "--name", "new", "--type", "t")
    cache.write_bytes(before)
    cache.chmod(0o400)
    for line in ("log new", "cat new:new", "verify", "pull new -o out"):
        assert as_anybody(person, *line.split()).code == 0, line


def test_damage_is_reported_and_never_handed_out(person: Person) -> None:
    (person.here / "small").write_text("precious")
    person.run("add", "small", "--name", "s", "--type", "t")
    packs = set((person.here / ".mlver/packs").rglob("*.pack"))
    newest = max(packs, key=lambda pack: pack.stat().st_mtime_ns)
    newest.chmod(0o600)
    flip(newest, 30)
    report = json.loads(person.run("verify", "--json").out)
    assert (report["ok"], len(report["damaged"])) == (False, 1)
    assert report["damaged"][0]["hurts"] == [{"version": "s:v0", "path": "small", "tensors": []}]
    done = person.run("verify", "s")
    assert (done.code, "hurts s:v0 small" in done.out) == (12, True)
    code, err = person.fails("pull", "s", "-o", "out")
    assert (code, err[0].startswith("Error: small cannot be restored:")) == (12, True)
    assert not (person.here / "out").exists()
    assert person.fails("cat", "s:small")[0] == 12
    assert person.run("verify", "net").code == 0


# What is added


def test_unreadable_files_and_folders(person: Person) -> None:
    secret = person.here / "model/secret"
    secret.write_text("x")
    secret.chmod(0)
    before = person.history()
    done = as_anybody(person, "add", "model")
    assert (done.code, done.out) == (1, "")
    assert f"{secret} cannot be read: Permission denied." in done.err
    assert "--exclude" in done.err
    assert person.history() == before
    assert as_anybody(person, "add", "model", "--exclude", "secret").out.startswith("No new version")
    (person.here / "model/conf").chmod(0)
    done = as_anybody(person, "add", "model", "--exclude", "secret")
    (person.here / "model/conf").chmod(0o755)
    assert (done.code, "model/conf cannot be read: Permission denied." in done.err) == (1, True)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"caf\xe9", "it is not valid UTF-8"),
        (b"a:b", "it contains ':'"),
        (b"back\\slash", "it contains"),
        (b"new\nline", "it contains"),
        (b"\x1b[2Jred", "it contains"),
        ("x\u202ey".encode(), "it contains"),
        (b"trailing.", "ends in a dot or a space"),
        (b"CON.txt", "is a device name on Windows"),
    ],
)
def test_names_that_would_not_survive(person: Person, name: bytes, reason: str) -> None:
    (person.here / "model/conf" / os.fsdecode(name)).write_text("x")
    code, err = person.fails("add", "model")
    assert code == 1
    assert "'conf/" in err[0]
    assert reason in err[0]
    assert "".join(err).isprintable()
    assert json.loads(person.fails("add", "model", "--json")[1][0])["error"]["exit_code"] == 1


def test_long_names_and_empty_and_executable_files_come_back(person: Person) -> None:
    odd = person.here / "odd"
    (odd / "empty").mkdir(parents=True)
    for name in ("x" * 255, "é" * 127, "sp ace", ".hidden", "nothing"):
        (odd / name).write_text("" if name == "nothing" else name)
    (odd / "sp ace").chmod(0o755)
    assert person.run("add", "odd", "--name", "odd", "--type", "t").code == 0
    assert person.run("pull", "odd", "-o", "back").code == 0
    assert read_tree(person.here / "back") == read_tree(odd)
    assert os.access(person.here / "back/sp ace", os.X_OK)


def test_things_that_are_no_files(person: Person) -> None:
    model = person.here / "model"
    makers: dict[str, Callable[[Path], object]] = {
        "is neither a file nor a folder": os.mkfifo,
        "a link to nothing": lambda place: place.symlink_to("nowhere"),
        "it never ends": lambda place: place.symlink_to("."),
    }
    for message, make in makers.items():
        place = model / "odd"
        make(place)
        code, err = person.fails("add", "model")
        assert (code, f"HERE/model/odd {'is' if 'never' in message else ''}"[:15] in err[0]) == (1, True)
        assert message in err[0]
        place.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(model)
        listener.bind("odd")
        assert person.fails("add", "model")[0] == 1
    assert person.fails("add", "/dev/null")[0] == 1


def test_folders_without_end(person: Person) -> None:
    folder = person.here / "deep"
    folder.mkdir()
    before = os.getcwd()
    try:
        os.chdir(folder)
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
        Path("f").write_text("x")
    finally:
        os.chdir(before)
    code, err = person.fails("add", "deep", "--name", "deep", "--type", "t")
    assert (code, err[0].startswith("Error: HERE/deep")) == (1, True)
    subprocess.run(["rm", "-rf", folder], check=True)  # pytest's own way of removing it is recursive


def test_nothing_to_add(person: Person) -> None:
    (person.here / "empty").mkdir()
    for arguments in (["empty"], ["model", "--exclude", "*"]):
        code, err = person.fails("add", *arguments)
        assert (code, err[0]) == (1, "Error: There is nothing to add: no file was found, or all are ignored.")


class _Evil:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch executed",)


def _zip(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _lying_zip() -> bytes:
    content = bytearray(_zip({"archive/data.pkl": b"\x80\x02}q\x00.", "archive/data/0": bytes(1000)}))
    sizes = content.find(b"PK\x01\x02") + 20
    content[sizes : sizes + 8] = struct.pack("<II", 1 << 31, 1 << 31)
    return bytes(content)


_GOOD = safetensors_file({"w": entry("F32", [2, 3], 0, 24)}, bytes(24))
BROKEN = {
    "header_length.safetensors": struct.pack("<Q", 1 << 60) + _GOOD[8:],
    "cut_off.safetensors": _GOOD[:-10],
    "cut_header.safetensors": _GOOD[:12],
    "no_json.safetensors": struct.pack("<Q", 10) + b"{not json}" + bytes(100),
    "deep.safetensors": struct.pack("<Q", 200_001) + b"{" + b"[" * 200_000,
    "overlap.safetensors": safetensors_file({"a": entry("U8", [8], 0, 8), "b": entry("U8", [8], 4, 12)}, bytes(12)),
    "cut_off.npz": _zip({"a.npy": b"\x93NUMPY" + bytes(500)})[:-30],
    "lies.pt": _lying_zip(),
    "garbage.npy": b"\x93NUMPY\x01\x00\xff\xff" + bytes(50),
    "evil.pkl": pickle.dumps(_Evil()),
}


def test_broken_weight_files_are_kept_as_they_are(person: Person) -> None:
    folder = person.here / "broken"
    folder.mkdir()
    for name, content in BROKEN.items():
        (folder / name).write_bytes(content)
    done = person.run("add", "broken", "--name", "broken", "--type", "t", "--json")
    document = json.loads(done.out)
    assert (document["file_count"], document["tensor_count"]) == (len(BROKEN), 0)
    for name in ("cut_header.safetensors", "cut_off.npz", "overlap.safetensors", "garbage.npy"):
        assert f"Warning: {name} is kept as plain bytes, since it is no sound weight file: " in done.err
    assert person.run("pull", "broken", "-o", "back").code == 0
    assert read_tree(person.here / "back") == read_tree(folder)
    assert person.run("verify").code == 0


def test_pickle_is_never_executed(person: Person) -> None:
    (person.here / "evil.pt").write_bytes(
        _zip({"archive/data.pkl": pickle.dumps(_Evil(), 2), "archive/version": b"3\n"})
    )
    done = person.run("add", "evil.pt", "--name", "evil", "--type", "t")
    assert done.code == 0
    assert "Warning: evil.pt names posix.system" in done.err
    person.run("show", "evil")
    person.run("verify")
    assert list(person.here.rglob("executed")) == []


def test_no_escape_sequence_reaches_the_screen(person: Person) -> None:
    header = {"\x1b[31mred\x1b[2J": entry("U8", [4], 0, 4), "\u202ebidi\nline": entry("U8", [4], 4, 8)}
    (person.here / "esc.safetensors").write_bytes(safetensors_file(header, bytes(8)))
    arguments = [
        "esc.safetensors",
        "--name",
        "esc",
        "--type",
        "t",
        "-m",
        "\x1b]0;title\a\u202e",
        "--meta",
        "\x9bk=\x1b[2J",
    ]
    assert person.run("add", *arguments).code == 0
    person.run("note", "esc", "\x1b[2J\nsecond line")
    for line in ("log esc", "log esc --oneline", "show esc", "note esc", "meta esc", "reflog esc", "show esc --json"):
        out = person.run(*line.split()).out
        assert out.replace("\n", "").isprintable(), line


def test_names_that_collide_where_case_is_ignored(person: Person) -> None:
    (person.here / "model/CONF").mkdir()
    (person.here / "model/CONF/config.json").write_text("[]\n")
    added = person.run("add", "model")
    assert (added.code, "Warning: 'CONF' and 'conf' are one path" in added.err) == (0, True)
    code, err = person.fails("pull", "net", "-o", "out")
    assert (code, "one path where case is ignored" in err[0]) == (1, True)
    assert not (person.here / "out").exists()
    assert person.run("pull", "net", "-o", "out", "--path", "/CONF/").code == 0


# Where it is pulled to


def test_pull_never_overwrites_unasked(person: Person) -> None:
    config = person.here / "model/conf/config.json"
    config.write_text("mine")
    code, err = person.fails("pull", "v2", "-o", "model")
    assert (code, err[0]) == (14, "would overwrite HERE/model/conf/config.json")
    assert "conf/config.json" in err[1]
    assert "--force" in err[2]
    assert config.read_text() == "mine"
    plan = person.json("pull", "v2", "-o", "model", "--dry-run")
    assert (plan["overwritten"], plan["kept"], config.read_text()) == (
        ["conf/config.json"],
        ["net.safetensors"],
        "mine",
    )
    done = person.json("pull", "v2", "-o", "model", "--force")
    assert (done["overwritten"], config.read_text()) == (["conf/config.json"], "{}\n")
    assert person.json("status", "model")["clean"] is True


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_pull_never_writes_through_a_link_or_into_a_repository(person: Person, force: list[str]) -> None:
    outside = person.here / "outside"
    outside.mkdir()
    (person.here / "out").mkdir()
    (person.here / "out/conf").symlink_to(outside)
    (person.here / "file").write_text("x")
    before = read_tree(person.here / ".mlver/packs")
    for target, message in (
        ("out", "Cannot write HERE/out/conf"),
        ("file", "HERE/file is not a folder."),
        (".mlver", "HERE/.mlver is inside a repository's own folder."),
        (".mlver/packs", "HERE/.mlver/packs is inside a repository's own folder."),
    ):
        code, err = person.fails("pull", "v0", "-o", target, *force)
        assert (code, message in err[0]) == (1, True), err
    assert list(outside.iterdir()) == []
    assert [place.name for place in (person.here / "out").iterdir()] == ["conf"]
    assert read_tree(person.here / ".mlver/packs") == before


def test_pull_of_some_files(person: Person) -> None:
    assert person.run("pull", "v0", "-o", "some", "--path", "*.json").code == 0
    assert list(read_tree(person.here / "some")) == ["conf/config.json"]
    for pattern in ("*.absent", "../*", ""):
        code, err = person.fails("pull", "v0", "-o", "none", "--path", pattern)
        assert (code, err[0]) == (1, f"Error: No file of this version matches {pattern!r}.")


# Bad disks, bad moments


def _limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def test_full_disk(person: Person) -> None:
    (person.here / "big").write_bytes(os.urandom(3 << 20))
    files = {str(place) for place in person.here.rglob("*")}
    arguments = ("add", "big", "--name", "big", "--type", "t")
    code, err = person.fails(*arguments, preexec_fn=_limit_files)
    assert (code, "File too large" in err[0], "Free some space" in err[1]) == (1, True, True)
    assert {str(place) for place in person.here.rglob("*") if "index" not in place.name} == {
        name for name in files if "index" not in name
    }
    assert person.run(*arguments, "-q").out == "big:v0\n"
    code, err = person.fails("pull", "big", "-o", "out", preexec_fn=_limit_files)
    assert (code, "File too large" in err[0]) == (1, True)
    assert [place.name for place in person.here.glob("*out*")] == []
    assert person.run("pull", "big", "-o", "out").code == 0


def _interrupted(person: Person, kind: signal.Signals, started: Callable[[], bool], *arguments: str) -> tuple[int, str]:
    """Run a command, send a signal once it is under way, and return its exit code and stderr."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=person.here,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None and not started():
        time.sleep(0.002)
    process.send_signal(kind)
    out, err = process.communicate(timeout=60)
    assert out == "", "it ended before it could be interrupted"
    return process.returncode, err


@pytest.fixture
def big(person: Person) -> Path:
    """A file that takes a while."""
    file = person.here / "big"
    file.write_bytes(os.urandom(BIG_BYTES))
    return file


def test_interrupted_add_and_pull(person: Person, big: Path) -> None:
    scratch = person.here / ".mlver/tmp"
    arguments = ("add", "big", "--name", "big", "--type", "t")

    def is_packing() -> bool:
        return any(file.stat().st_size > 0 for file in scratch.iterdir() if file.exists())

    for kind, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        before = person.history()
        assert _interrupted(person, kind, is_packing, *arguments) == (code, "")
        assert person.history() == before
        assert kind == signal.SIGKILL or list(scratch.iterdir()) == []
    assert person.run(*arguments, "-q").out == "big:v0\n"
    assert person.run("verify").code == 0

    def is_writing() -> bool:
        return any(person.here.glob(".mlver-pull-out-*/big"))

    for kind, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        assert _interrupted(person, kind, is_writing, "pull", "big", "-o", "out") == (code, "")
        assert not (person.here / "out").exists()
        assert kind == signal.SIGKILL or not any(person.here.glob(".mlver-pull-*"))
    assert person.run("pull", "big", "-o", "out").code == 0
    assert (person.here / "out/big").read_bytes() == big.read_bytes()
    assert not any(person.here.glob(".mlver-pull-*"))  # that of the killed one is gone, too


def test_file_that_goes_away_while_it_is_added(person: Person, big: Path) -> None:
    """It is refused by name, or the version is whole without it; never half."""
    folder = person.here / "going"
    folder.mkdir()
    big.rename(folder / "a")
    (folder / "z").write_bytes(os.urandom(2 << 20))
    scratch = person.here / ".mlver/tmp"
    process = subprocess.Popen(
        [*COMMAND, "add", "going", "--name", "going", "--type", "t"],
        cwd=person.here,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not any(scratch.iterdir()):
        time.sleep(0.002)
    (folder / "z").unlink()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) in ((1, ""), (14, ""))
    assert f"{folder}/z" in err
    assert "Traceback" not in err
    assert person.run("add", "going", "--name", "going", "--type", "t", "-q").out == "going:v0\n"
    assert person.run("verify").code == 0


@pytest.mark.parametrize("line", ["show", "log", "pull", "switch", "reflog", "tag", "alias new", "rm", "du"])
def test_names_in_another_encoding(person: Person, line: str) -> None:
    code, err = person.fails(*line.split(), "caf\udce9")
    assert (code, "not valid UTF-8" in err[0]) == (2, True)


def test_several_at_once(person: Person) -> None:
    """Each gets a number of its own; nobody is refused."""
    for number in range(5):
        (person.here / f"f{number}").write_text(str(number))
    processes = [
        subprocess.Popen(
            [*COMMAND, "add", f"f{number}", "--name", "net", "-q"],
            cwd=person.here,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(5)
    ]
    ended = [process.communicate(timeout=60) for process in processes]
    assert sorted(out for out, _ in ended) == [f"net:v{number}\n" for number in range(3, 8)]
    assert [err for _, err in ended] == [""] * 5
    assert person.run("verify").code == 0


# Weights that are no numbers


@pytest.mark.parametrize("level", ["fast", "balanced", "max"])
def test_weights_of_any_bits_are_kept_and_compared_without_a_word(person: Person, level: str) -> None:
    """NumPy warns of what is no number, or overflows; here every warning is a failure."""
    shape, file = [300, 700], person.here / "any.safetensors"
    for seed in range(2):
        header, body = {}, b""
        for dtype in ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", "I8"):
            raw = random.Random(f"{dtype} {seed}").randbytes(300 * 700 * BITS_BY_DTYPE[dtype] // 8)
            header[dtype] = entry(dtype, shape, len(body), len(body) + len(raw))
            body += raw
        file.write_bytes(safetensors_file(header, body))
        done = person.run("add", file.name, "-n", "any", "-t", "t", "--compression", level)
        assert (done.code, done.err) == (0, ""), done
    person.json("diff", "any:v0", "any:v1", "--rank")
    assert person.run("diff", "any:v0", "any:v1").err == ""
    assert person.run("pull", "any:v1", "-o", "back").code == 0
    assert (person.here / "back" / file.name).read_bytes() == file.read_bytes()
