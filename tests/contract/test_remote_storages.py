from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mlver.errors import IntegrityError, NotFoundError, RemoteError
from mlver.store.remote.address import check_address
from mlver.store.remote.opening import open_storage, s3_service
from mlver.store.remote.probe import probe
from mlver.store.remote.storage import RemoteStorage
from mlver.store.storage import Storage
from tests.contract.storage import FRIENDLY, StorageContract
from tests.support.proxy import bad_connection
from tests.support.servers import Server, short_pages


def opened(server: Server, below: str | None = None, **options: str) -> RemoteStorage:
    """Return a storage in a folder of its own."""
    url = f"{server.url}/{below or os.urandom(6).hex()}"
    storage = open_storage(check_address(url, server.options | options))
    assert isinstance(storage, RemoteStorage)
    return storage


def through_obstore(server: Server) -> Server:
    """Return a server that is spoken to through obstore, if that is installed."""
    pytest.importorskip("obstore", reason="NO OBSTORE: these tests did not run. To have it: pip install obstore")
    return replace(server, options=server.options | {"library": "obstore"})


NAMES = ["log/a/1", "log/a/2", "log/b/1", "log/c", "log/d"]


def assert_all_listed(storage: RemoteStorage) -> None:
    assert storage.list("log") == ["a", "b", "c", "d"]
    assert storage.list_deep("").keys() == set(NAMES)


class RemoteContract(StorageContract):
    def test_creation_is_exclusive(self, storage: Storage) -> None:
        found = probe(storage, read_only=False)
        assert (found.writable, found.exclusive) == (True, True)
        assert storage.list("probe") == []

    def test_a_deep_listing_has_sizes(self, storage: RemoteStorage) -> None:
        for name in ("log/a/1", "log/a/2", "log/b/1", "packs/x"):
            storage.put(name, name.encode())
        assert storage.list_deep("log") == {"a/1": 7, "a/2": 7, "b/1": 7}
        assert storage.list_deep("nowhere") == {}

    def test_a_listing_of_blobs_has_sizes_and_times(self, storage: RemoteStorage) -> None:
        before = time.time_ns()
        for name in ("log/a/1", "packs/x"):
            storage.put(name, name.encode())
        found = storage.list_blobs("")
        assert {name: blob.size_bytes for name, blob in found.items()} == {"log/a/1": 7, "packs/x": 7}
        for blob in found.values():  # by the same machine's clock, here; some servers know no fractions
            assert before - 2e9 < blob.modified_ns < time.time_ns() + 2e9
        assert storage.list_blobs("log").keys() == {"a/1"}

    def test_a_service_reads_from_anywhere_to_the_end(self, storage: RemoteStorage) -> None:
        storage.put("a", b"0123456789")
        assert storage._service.get("a", 0, None) == b"0123456789"
        assert storage._service.get("a", 3, None) == b"3456789"
        assert storage._service.get("a", 12, 15) == b""


class TestMemory(RemoteContract):
    @pytest.fixture
    def storage(self) -> Storage:
        return open_storage(check_address(f"memory://{os.urandom(6).hex()}"))


class TestS3(RemoteContract):
    @pytest.fixture
    def server(self, s3_server: Server) -> Server:
        return s3_server

    @pytest.fixture
    def storage(self, server: Server) -> Storage:
        return opened(server)

    def test_an_absent_bucket_is_no_empty_one(self, server: Server) -> None:
        storage = open_storage(check_address("s3://no-such-bucket/x", server.options))
        for request in (lambda: storage.list("packs"), lambda: storage.read("a")):  # SeaweedFS makes it for a PUT
            with pytest.raises(RemoteError):
                request()

    def test_wrong_keys_are_told(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(RemoteError, match="refused"):
            opened(server).list("")

    def test_a_long_listing_comes_in_pages(self, server: Server) -> None:
        service = s3_service(check_address(f"{server.url}/{os.urandom(6).hex()}", server.options))
        storage = RemoteStorage(service, "pages")
        for name in NAMES:
            storage.put(name, b"x")
        with short_pages(service, "ListObjectsV2") as pages:
            assert_all_listed(storage)
        assert len(pages) > 4

    def test_a_refusal_in_the_words_of_amazon_is_one(self, server: Server) -> None:
        with bad_connection(server.options["endpoint"]) as proxy:
            proxy.alter_answer = lambda data: data.replace(b"</Code>", b"</Code><Condition>If-None-Match</Condition>")
            storage = opened(replace(server, options=server.options | {"endpoint": proxy.url}))
            assert [storage.create("log/a/1", data) for data in (b"mine", b"yours")] == [True, False]
            assert storage.read("log/a/1") == b"mine"


class TestS3Fast(TestS3):
    """The same through obstore."""

    @pytest.fixture
    def server(self, s3_server: Server) -> Server:
        return through_obstore(s3_server)

    def test_a_long_listing_comes_in_pages(self, server: Server) -> None:
        pytest.skip("obstore asks for the pages itself")


class TestGcs(RemoteContract):
    @pytest.fixture
    def server(self, gcs_server: Server) -> Server:
        return gcs_server

    @pytest.fixture
    def storage(self, server: Server) -> Storage:
        return opened(server)

    @pytest.mark.parametrize(
        "name", [name for name in FRIENDLY if len(name) < 200]
    )  # not longer: the emulator makes files of them
    def test_ordinary_names_are_taken(self, storage: Storage, name: str) -> None:
        super().test_ordinary_names_are_taken(storage, name)

    def test_an_absent_bucket_is_no_empty_one(self, server: Server) -> None:
        storage = open_storage(check_address("gs://no-such-bucket/x", server.options))
        with pytest.raises(RemoteError):
            storage.list("packs")

    def test_a_long_listing_comes_in_pages(self, server: Server) -> None:
        with bad_connection(server.options["endpoint"]) as proxy:
            proxy.alter_path = lambda path: path + "&maxResults=2" if "prefix=" in path else path
            storage = opened(replace(server, options=server.options | {"endpoint": proxy.url}))
            for name in NAMES:
                storage.put(name, b"x")
            assert_all_listed(storage)
            assert sum("pageToken=" in path for _, path in proxy.seen) >= 2

    def test_who_may_not_is_told_at_once(self, server: Server) -> None:
        with bad_connection(server.options["endpoint"]) as proxy:
            storage = opened(replace(server, options=server.options | {"endpoint": proxy.url}))
            proxy.policy = lambda method, path: "forbidden"
            requests: list[Callable[[], object]] = [
                lambda: storage.read("a"),
                lambda: storage.size("a"),
                lambda: storage.list("log"),
                lambda: storage.put("a", b""),
                lambda: storage.create("a", b""),
                lambda: storage.delete("a"),
            ]
            for request in requests:
                before = len(proxy.seen)
                with pytest.raises(RemoteError, match="access was refused") as told:
                    request()
                assert told.value.hint is not None
                assert "credentials" in told.value.hint
                assert len(proxy.seen) == before + 1


class TestSftp(RemoteContract):
    @pytest.fixture
    def server(self, sftp_server: Server) -> Server:
        return sftp_server

    @pytest.fixture
    def storage(self, server: Server) -> Storage:
        below = os.urandom(6).hex()
        (server.folder / "data" / below).mkdir()
        return opened(server, below)

    def test_an_absent_folder_is_no_empty_one(self, server: Server) -> None:
        with pytest.raises(RemoteError):
            opened(server).list("packs")

    def test_an_unknown_host_is_refused(self, server: Server) -> None:
        storage = opened(server, **{"known-hosts": os.devnull})
        with pytest.raises(RemoteError, match="not found in known_hosts"):
            storage.list("")

    def test_a_connection_that_ended_is_made_anew(self, storage: RemoteStorage, server: Server) -> None:
        storage._pause = lambda seconds: None
        storage.put("a", b"before")
        for child in Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        assert storage.read("a") == b"before"


class TestHttps:
    @pytest.fixture
    def server(self, https_server: Server) -> Server:
        return https_server

    @pytest.mark.parametrize("which", ["files", "whole"])
    def test_blobs_and_their_ranges(self, server: Server, which: str) -> None:
        place = server.folder / "data" / "packs"
        place.mkdir(exist_ok=True)
        (place / "a").write_bytes(b"0123456789")
        url = server.url if which == "files" else server.extra["whole"]
        storage = open_storage(check_address(url))
        assert storage.read("packs/a") == b"0123456789"
        assert storage.read("packs/a", 3, 4) == b"3456"
        assert storage.read("packs/a", 8) == b"89"
        assert storage.size("packs/a") == 10
        assert not storage.exists("packs/b")
        with pytest.raises(IntegrityError, match="packs/a"):
            storage.read("packs/a", 8, 4)
        with pytest.raises(NotFoundError, match="packs/b"):
            storage.read("packs/b")
