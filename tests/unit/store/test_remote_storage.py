"""What `RemoteStorage` makes of a service that fails, stalls, cuts and loses replies."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

import pytest

from mlver.errors import IntegrityError, MlverError, NotFoundError, RemoteError, UsageError
from mlver.history.event import SetTag, new_event
from mlver.history.log import EventLog
from mlver.store.remote.address import check_address
from mlver.store.remote.patience import ATTEMPTS
from mlver.store.remote.probe import probe
from mlver.store.remote.service import Entry
from mlver.store.remote.storage import RemoteStorage


class Shelf:
    """A service in memory that can be told to fail: real in all but where it keeps things."""

    is_read_only = False

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.failures: list[Exception] = []
        self.after = False
        self.cut = 0
        self.is_exclusive = True

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)

    def get(self, path: str, start: int, end: int | None) -> bytes:
        self._fail()
        if path not in self.blobs:
            raise FileNotFoundError(path)
        data = self.blobs[path][start:end]
        return data[: len(data) - self.cut]

    def size(self, path: str) -> int:
        self._fail()
        if path not in self.blobs:
            raise FileNotFoundError(path)
        return len(self.blobs[path])

    def list(self, folder: str, deep: bool) -> Sequence[Entry]:
        self._fail()
        return [Entry(name, len(data)) for name, data in self.blobs.items()]

    def create(self, path: str, data: bytes) -> bool:
        if not self.after:
            self._fail()
        if path in self.blobs and self.is_exclusive:
            return False
        self.blobs[path] = data
        self._fail()
        return True

    def put(self, path: str, data: bytes) -> None:
        self._fail()
        self.blobs[path] = data

    def delete(self, path: str) -> None:
        self._fail()
        self.blobs.pop(path, None)

    def close(self) -> None:
        return


class NoSuchBucket(FileNotFoundError):
    """As s3fs raises it."""

    def __init__(self) -> None:
        super().__init__(errno.ENOENT, "The specified bucket does not exist")
        self.__cause__ = type("Cause", (Exception,), {"response": {"Error": {"Code": "NoSuchBucket"}}})()


TRANSIENT = [
    ConnectionResetError(errno.ECONNRESET, "reset"),
    TimeoutError(),
    OSError(errno.EIO, "SlowDown"),
    OSError(errno.EBUSY, "503"),
    type("ServerDisconnectedError", (Exception,), {})("gone"),
    type("HttpError", (Exception,), {"code": 503})("busy"),
    type("SSHException", (Exception,), {})("lost"),
    EOFError(),
]
FINAL = [
    PermissionError(errno.EACCES, "Access Denied"),
    type("NoCredentialsError", (Exception,), {})("Unable to locate credentials"),
    type("HttpError", (OSError,), {"code": 400})("bad"),
    ValueError("nonsense"),
    OSError(errno.ENOSPC, "full"),
]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def storage(shelf: Shelf, pauses: list[float]) -> RemoteStorage:
    return RemoteStorage(shelf, "s3://bucket", pause=pauses.append)


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
def test_what_may_pass_is_tried_again_with_growing_pauses(
    storage: RemoteStorage, shelf: Shelf, pauses: list[float], error: Exception
) -> None:
    shelf.blobs["a"] = b"x"
    shelf.failures = [error] * (ATTEMPTS - 1)
    assert storage.read("a") == b"x"
    assert len(pauses) == ATTEMPTS - 1
    assert pauses[-1] > pauses[0]
    assert sum(pauses) < 60


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
def test_there_is_an_end(storage: RemoteStorage, shelf: Shelf, error: Exception) -> None:
    shelf.failures = [error] * 100
    with pytest.raises(RemoteError, match=r"s3://bucket"):
        storage.put("a", b"x")
    assert len(shelf.failures) == 100 - ATTEMPTS


@pytest.mark.parametrize("error", FINAL, ids=lambda error: type(error).__name__)
def test_what_will_not_pass_is_told_at_once(
    storage: RemoteStorage, shelf: Shelf, pauses: list[float], error: Exception
) -> None:
    shelf.failures = [error]
    with pytest.raises(RemoteError, match=r"Cannot list packs at s3://bucket: "):
        storage.list("packs")
    assert pauses == []


def test_an_absent_bucket_is_no_absent_blob(storage: RemoteStorage, shelf: Shelf) -> None:
    calls: list[Callable[[], object]] = [
        lambda: storage.read("a"),
        lambda: storage.exists("a"),
        lambda: storage.list(""),
        lambda: storage.put("a", b""),
        lambda: storage.delete("a"),
    ]
    for call in calls:
        shelf.failures = [NoSuchBucket()]
        with pytest.raises(RemoteError, match="bucket does not exist"):
            call()
    with pytest.raises(NotFoundError):
        storage.read("a")


def test_an_answer_that_is_cut_is_no_answer(storage: RemoteStorage, shelf: Shelf) -> None:
    shelf.blobs["a"] = b"0123456789"
    shelf.cut = 1
    with pytest.raises(IntegrityError, match="too short"):
        storage.read("a", 2, 4)


def test_a_lost_reply_is_known_by_its_write_id(storage: RemoteStorage, shelf: Shelf) -> None:
    log = EventLog(storage, "log/net")
    shelf.after = True
    shelf.failures = [ConnectionResetError()]
    event = new_event(0, "me", (SetTag(0, "t", True),))
    assert log.append(event) is True
    assert log.append(new_event(0, "me", (SetTag(0, "t", True),))) is False


def test_a_probe_tells_whether_creation_is_exclusive(storage: RemoteStorage, shelf: Shelf) -> None:
    assert probe(storage, read_only=False).exclusive is True
    shelf.is_exclusive = False
    assert probe(storage, read_only=False).exclusive is False
    assert shelf.blobs == {}
    assert probe(storage, read_only=True).exclusive is None


def test_a_place_that_knows_no_times_cannot_say_what_is_old(storage: RemoteStorage, shelf: Shelf) -> None:
    shelf.blobs["packs/a"] = b"x"
    assert storage.list_deep("") == {"packs/a": 1}
    with pytest.raises(RemoteError, match="does not say when"):
        storage.list_blobs("")


def test_errors_of_ours_go_through(storage: RemoteStorage, shelf: Shelf) -> None:
    shelf.failures = [MlverError("said already")]
    with pytest.raises(MlverError, match="said already"):
        storage.list("")


@pytest.mark.parametrize(
    ("url", "protocol", "host", "path"),
    [
        ("s3://bucket/a/b/", "s3", "bucket", "/a/b"),
        ("gs://bucket", "gs", "bucket", ""),
        ("gcs://bucket/x", "gs", "bucket", "/x"),
        ("sftp://me@host:2222/srv/x", "sftp", "me@host:2222", "/srv/x"),
        ("ssh://host/srv", "sftp", "host", "/srv"),
        ("file:///srv/x", "file", "", "/srv/x"),
        ("/srv/x", "file", "", "/srv/x"),
    ],
)
def test_addresses(url: str, protocol: str, host: str, path: str) -> None:
    address = check_address(url)
    assert (address.protocol, address.host, address.path) == (protocol, host, path)
    assert check_address(url, {"prefix": "p/q/"}).path == f"{path}/p/q"


@pytest.mark.parametrize("url", ["s3://k:s@b/x", "sftp://me:word@host/x", "https://h/x?sig=1", "s3://b:80/x", "a\nb"])
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(UsageError) as told:
        check_address(url)
    assert "word" not in told.value.message
