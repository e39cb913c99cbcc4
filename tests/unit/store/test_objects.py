"""Objects of other people: files, a web that is not as it should be, and what is not understood."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlver.errors import ConflictError, MlverError, NotFoundError, RemoteError, UsageError
from mlver.store.objects.address import uri_problem
from mlver.store.objects.folder import FileObjects
from mlver.store.objects.opening import open_objects
from mlver.store.objects.patient import ObjectStore
from mlver.store.objects.service import Listed, ObjectChanged, Stat, strong_etag
from mlver.store.objects.web import WebObjects
from tests.support.odd_web import OddWeb, Page, odd_web
from tests.support.servers import Server


@pytest.fixture
def web() -> Iterator[OddWeb]:
    with odd_web() as server:
        yield server


def test_files_are_what_they_are(tmp_path: Path) -> None:
    files = FileObjects()
    (tmp_path / "sub").mkdir()
    for name, content in (("a", b"0123456789"), ("sub/b", b"b")):
        (tmp_path / name).write_bytes(content)
    place = str(tmp_path / "a")
    stat = files.stat(place)
    assert stat.size_bytes == 10
    assert files.read(place, stat, 2, 5) == b"234"
    assert files.read(place, stat, 8, 15) == b"89"  # no more than there is
    assert [Path(item.key).name for item in files.list(str(tmp_path), 9)] == ["a", "b"]
    assert len(files.list(str(tmp_path), 1)) == 1
    for missing, version in ((place, "v1"), (str(tmp_path), None)):
        with pytest.raises(FileNotFoundError):
            files.stat(missing, version)
    with pytest.raises(FileNotFoundError):
        files.list(str(tmp_path / "absent"), 9)
    os.utime(place, ns=(1, 1))
    with pytest.raises(ObjectChanged):
        files.read(place, stat, 0, 10)
    files.close()


def test_what_is_neither_file_nor_folder_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(MlverError, match="neither a file nor a folder"):
            FileObjects().list(str(tmp_path), 9)


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("file:///a%00b", "zero byte"), ("file://host/a", "names no file"), ("file:a", "begin with a protocol"),
        ("s3:///a", "no bucket"), ("https:///a", "no host"),
    ],
)  # fmt: skip
def test_uris_of_nothing(uri: str, problem: str) -> None:
    assert problem in (uri_problem(uri) or "")


def test_weak_tags_say_nothing() -> None:
    assert strong_etag('"x"') == "x"
    assert strong_etag('W/"x"') is strong_etag("") is strong_etag(None) is None


def test_a_web_without_ranges_lengths_or_tags(web: OddWeb) -> None:
    objects = WebObjects()
    web.pages["/plain"] = Page(b"content", tells_length=False)
    web.pages["/tagged"] = Page(b"content", etag='"1"', knows_ranges=True)
    web.pages["/other"] = Page(b"content", etag='"1"')
    stat = objects.stat(f"{web.url}/plain")
    assert (stat.size_bytes, stat.guard) == (None, None)
    assert b"".join(objects.stream(f"{web.url}/plain", stat)) == b"content"
    stat = objects.stat(f"{web.url}/tagged")
    assert objects.read(f"{web.url}/tagged", stat, 0, 3) == b"con"
    with pytest.raises(ObjectChanged):
        objects.read(f"{web.url}/tagged", stat._replace(guard="2"), 0, 3)
    with pytest.raises(ObjectChanged):
        objects.read(f"{web.url}/other", stat, 1, 3)  # it sends the whole
    with pytest.raises(ObjectChanged):
        list(objects.stream(f"{web.url}/tagged", stat._replace(etag="2")))
    with pytest.raises(FileNotFoundError):
        objects.stat(f"{web.url}/tagged", "some version")
    for status, expected in ((404, FileNotFoundError), (410, FileNotFoundError), (412, ObjectChanged), (500, OSError)):
        web.pages["/refused"] = Page(status=status)
        with pytest.raises(expected):
            objects.stat(f"{web.url}/refused")
    objects.close()
    with pytest.raises(OSError, match="refused"):
        objects.stat("http://127.0.0.1:9/nobody")


def test_a_certificate_of_nobody_is_told_at_once(https_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    pauses: list[float] = []
    with pytest.raises(RemoteError, match="its certificate is not valid"):
        ObjectStore(WebObjects(), https_server.url, pause=pauses.append).stat(f"{https_server.url}/a")
    assert pauses == []


@pytest.mark.parametrize(
    "answer", [b"no HTTP at all\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ncont"]
)
def test_an_answer_that_breaks_off_is_a_failed_connection(web: OddWeb, answer: bytes) -> None:
    web.pages["/a"] = Page(instead=answer)
    objects = WebObjects()
    with pytest.raises(ConnectionError, match="broke off"):
        b"".join(objects.stream(f"{web.url}/a", Stat(None, None, None, None)))


class Odd:
    """Objects that answer as a test wants it."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.is_closed = False

    def _now(self) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def stat(self, key: str, version: str | None = None) -> Stat:
        return Stat(3, None, None, "g")

    def list(self, prefix: str, limit: int) -> list[Listed]:
        self._now()
        return []

    def read(self, key: str, stat: Stat, start: int, end: int) -> bytes:
        return bytes(self._now())

    def stream(self, key: str, stat: Stat) -> Iterator[bytes]:
        yield b"first"
        yield self._now()

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ObjectChanged("k"), ConflictError), (FileNotFoundError("k"), NotFoundError), (b"12", RemoteError),
        (NotImplementedError(), UsageError), (PermissionError(13, "no"), RemoteError),
    ],
)  # fmt: skip
def test_what_objects_do_is_explained(answer: Any, expected: type[Exception]) -> None:
    odd = Odd(answer)
    store = ObjectStore(odd, "https://host", attempts=2, pause=lambda _: None)
    stat = store.stat("k")
    with pytest.raises(expected):
        store.read("k", stat, 0, 3)
    if isinstance(answer, Exception):
        with pytest.raises(expected):
            store.list("k", 3)
        stream = store.stream("k", stat)
        assert next(stream) == b"first"
        with pytest.raises(expected):
            next(stream)
    store.close()
    assert odd.is_closed


def test_libraries_that_cannot_start_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no credentials anywhere")

    monkeypatch.setattr("mlver.store.objects.opening._objects", broken)
    with pytest.raises(RemoteError, match="no credentials"):
        open_objects("s3://bucket", {})
    monkeypatch.undo()
    with pytest.raises(UsageError):
        open_objects("s3://bucket", {"nonsense": "x"})
