"""A real server behind a connection that fails in every way: all arrives once, or there is one error and an end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlver.errors import RemoteError
from mlver.ops.init import init_repository
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.remotes.check import verify_remote
from mlver.ops.remotes.configure import add_remote, use_remote
from mlver.ops.remotes.fetch import fetch
from mlver.ops.remotes.push import push
from mlver.store.remote import patience, s3
from tests.support.proxy import Fault, Proxy, bad_connection, every
from tests.support.servers import Server
from tests.unit.ops.remotes.stories import contents, get, record

ALL: tuple[Fault, ...] = ("busy", "reset", "lost reply", "cut", "slow down")


@dataclass
class Scene:
    """Two machines and the connection between them and their remote."""

    ada: OpenRepository
    bob: OpenRepository
    proxy: Proxy


@pytest.fixture(params=["s3fs", "obstore"])
def scene(
    s3_server: Server, place: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Scene]:
    options = {"library": "obstore"} if request.param == "obstore" else {}
    if options:
        pytest.importorskip("obstore", reason="NO OBSTORE: these tests did not run. To have it: pip install obstore")
    monkeypatch.setattr(patience, "_FIRST_PAUSE_SECONDS", 0.01)
    with bad_connection(s3_server.options["endpoint"]) as proxy:
        url = f"{s3_server.url}/{os.urandom(6).hex()}"
        made = [open_repository(Path(init_repository(place / name).path)) for name in ("ada", "bob")]
        add_remote(made[0], "origin", url, {"endpoint": proxy.url, **options})
        use_remote(made[1], "origin", url, {"endpoint": proxy.url, **options})
        yield Scene(made[0], made[1], proxy)
        for repository in made:
            repository.close()


def test_all_arrives_once(scene: Scene, place: Path) -> None:
    data = [os.urandom(300_000) for _ in range(3)]
    for content in data:
        record(scene.ada, content)
    record(scene.bob, b"of bob")
    scene.proxy.policy = every(3, *ALL)
    push(scene.bob)
    push(scene.ada)
    fetch(scene.bob)
    for version, content in enumerate(data, 1):
        assert get(scene.bob, f"net:v{version}", place / f"out{version}") == {"w": content}
    assert scene.proxy.faults > 5
    scene.proxy.policy = lambda method, path: None
    assert contents(scene.ada) == contents(scene.bob)
    assert contents(scene.ada).keys() == {0, 1, 2, 3}
    assert verify_remote(scene.bob).ok
    assert push(scene.ada).artifacts == push(scene.bob).artifacts == ()


@pytest.mark.parametrize("fault", ["busy", "reset"])
def test_there_is_an_end(scene: Scene, fault: Fault) -> None:
    record(scene.ada, b"0")
    scene.proxy.policy = lambda method, path: fault
    before = len(scene.proxy.seen)
    with pytest.raises(RemoteError):
        push(scene.ada)
    assert len(scene.proxy.seen) - before <= 2 * patience.ATTEMPTS  # aiohttp asks again when a connection was kept
    scene.proxy.policy = lambda method, path: None
    assert push(scene.ada).artifacts[0].versions == (0,)


def test_a_lost_reply_to_an_event_makes_no_second_version(scene: Scene) -> None:
    lost: set[str] = set()

    def policy(method: str, path: str) -> Fault | None:
        is_first = method == "PUT" and "/log/net/" in path and path not in lost
        lost.update([path] if is_first else [])
        return "lost reply" if is_first else None

    for number in range(3):
        record(scene.ada, b"%d" % number)
    scene.proxy.policy = policy
    pushed = push(scene.ada).artifacts[0]
    assert (pushed.versions, pushed.renumbered) == ((0, 1, 2), ())
    assert len(lost) >= 3
    fetch(scene.bob)
    assert contents(scene.bob) == contents(scene.ada)


def test_a_stalled_connection_is_given_up_and_tried_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "STALL_SECONDS", 1)
    stalled: list[str] = []

    def policy(method: str, path: str) -> Fault | None:
        if method != "PUT" or stalled:
            return None
        stalled.append(path)
        return "stall"

    record(scene.ada, b"0")
    scene.proxy.policy = policy
    push(scene.ada)
    assert stalled
    fetch(scene.bob)
    assert contents(scene.bob) == contents(scene.ada)
