"""The local storage under a system that fails or kills it, at every system call that changes something."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlver.ids import PackId
from mlver.store.local import LocalStorage
from mlver.store.pack import read_frame, read_pack_index

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")

WORK = """
import sys, pathlib
from mlver.errors import MlverError
from mlver.ids import ChunkId
from mlver.store.local import LocalStorage
from mlver.store.pack import FrameHeader, PackWriter, build_frame, pack_name
storage = LocalStorage(pathlib.Path(sys.argv[1]))
try:
    writer = PackWriter(storage.stage())
    for letter in b"abc":
        writer.append(build_frame(FrameHeader(ChunkId(bytes([letter]) * 32), 4, 0), [bytes([letter]) * 5000]))
    pack, _ = writer.finish()
    writer.staged.commit(pack_name(pack))
    storage.create("log/a/1", b"event" * 1000)
    storage.put("HEAD", b"new" * 1000)
except MlverError as error:
    print(error.message)
    sys.exit(1)
"""
CALLS = "fsync,writev,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,unlink,unlinkat"


def run(root: Path, *inject: str) -> subprocess.CompletedProcess[str]:
    """Do the work, under strace with these injections if there are any."""
    tracing = ["strace", "-qq", "-f", "-o", "/dev/null", "-e", f"trace={CALLS}"] if inject else []
    for one in inject:
        tracing += ["-e", f"inject={one}"]
    command = [*tracing, sys.executable, "-B", "-c", WORK, str(root)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[3])


def check_every_blob_is_whole(root: Path) -> list[str]:
    """Return the names of what is there, in the order in which the work publishes."""
    storage = LocalStorage(root)
    published = []
    for name in storage.list("packs"):
        entries = read_pack_index(storage, f"packs/{name}")
        assert [bytes(read_frame(storage, PackId(name.removesuffix(".pack")), entry)[1]) for entry in entries] == [
            letter * 5000 for letter in (b"a", b"b", b"c")
        ]
        published.append("pack")
    if storage.list("log/a"):
        assert storage.read("log/a/1") == b"event" * 1000
        published.append("event")
    if storage.read("HEAD") != b"old":
        assert storage.read("HEAD") == b"new" * 1000
        published.append("HEAD")
    return published


def check_order_and_recovery(root: Path) -> None:
    published = check_every_blob_is_whole(root)
    assert published == ["pack", "event", "HEAD"][: len(published)]
    again = run(root)
    assert again.returncode == 0, again.stdout + again.stderr
    assert check_every_blob_is_whole(root) == ["pack", "event", "HEAD"]
    LocalStorage(root).sweep()
    assert list((root / "tmp").iterdir()) == []


def fresh(tmp_path: Path, name: str) -> Path:
    root = tmp_path / name
    root.mkdir()
    LocalStorage(root).put("HEAD", b"old")
    (root / "tmp").rmdir()
    return root


def counts(tmp_path: Path) -> dict[str, int]:
    """Return how often the work makes each changing system call."""
    trace = tmp_path / "trace"
    command = ["strace", "-qq", "-f", "-o", str(trace), "-e", f"trace={CALLS}"]
    root = fresh(tmp_path, "counted")
    subprocess.run([*command, sys.executable, "-B", "-c", WORK, str(root)], check=True, cwd=Path(__file__).parents[3])
    made = re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE)
    return {name: made.count(name) for name in set(made)}


def test_killed_before_any_change(tmp_path: Path) -> None:
    killed = 0
    for call, count in counts(tmp_path).items():
        for number in range(1, count + 1):
            root = fresh(tmp_path, f"{call}{number}")
            result = run(root, f"{call}:signal=SIGKILL:when={number}")
            assert result.returncode not in (0, 1), (call, number, result.stdout)
            killed += 1
            check_order_and_recovery(root)
    assert killed > 20


def test_every_changing_call_fails_once(tmp_path: Path) -> None:
    for call, count in counts(tmp_path).items():
        error = "EIO" if call == "fsync" else "ENOSPC"
        for number in range(1, count + 1):
            root = fresh(tmp_path, f"{call}{number}")
            result = run(root, f"{call}:error={error}:when={number}")
            if not call.startswith("unlink"):  # a temporary file that stays harms nothing
                assert result.returncode == 1, (call, number, result.stdout + result.stderr)
                assert str(root) in result.stdout
                left = list((root / "tmp").iterdir()) if (root / "tmp").exists() else []
                assert left == []
            assert "Traceback" not in result.stderr
            check_order_and_recovery(root)


def test_a_file_whose_flush_failed_is_never_flushed_again(tmp_path: Path) -> None:
    root = fresh(tmp_path, "root")
    trace = tmp_path / "trace"
    command = ["strace", "-qq", "-f", "-y", "-o", str(trace), "-e", "trace=fsync,rename,renameat,linkat,unlinkat"]
    command += ["-e", "inject=fsync:error=EIO:when=2"]  # the first flushes the root for tmp/
    result = subprocess.run(
        [*command, sys.executable, "-B", "-c", WORK, str(root)],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert result.returncode == 1
    assert "Input/output error" in result.stdout
    lines = trace.read_text().splitlines()
    failed = next(index for index, line in enumerate(lines) if "INJECTED" in line)
    assert "/tmp/" in lines[failed]
    assert [line.split()[1].split("(")[0] for line in lines[failed + 1 :]][:1] == ["unlinkat"]
    assert not any("fsync" in line or "rename" in line for line in lines[failed + 1 :])


def test_bytes_are_durable_before_the_name_and_the_name_before_the_return(tmp_path: Path) -> None:
    """Killing a process does not find a missing fsync; the order of the calls does."""
    root = fresh(tmp_path, "root")
    trace = tmp_path / "trace"
    command = ["strace", "-qq", "-y", "-o", str(trace), "-e", "trace=fsync,rename,renameat,renameat2,linkat,mkdirat"]
    subprocess.run([*command, sys.executable, "-B", "-c", WORK, str(root)], check=True, cwd=Path(__file__).parents[3])
    made = re.findall(r"(\w+)\(\d+<([^>]*)>(?:, \"([^\"]*)\")?(?:, \d+<([^>]*)>, \"([^\"]*)\")?", trace.read_text())
    steps = []
    for call, folder, name, target, new_name in made:
        place = f"{target or folder}/{new_name or name}".rstrip("/").removeprefix(str(root)) or "/"
        steps.append(f"{call.removesuffix('at').removesuffix('at2')} {re.sub('[0-9a-f-]{20,}', '#', place)}")
    assert steps == [
        *("mkdir /tmp", "fsync /", "fsync /tmp/#", "mkdir /packs", "fsync /", "rename /packs/#.pack", "fsync /packs"),
        *("mkdir /log", "fsync /", "mkdir /log/a", "fsync /log", "fsync /tmp/#", "link /log/a/1", "fsync /log/a"),
        *("fsync /tmp/#", "rename /HEAD", "fsync /"),
    ]


@pytest.mark.parametrize("inject", ["flock:error=ENOLCK", "flock:error=EOPNOTSUPP", "linkat:error=EPERM"])
def test_poor_file_systems_do(tmp_path: Path, inject: str) -> None:
    root = fresh(tmp_path, "root")
    call = inject.split(":", maxsplit=1)[0]
    command = ["strace", "-qq", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={inject}"]
    subprocess.run([*command, sys.executable, "-B", "-c", WORK, str(root)], check=True, cwd=Path(__file__).parents[3])
    assert check_every_blob_is_whole(root) == ["pack", "event", "HEAD"]
    assert list((root / "tmp").iterdir()) == []
