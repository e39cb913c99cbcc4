"""Clocks that are wrong, file systems without locks, disks without inodes, writers that stand still while gc runs."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlver.repository import Repository
from tests.fault.commands import named, write_model
from tests.fault.injection import inject, targets
from tests.fault.scene import prepare
from tests.fault.starting import Warm, command_line
from tests.fault.tracing import missing_tools
from tests.support.places import quick_folder
from tests.support.process import environment
from tests.support.small_disk import on_small_disk

needs_strace = pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools()))
needs_faketime = pytest.mark.skipif(shutil.which("faketime") is None, reason="CLOCKS WERE NOT TRIED: install faketime")


@pytest.fixture
def place() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder.resolve()


def run_at(time: str, *argv: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run mlver with another clock."""
    command = ["faketime", time, sys.executable, "-m", "mlver", *argv]
    return subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True, text=True)


@needs_faketime
@pytest.mark.parametrize("time", ["2100-01-01", "1990-01-01", "13 days"])
def test_a_wrong_clock_never_deletes_early(place: Path, time: str) -> None:
    named("gc").prepare(place)
    before = sorted(path.name for path in (place / "repo" / ".mlver" / "packs").iterdir())
    run_at(time, "gc", folder=place / "repo")
    assert sorted(path.name for path in (place / "repo" / ".mlver" / "packs").iterdir()) == before
    with Repository.open(place / "repo") as repository:
        repository.restore("net:v2")
        assert repository.verify().ok


@needs_faketime
def test_a_writer_whose_clock_is_behind_loses_nothing_to_gc(place: Path) -> None:
    named("add-first").prepare(place)
    run_at("1990-01-01", "add", "model", "--name", "net", "--type", "t", folder=place / "repo")
    with Repository.open(place / "repo") as repository:
        repository.gc()
        repository.remove("net:v0")
        repository.gc()
        repository.restore("net:v0")
        assert repository.verify().ok


@needs_strace
def test_a_file_system_without_locks_will_do(place: Path) -> None:
    scene = prepare(named("add"), place / "scene")
    wanted = targets(scene, "ENOLCK")
    assert wanted
    with Warm(scene.modules) as warm:
        assert inject(scene, "ENOLCK", wanted[:: len(wanted) // 2], warm).problems == []


@needs_strace
@pytest.mark.parametrize("grace", ["2w", "0"])
@pytest.mark.parametrize("call", ["fsync", "linkat"])
def test_a_writer_that_stands_still_while_gc_runs_is_whole_or_refuses(place: Path, call: str, grace: str) -> None:
    """It adds what only a removed version has, stops, and goes on when gc is through."""
    named("gc").prepare(place)
    write_model(place / "repo" / "model", 7)  # what v2 was
    writer = _stopped_at(call, place)
    try:
        with Repository.open(place / "repo") as repository:
            repository.gc(grace)
    finally:
        out, err = _go_on(writer)
    assert writer.returncode in (0, 14), err
    with Repository.open(place / "repo") as repository:
        assert repository.verify().ok
        live = [version.number for version in repository.log("net")]
        assert (4 in live) == (writer.returncode == 0), out
        assert 3 in live


def _stopped_at(call: str, place: Path) -> subprocess.Popen[str]:
    """Start an `add` that stops at its first call of this name, and wait until it stands still."""
    trace = place / "trace"
    strace = [
        "strace",
        "-qq",
        "-f",
        "-o",
        str(trace),
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:signal=SIGSTOP:when=1",
    ]
    writer = subprocess.Popen(
        [*strace, *command_line(("add", "model", "--name", "net"))],
        cwd=place / "repo",
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while writer.poll() is None and not (trace.exists() and "stopped by SIGSTOP" in trace.read_text()):
        pass
    return writer


def _go_on(writer: subprocess.Popen[str]) -> tuple[str, str]:
    """Let the traced process, strace's child, go on to its end; each of its threads may have to be told."""
    children = Path(f"/proc/{writer.pid}/task/{writer.pid}/children").read_text().split()
    for _ in range(600):
        for child in children:
            subprocess.run(["kill", f"-{signal.SIGCONT.value}", child], check=False, capture_output=True)
        try:
            return writer.communicate(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
    for child in children:
        subprocess.run(["kill", "-9", child], check=False)
    return writer.communicate()


_INODES = """
import sys
from pathlib import Path
from mlver.errors import MlverError
from mlver.repository import Repository

home, outside = Path(sys.argv[1]), Path(sys.argv[2], "w")
with Repository.init(home) as repository:
    for number in range(60):
        outside.write_bytes(b"%d" % number * 4000)
        try:
            repository.add(outside, name="net", type="t")
        except MlverError as error:
            assert "No space left" in error.message, error.message
            break
    count = len(repository.log("net"))
    assert 3 < count < 59
    assert repository.verify().ok
with Repository.open(home) as repository:
    assert len(repository.log("net")) == count
    assert repository.verify().ok
"""


def test_a_disk_without_inodes_is_a_clean_refusal(place: Path) -> None:
    on_small_disk(_INODES, place, "size=64m,nr_inodes=60")
