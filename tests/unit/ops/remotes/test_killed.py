"""Processes that are killed while they push and pull: the remote is whole, and the next one goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mlver.errors import ConflictError
from mlver.ops.init import init_repository
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.remotes.check import verify_remote
from mlver.ops.remotes.clone import clone
from mlver.ops.remotes.configure import add_remote
from mlver.ops.remotes.fetch import fetch
from mlver.ops.remotes.push import push
from tests.support.proxy import Fault, Proxy, bad_connection
from tests.support.pusher import ARTIFACT
from tests.support.servers import Server
from tests.unit.ops.remotes.conftest import NewClone
from tests.unit.ops.remotes.stories import contents, get, record

TOP = Path(__file__).resolve().parents[4]
LIMIT_SECONDS = 60
PUSH = "from mlver.ops.remotes.push import push; push(repository)"
CLONE = "from mlver.ops.remotes.clone import clone; clone(sys.argv[2], Path(sys.argv[4]), {'endpoint': sys.argv[3]})"
PULL = (
    "from mlver.ops.pull import plan_pull, pull\n"
    "from mlver.ops.remotes.receiving import obtain_files, obtain_manifest\n"
    "obtain_manifest(repository, repository.resolve('net').version.id)\n"
    "plan = plan_pull(repository, 'net', Path(sys.argv[2])); obtain_files(repository, plan); pull(repository, plan)"
)


def start(code: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
    """Run code with the repository that is the first argument."""
    opening = (
        "import sys; from pathlib import Path; from mlver.ops.opening import open_repository\n"
        "repository = open_repository(Path(sys.argv[1]))\n"
    )
    return subprocess.Popen([sys.executable, "-c", opening + code, *map(str, arguments)], cwd=TOP)


class Killer:
    """Kills a process when it makes its n-th request of a kind."""

    def __init__(self, method: str, number: int) -> None:
        self._method = method
        self._left = number
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, method: str, path: str) -> Fault | None:
        if method == self._method:
            self._left -= 1
            if self._left == 0 and self.process is not None:
                self.process.send_signal(signal.SIGKILL)
                return "reset"
        return None


def run_killed(proxy: Proxy, method: str, number: int, code: str, *arguments: str | Path) -> bool:
    """Run code until it ends or is killed; tell whether it came to its end."""
    killer = Killer(method, number)
    killer.process = start(code, *arguments)
    proxy.policy = killer
    try:
        status = killer.process.wait(LIMIT_SECONDS)
    finally:
        proxy.policy = lambda method, path: None
    assert status in (0, -signal.SIGKILL)
    return status == 0


@pytest.fixture
def proxy(s3_server: Server) -> Iterator[Proxy]:
    with bad_connection(s3_server.options["endpoint"]) as made:
        yield made


@pytest.fixture
def ada(proxy: Proxy, s3_server: Server, place: Path) -> Iterator[OpenRepository]:
    repository = open_repository(Path(init_repository(place / "ada").path))
    add_remote(repository, "origin", f"{s3_server.url}/{os.urandom(6).hex()}", {"endpoint": proxy.url})
    yield repository
    repository.close()


def test_a_push_that_is_killed_leaves_the_remote_whole_and_the_next_goes_on(
    ada: OpenRepository, proxy: Proxy, place: Path
) -> None:
    data = [os.urandom(500_000) for _ in range(2)]
    for content in data:
        record(ada, content)
    url, options = ada.config.remotes["origin"]["url"], {"endpoint": proxy.url}
    for number in range(1, 20, 2):
        is_through = run_killed(proxy, "PUT", number, PUSH, ada.root)
        path = Path(clone(url, place / f"copy{number}", options).path) / ".mlver"
        copy = open_repository(path)
        there = copy.index.artifacts()
        for version in contents(copy) if there else ():
            assert get(copy, f"net:v{version}", place / f"out{number}-{version}") == {"w": data[version]}
        copy.close()
        if is_through:
            break
    else:
        raise AssertionError("it never ended")
    assert number > 3, "it was killed several times"
    assert verify_remote(ada).ok
    packs = [path for method, path in proxy.seen if method == "PUT" and "/packs/" in path]
    assert len(packs) - len(set(packs)) <= 1, "a pack that arrived is not sent again"
    assert push(ada).artifacts == ()


def test_a_pull_that_is_killed_goes_on(ada: OpenRepository, proxy: Proxy, place: Path) -> None:
    data = os.urandom(20 << 20)
    record(ada, data)
    push(ada)
    url, options = ada.config.remotes["origin"]["url"], {"endpoint": proxy.url}
    root = Path(clone(url, place / "bob", options).path) / ".mlver"
    out = place / "out"
    for number in range(4, 20, 3):
        assert not out.exists(), "it is whole or not there"
        if run_killed(proxy, "GET", number, PULL, root, out):
            break
    else:
        raise AssertionError("it never ended")
    assert number > 4
    assert (out / "w").read_bytes() == data


def test_a_clone_that_is_killed_is_none_and_the_same_command_makes_it(
    ada: OpenRepository, proxy: Proxy, place: Path
) -> None:
    for number in range(3):
        record(ada, b"%d" % number)
    push(ada)
    url, copy = ada.config.remotes["origin"]["url"], place / "copy"
    for number in range(1, 40, 3):
        assert not (copy / ".mlver").exists(), "it is whole or not there"
        if run_killed(proxy, "GET", number, CLONE, ada.root, url, proxy.url, copy):
            break
    else:
        raise AssertionError("it never ended")
    assert number > 3, "it was killed several times"
    assert os.listdir(copy) == [".mlver"], "what was killed left something"
    made = open_repository(copy / ".mlver")
    assert contents(made) == contents(ada)
    made.close()
    with pytest.raises(ConflictError, match="already"):
        clone(url, copy, {"endpoint": proxy.url})


def run_all(commands: Sequence[Sequence[str]], kill: random.Random) -> int:
    """Run processes at once, each killed after a while and run again until it ends; return how many were killed."""
    running = [subprocess.Popen(command, cwd=TOP) for command in commands]
    # The first time before a process can be through on any machine.
    ends = [time.monotonic() + kill.uniform(0.05, 0.4) for _ in running]
    kills = 0
    while any(process.poll() != 0 for process in running):
        time.sleep(0.02)
        for number, process in enumerate(running):
            if process.poll() is None and time.monotonic() > ends[number] and kills < 3 * len(commands):
                process.kill()
                kills += 1
            if process.poll() not in (None, 0):
                assert process.returncode == -signal.SIGKILL
                running[number] = subprocess.Popen(commands[number], cwd=TOP)
                ends[number] = time.monotonic() + kill.uniform(0.5, 2.5)
    return kills


def test_of_many_that_push_at_once_and_are_killed_all_land(machine: NewClone) -> None:
    clones = [machine(f"clone{number}") for number in range(2)]
    commands = [
        [sys.executable, "-m", "tests.support.pusher", str(clones[number % 2].root), f"w{number}", "4"]
        for number in range(4)
    ]
    assert run_all(commands, random.Random(0)) > 0
    for person in clones:
        push(person)
    for person in clones:
        fetch(person)
    views = [contents(person, ARTIFACT) for person in clones]
    assert views[0] == views[1]
    assert sorted(views[0]) == list(range(16)), "each number once"
    assert len(set(views[0].values())) == 16
