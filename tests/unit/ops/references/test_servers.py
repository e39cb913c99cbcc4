"""References to real servers: recorded, checked, downloaded; and what becomes of them when objects change."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mlver.errors import IntegrityError, MlverError, NotFoundError, RemoteError, UsageError
from mlver.repository import Repository
from tests.support.places import quick_folder
from tests.support.servers import Server

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # gcsfs hands aiohttp bytes
LARGE = bytes(range(256)) * 70_000
"""More than two ranges."""


@dataclass
class Bucket:
    """A place of objects that tests may change.

    Attributes:
        kind: `s3`, `gcs`, `https` or `file`.
        url: Of the place, with a `/` at the end.
        options: What mlver needs to know of it.
        put: Makes or replaces an object.
        remove: Removes one.
    """

    kind: str
    url: str
    options: dict[str, str]
    put: Callable[[str, bytes], None]
    remove: Callable[[str], None]

    def uris(self, *names: str) -> list[str]:
        """Return what to refer to, to have all of the objects: the prefix, where there are listings."""
        return [self.url + name for name in names] if self.kind == "https" else [self.url]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with Repository.init(tmp_path / "home") as made:
        yield made


@pytest.fixture(params=["file", "s3", "gcs", "https"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    if request.param == "file":
        return folder_bucket(tmp_path / "far", "file", (tmp_path / "far").as_uri() + "/")
    server: Server = request.getfixturevalue(f"{request.param}_server")
    name = os.urandom(6).hex()
    if request.param == "https":
        return folder_bucket(Path(server.extra["folder"]) / name, "https", f"{server.url}/{name}/")
    return object_bucket(request.param, server, name)


def folder_bucket(folder: Path, kind: str, url: str) -> Bucket:
    def put(name: str, content: bytes) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        # Whoever serves it makes the tag of its size and second.
        os.utime(path, (path.stat().st_mtime, zlib.crc32(content)))

    folder.mkdir()
    return Bucket(kind, url, {}, put, lambda name: (folder / name).unlink())


def object_bucket(kind: str, server: Server, name: str) -> Bucket:
    place = f"{urlsplit(server.url).netloc}/{name}"
    if kind == "s3":
        import s3fs

        filesystem = s3fs.S3FileSystem(endpoint_url=server.options["endpoint"], use_listings_cache=False)
    else:
        import gcsfs

        filesystem = gcsfs.GCSFileSystem(endpoint_url=server.options["endpoint"], token="anon")
    options = server.options if kind == "gcs" else {"endpoint": server.options["endpoint"]}
    return Bucket(
        kind,
        f"{server.url}/{name}/",
        dict(options),
        lambda path, content: filesystem.pipe_file(f"{place}/{path}", content),
        lambda path: filesystem.rm_file(f"{place}/{path}"),
    )


def add(repository: Repository, bucket: Bucket, *names: str, **settings: object) -> str:
    """Refer to all of a place and return the version's name."""
    options = bucket.options if not settings.pop("known", False) else {}
    done = repository.add(
        name="data",
        type="dataset",
        references=bucket.uris(*names),
        reference_options=options,
        **settings,  # type: ignore[arg-type]
    )
    return done.version.name


def test_a_prefix_is_recorded_checked_and_pulled(repository: Repository, bucket: Bucket, tmp_path: Path) -> None:
    objects = {"a.csv": b"1,2\n", "empty": b"", "large.bin": LARGE}
    for name, content in objects.items():
        bucket.put(name, content)
    assert add(repository, bucket, *objects) == "data:v0"
    manifest = repository.manifest("data")
    assert [(entry.path, entry.size_bytes) for entry in manifest.references] == [
        (name, len(content)) for name, content in objects.items()
    ]
    assert [bool(entry.digest) for entry in manifest.references] == [bucket.kind == "file"] * 3
    assert add(repository, bucket, *objects, known=True) == "data:v0", "the same makes no new version"
    assert {check.status for check in repository.verify().references} == {"same"}
    pulled = repository.pull("data", tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == objects
    assert (pulled.references, pulled.downloaded_bytes) == (tuple(objects), sum(map(len, objects.values())))
    again = repository.pull("data", tmp_path / "again")
    assert (again.written_bytes, again.downloaded_bytes) == (pulled.written_bytes, 0), "all came from the cache"
    assert repository.pull("data", tmp_path / "out").kept == tuple(objects)
    assert repository.status(tmp_path / "out").is_clean
    with repository.open("data", "a.csv") as file:
        assert file.read() == objects["a.csv"]
    assert {check.checked_by for check in repository.verify(references="read").references} == {"content"}


def test_other_content_is_another_version_and_refused_in_the_old_one(
    repository: Repository, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put("a", b"before")
    bucket.put("b", b"stays")
    add(repository, bucket, "a", "b")
    bucket.put("a", b"after!")
    assert add(repository, bucket, "a", "b", known=True) == "data:v1"
    found = {check.paths: check for check in repository.verify("data:v0", references="read").references}
    assert (found["a",].status, found["b",].status) == ("changed", "same")
    with pytest.raises(IntegrityError, match=r"not what (it was|they were)"):
        repository.pull("data:v0", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert repository.pull("data:v0", tmp_path / "part", ["b"]).written == ("b",)
    assert repository.pull("data:v0", tmp_path / "none", references=False).written == ()
    repository.pull("data:v1", tmp_path / "new")
    assert (tmp_path / "new" / "a").read_bytes() == b"after!"
    (change,) = repository.diff("data:v0", "data:v1").files.references
    assert (change.path, change.kind, change.has_same_content) == ("a", "changed", False)


def test_what_is_gone_is_told(repository: Repository, bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("a", b"content")
    add(repository, bucket, "a")
    bucket.remove("a")
    result = repository.verify()
    assert (result.ok, [check.status for check in result.references]) == (False, ["gone"])
    with pytest.raises(IntegrityError, match="does not exist any more"):
        repository.pull("data", tmp_path / "out")
    with pytest.raises(NotFoundError):
        add(repository, bucket, "a", known=True)


def test_the_same_bytes_written_anew_are_the_same_content(
    repository: Repository, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put("a", b"content")
    assert add(repository, bucket, "a", digest=True) == "data:v0"
    bucket.put("b", b"x")
    bucket.remove("b")
    bucket.put("a", b"other!!")
    bucket.put("a", b"content")
    assert add(repository, bucket, "a", known=True) == "data:v0", "its digest tells"
    shutil.rmtree(repository.path / "references", ignore_errors=True)
    assert repository.pull("data", tmp_path / "out").downloaded_bytes == 7
    assert repository.verify(references="read").ok


def test_a_single_object_and_several_things_keep_their_names(
    repository: Repository, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put("a.csv", b"a")
    (tmp_path / "card.md").write_text("card")
    first = repository.add(
        name="one", type="t", references=[bucket.url + "a.csv"], reference_options=bucket.options
    ).version
    assert [entry.path for entry in repository.manifest(first.name).references] == ["a.csv"]
    mixed = repository.add(tmp_path / "card.md", name="two", type="t", references=bucket.uris("a.csv")).version
    folder = "" if bucket.kind == "https" else bucket.url.rstrip("/").rpartition("/")[2] + "/"
    assert [entry.path for entry in repository.manifest(mixed.name).references] == [f"{folder}a.csv"]
    assert (mixed.file_count, mixed.logical_bytes, mixed.reference_count, mixed.reference_bytes) == (1, 4, 1, 1)
    repository.pull(mixed.name, tmp_path / "out")
    assert (tmp_path / "out" / "card.md").read_text() == "card"
    assert (tmp_path / "out" / folder / "a.csv").read_bytes() == b"a"


def test_too_many_objects_and_none_are_refused(repository: Repository, bucket: Bucket) -> None:
    if bucket.kind == "https":
        with pytest.raises(UsageError, match="cannot be listed"):
            add(repository, bucket, "")
        return
    with pytest.raises(NotFoundError):
        add(repository, bucket)
    for number in range(4):
        bucket.put(f"deep/{number}", b"x")
    with pytest.raises(MlverError, match="more than 3 objects"):
        add(repository, bucket, known=True, max_files=3)
    assert add(repository, bucket, known=True, max_files=4) == "data:v0"
    kept = repository.add(name="data", references=bucket.uris(), exclude=["0", "2"]).version
    assert [entry.path for entry in repository.manifest(kept.name).references] == ["deep/1", "deep/3"]
    assert repository.artifacts()[0].version_count == 2


def test_an_old_version_of_an_object_can_be_had(repository: Repository, s3_server: Server, tmp_path: Path) -> None:
    import s3fs

    name = f"versions-{os.urandom(4).hex()}"
    filesystem = s3fs.S3FileSystem(endpoint_url=s3_server.options["endpoint"], use_listings_cache=False)
    filesystem.call_s3("create_bucket", Bucket=name)
    filesystem.call_s3("put_bucket_versioning", Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    for number, content in enumerate((b"first", b"second")):
        filesystem.call_s3("put_object", Bucket=name, Key="p/a.txt", Body=content)
        done = repository.add(name="d", type="t", references=[f"s3://{name}/p"], reference_options=s3_server.options)
        assert done.version.number == number
    assert {(check.status, check.checked_by) for check in repository.verify().references} == {("same", "version")}
    repository.pull("d:v0", tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"first"
    filesystem.call_s3("delete_object", Bucket=name, Key="p/a.txt")
    shutil.rmtree(repository.path / "references")
    repository.pull("d:v1", tmp_path / "deleted")
    assert (tmp_path / "deleted" / "a.txt").read_bytes() == b"second"


def test_references_travel_with_the_manifest(s3_server: Server, tmp_path: Path) -> None:
    bucket = object_bucket("s3", s3_server, os.urandom(6).hex())
    bucket.put("a", b"far away")
    with Repository.init(tmp_path / "ada") as ada:
        ada.add_remote("origin", f"{s3_server.url}/{os.urandom(6).hex()}", **s3_server.options)
        done = ada.add(name="data", type="dataset", references=[bucket.url])
        pushed = ada.push()
        assert (pushed.sent_bytes, [each.versions for each in pushed.artifacts]) == (0, [(0,)])
        url = ada.remotes()[0].url
    with Repository.clone(url, tmp_path / "bob", **s3_server.options) as bob:
        assert bob.resolve("data").reference_count == 1
        bob.pull("data", tmp_path / "out")
        assert (tmp_path / "out" / "a").read_bytes() == b"far away"
        assert bob.resolve("data").id == done.version.id
        assert bob.verify().ok


def test_a_bucket_without_access_is_unreachable(repository: Repository, s3_server: Server) -> None:
    bucket = object_bucket("s3", s3_server, os.urandom(6).hex())
    bucket.put("a", b"x")
    add(repository, bucket)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(RemoteError, match="access was refused"):
            add(repository, bucket, known=True)
        result = repository.verify()
    assert (result.ok, result.is_damaged, result.references[0].status) == (False, False, "unreachable")
