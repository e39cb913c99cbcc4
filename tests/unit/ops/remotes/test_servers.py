"""The verbs over real servers, and in how many requests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlver.errors import RemoteError, UsageError
from mlver.ops.init import init_repository
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.remotes.clone import clone
from mlver.ops.remotes.configure import add_remote, show_remote
from mlver.ops.remotes.fetch import fetch
from mlver.ops.remotes.push import push
from tests.support.servers import Server
from tests.unit.ops.remotes.stories import contents, get, record
from tests.unit.ops.remotes.test_remote_faults import chain

Machine = Callable[[str], OpenRepository]
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # gcsfs hands aiohttp bytes


@pytest.fixture(params=["s3", "gcs", "sftp"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture
def url(server: Server) -> str:
    return f"{server.url}/{os.urandom(6).hex()}"


@pytest.fixture
def opened(place: Path) -> Iterator[Machine]:
    """Return what makes a repository of a name, with no remote."""
    made: list[OpenRepository] = []

    def make(name: str) -> OpenRepository:
        made.append(open_repository(Path(init_repository(place / name).path)))
        return made[-1]

    yield make
    for repository in made:
        repository.close()


def make_folder(server: Server, url: str) -> None:
    """Make the folder of a remote, where a server has folders."""
    if url.startswith("sftp"):
        (server.folder / "data" / url.rpartition("/")[2]).mkdir(exist_ok=True)


def test_push_clone_pull_and_renumbering(server: Server, url: str, opened: Machine, place: Path) -> None:
    make_folder(server, url)
    ada = opened("ada")
    made = add_remote(ada, "origin", url, server.options)
    assert (made.writable, made.exclusive) == (True, True)
    checkpoints = chain(ada, 3)
    record(ada, b"ada")
    push(ada)
    path = Path(clone(url, place / "bob", server.options).path) / ".mlver"
    bob = open_repository(path)
    try:
        assert get(bob, "chain:v2", place / "out") == {"m.safetensors": checkpoints[2]}
        record(ada, b"ada again")
        record(bob, b"bob")
        push(ada)
        assert push(bob).artifacts[0].renumbered == ((1, 2),)
        fetch(ada)
        assert contents(ada) == contents(bob)
        assert get(ada, "net:v2", place / "bobs") == {"w": b"bob"}
        assert show_remote(bob, "origin").artifact_count == 2
    finally:
        bob.close()


def test_a_web_server_is_a_remote_to_read_from(https_server: Server, opened: Machine, place: Path) -> None:
    name = os.urandom(6).hex()
    folder = Path(https_server.extra["folder"]) / name
    ada = opened("ada")
    add_remote(ada, "origin", str(folder))
    checkpoints = chain(ada, 3)
    for number in range(7):
        record(ada, b"%d" % number)
    push(ada)
    for kind, base in (("files", https_server.url), ("whole", https_server.extra["whole"])):
        path = Path(clone(f"{base}/{name}", place / kind).path) / ".mlver"
        copy = open_repository(path)
        try:
            assert contents(copy) == contents(ada)
            assert get(copy, "chain:v2", place / f"{kind}-out") == {"m.safetensors": checkpoints[2]}
            record(copy, b"mine")
            with pytest.raises(RemoteError, match="Nothing can be written"):
                push(copy)
        finally:
            copy.close()
    shutil.rmtree(folder)


def test_few_requests(s3_server: Server, opened: Machine, place: Path) -> None:
    url = f"{s3_server.url}/{os.urandom(6).hex()}"
    ada, bob = opened("ada"), opened("bob")
    for repository in (ada, bob):
        add_remote(repository, "origin", url, s3_server.options)
    for artifact in range(10):
        for number in range(16):
            record(ada, b"%d %d" % (artifact, number), f"net{artifact}")
    push(ada)
    assert push(ada).requests <= 4
    assert fetch(bob).requests <= 35
    assert fetch(bob).requests <= 4
    record(ada, b"one more", "net3")
    assert push(ada).requests <= 10
    assert fetch(bob).requests <= 6


@pytest.mark.parametrize(
    ("url", "options", "error"),
    [
        ("s3://key:secret@bucket/x", {}, UsageError),
        ("https://me:secret@host/x", {}, UsageError),
        ("https://host/x?X-Amz-Signature=1", {}, UsageError),
        ("s3:///x", {}, UsageError),
        ("s3://bucket", {"secret": "x"}, UsageError),
        ("", {}, UsageError),
        ("nothing://x/y", {}, RemoteError),
        ("https://127.0.0.1:1/x", {}, RemoteError),
    ],
)
def test_an_address_that_cannot_be_is_refused(
    opened: Machine, url: str, options: dict[str, str], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    repository = opened("ada")
    before = repository.storage.read("config.toml")
    with pytest.raises(error) as told:
        add_remote(repository, "origin", url, options)
    assert "secret@" not in str(told.value)
    assert repository.storage.read("config.toml") == before


def test_somebody_elses_files_are_left_alone(s3_server: Server, opened: Machine) -> None:
    import s3fs

    prefix = os.urandom(6).hex()
    filesystem = s3fs.S3FileSystem(endpoint_url=s3_server.options["endpoint"])
    filesystem.pipe_file(f"mlver-tests/{prefix}/holiday.jpg", b"x")
    with pytest.raises(RemoteError, match=r"holiday\.jpg"):
        add_remote(opened("ada"), "origin", f"{s3_server.url}/{prefix}", s3_server.options)
