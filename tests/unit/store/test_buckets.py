"""Objects of other people in buckets, at real servers: pages, versions, and what became another meanwhile."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from mlver.store.objects.gcs import GcsObjects
from mlver.store.objects.s3 import S3Objects
from mlver.store.objects.service import ObjectChanged, Objects
from mlver.store.remote.address import check_address
from mlver.store.remote.gcs import GcsService
from mlver.store.remote.opening import gcs_service, s3_service
from mlver.store.remote.s3 import S3Service
from mlver.store.remote.service import Service
from tests.support.proxy import Fault, bad_connection
from tests.support.servers import Server, short_pages

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # gcsfs hands aiohttp bytes
Bucket = tuple[Service, Objects, str]
"""To write, to read, and the prefix of what is written."""


def s3_bucket(server: Server) -> tuple[S3Service, S3Objects, str]:
    prefix = os.urandom(6).hex()
    writer, root = (s3_service(check_address(server.url + below, server.options)) for below in (f"/{prefix}", ""))
    return writer, S3Objects(root), prefix


def gcs_bucket(server: Server) -> tuple[GcsService, GcsObjects, str]:
    prefix = os.urandom(6).hex()
    writer, root = (gcs_service(check_address(server.url + below, server.options)) for below in (f"/{prefix}", ""))
    return writer, GcsObjects(root), prefix


@pytest.fixture(params=["s3", "gcs"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    server: Server = request.getfixturevalue(f"{request.param}_server")
    return s3_bucket(server) if request.param == "s3" else gcs_bucket(server)


def test_an_object_is_read_as_it_was_looked_at_or_not_at_all(bucket: Bucket) -> None:
    writer, objects, prefix = bucket
    key = f"{prefix}/a"
    writer.put("a", b"0123456789")
    stat = objects.stat(key)
    assert objects.read(key, stat, 2, 5) == b"234"
    writer.put("a", b"other")
    with pytest.raises(ObjectChanged):
        objects.read(key, stat, 2, 5)
    writer.delete("a")
    with pytest.raises((ObjectChanged, FileNotFoundError)):
        objects.read(key, stat, 2, 5)
    with pytest.raises(FileNotFoundError):
        objects.stat(key)
    objects.close()


def test_a_generation_that_never_was_is_absent(gcs_server: Server) -> None:
    writer, objects, prefix = gcs_bucket(gcs_server)
    writer.put("a", b"0123456789")
    with pytest.raises(FileNotFoundError):
        objects.stat(f"{prefix}/a", "1600000000000000")


def test_no_more_is_listed_than_is_asked_for(bucket: Bucket) -> None:
    writer, objects, prefix = bucket
    for name in "abc":
        writer.put(name, b"x")
    assert [item.key for item in objects.list(f"{prefix}/", 2)] == [f"{prefix}/a", f"{prefix}/b"]
    assert objects.list(f"{prefix}/", 0) == []


@pytest.mark.parametrize(("limit", "expected"), [(9, "abcde"), (3, "abc")])
def test_a_long_listing_comes_in_pages_s3(s3_server: Server, limit: int, expected: str) -> None:
    writer, objects, prefix = s3_bucket(s3_server)
    for name in "abcde":
        writer.put(name, b"x")
    with short_pages(objects._service, "ListObjectsV2") as pages:
        assert [item.key for item in objects.list(f"{prefix}/", limit)] == [f"{prefix}/{name}" for name in expected]
    assert len(pages) == len(expected) // 2 + 1


def test_a_long_listing_of_versions_comes_in_pages(s3_server: Server) -> None:
    name = f"pages-{os.urandom(4).hex()}"
    service = s3_service(check_address(f"s3://{name}", s3_server.options))
    service.call("create_bucket")
    service.call("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})
    for key in "abc":
        for content in (b"old", b"new!"):
            service.put(key, content)
    objects = S3Objects(service)
    with short_pages(service, "ListObjectVersions") as pages:
        found = {item.key: item.stat for item in objects.list("", 9)}
    assert len(pages) == 3
    assert {key: stat.size_bytes for key, stat in found.items()} == {"a": 4, "b": 4, "c": 4}
    for never in ("never", "0" * 32):
        with pytest.raises(FileNotFoundError):
            objects.stat("a", never)
    for key, stat in found.items():
        assert objects.stat(key, stat.version) == stat
        assert objects.read(key, stat, 0, 4) == b"new!"
        with pytest.raises(ObjectChanged):  # a version that is said to have another content than it has
            objects.read(key, stat._replace(guard="0" * 32), 0, 4)


@pytest.mark.parametrize("answer", ["bad request", "not allowed"])
def test_what_amazon_knows_no_version_by_is_absent(s3_server: Server, answer: Fault) -> None:
    with bad_connection(s3_server.options["endpoint"]) as proxy:
        writer, objects, prefix = s3_bucket(replace(s3_server, options=s3_server.options | {"endpoint": proxy.url}))
        writer.put("a", b"0123456789")
        proxy.policy = lambda method, path: answer
        with pytest.raises(FileNotFoundError):
            objects.stat(f"{prefix}/a", "never")
        with pytest.raises(OSError, match=r"Bad Request|Method Not Allowed"):
            objects.stat(f"{prefix}/a")


def test_an_object_without_a_tag_comes_in_one_piece(s3_server: Server) -> None:
    writer, objects, prefix = s3_bucket(s3_server)
    writer.put("a", b"0123456789")
    stat = objects.stat(f"{prefix}/a")._replace(etag=None, guard=None)
    assert b"".join(objects.stream(f"{prefix}/a", stat)) == b"0123456789"


def test_a_bucket_that_is_not_there_is_no_changed_object(s3_server: Server) -> None:
    writer, objects, prefix = s3_bucket(s3_server)
    writer.put("a", b"0123456789")
    stat = objects.stat(f"{prefix}/a")
    for wrong, error in (("no-such-bucket-here", FileNotFoundError), ("X", Exception)):
        absent = S3Objects(s3_service(check_address(f"s3://{wrong}", s3_server.options)))
        with pytest.raises(error) as told:
            absent.read(f"{prefix}/a", stat, 0, 1)
        assert not isinstance(told.value, ObjectChanged)


def test_a_long_listing_comes_in_pages_gcs(gcs_server: Server) -> None:
    with bad_connection(gcs_server.options["endpoint"]) as proxy:
        proxy.alter_path = lambda path: path + "&maxResults=2" if "prefix=" in path else path
        writer, objects, prefix = gcs_bucket(replace(gcs_server, options=gcs_server.options | {"endpoint": proxy.url}))
        for name in "abcde":
            writer.put(name, b"x")
        assert [item.key for item in objects.list(f"{prefix}/", 9)] == [f"{prefix}/{name}" for name in "abcde"]
        assert [item.key for item in objects.list(f"{prefix}/", 3)] == [f"{prefix}/{name}" for name in "abc"]
        assert sum("pageToken=" in path for _, path in proxy.seen) == 3


def test_another_generation_than_was_asked_for_is_another_content(gcs_server: Server) -> None:
    """A server that knows no generations sends what it has."""
    with bad_connection(gcs_server.options["endpoint"]) as proxy:
        writer, objects, prefix = gcs_bucket(replace(gcs_server, options=gcs_server.options | {"endpoint": proxy.url}))
        writer.put("a", b"old")
        stat = objects.stat(f"{prefix}/a")
        writer.put("a", b"new")
        now = objects.stat(f"{prefix}/a")
        proxy.alter_path = lambda path: path.replace(f"generation={stat.guard}", f"generation={now.guard}")
        with pytest.raises(ObjectChanged):
            objects.read(f"{prefix}/a", stat, 0, 3)
        assert objects.read(f"{prefix}/a", now, 0, 3) == b"new"


def test_a_composed_object_has_no_md5(gcs_server: Server) -> None:
    """As Google says of objects that were put together at the server; the emulator computes one."""

    def without(data: bytes) -> bytes:
        if b'"md5Hash"' not in data:
            return data
        told = json.loads(data)
        del told["md5Hash"]
        return json.dumps(told).encode()

    with bad_connection(gcs_server.options["endpoint"]) as proxy:
        writer, objects, prefix = gcs_bucket(replace(gcs_server, options=gcs_server.options | {"endpoint": proxy.url}))
        writer.put("a", b"0123456789")
        whole = objects.stat(f"{prefix}/a")
        proxy.alter_answer = without
        composed = objects.stat(f"{prefix}/a")
    assert whole.etag == "781e5e245d69b566979b86e28d23f2c7"
    assert composed.etag not in (None, whole.etag)
    assert (composed.size_bytes, composed.guard) == (10, whole.guard)
