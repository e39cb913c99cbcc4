"""References to servers that tell little, tell lies, or send one elsewhere; and hostile listings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from http.client import HTTPMessage
from io import BytesIO
from pathlib import Path
from urllib.request import Request

import pytest

from mlver.digests import ContentHasher
from mlver.errors import ConflictError, IntegrityError, MlverError, RemoteError, UsageError
from mlver.ops.references import reading
from mlver.repository import Repository
from mlver.store.objects.web import Redirects
from tests.support.odd_web import OddWeb, Page, odd_web
from tests.support.places import quick_folder


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with Repository.init(tmp_path / "home") as made:
        yield made


@pytest.fixture
def web() -> Iterator[OddWeb]:
    with odd_web() as running:
        yield running


@pytest.fixture
def far(tmp_path: Path) -> Path:
    folder = tmp_path / "far"
    folder.mkdir()
    return folder


def add(repository: Repository, *references: str) -> str:
    return repository.add(name="data", type="dataset", references=references).version.name


def digest(content: bytes) -> str:
    hasher = ContentHasher()
    hasher.update(content)
    return hasher.digest()


@pytest.mark.parametrize(
    "page",
    [
        Page(b"words"),
        Page(b"words", tells_length=False),
        Page(b"words", etag='"e"', tells_length=False),
        Page(b"words", etag='W/"weak"'),
        Page(b"words", knows_ranges=True),
        Page(b""),
        Page(b"", tells_length=False),
        Page(b"", knows_ranges=True),
    ],
)
def test_what_the_server_does_not_tell_is_read(repository: Repository, web: OddWeb, page: Page, tmp_path: Path) -> None:
    web.pages["/a%20b.csv"] = page
    assert add(repository, f"{web.url}/a%20b.csv") == add(repository, f"{web.url}/a%20b.csv") == "data:v0"
    (entry,) = repository.manifest("data").references
    assert (entry.path, entry.size_bytes, entry.digest) == ("a b.csv", len(page.content), digest(page.content))
    assert entry.etag == ("e" if page.etag == '"e"' else None)
    repository.pull("data", tmp_path / "out")
    assert (tmp_path / "out" / "a b.csv").read_bytes() == page.content
    page.content = b"WORDS" if page.content else b"new"
    page.etag = None
    assert add(repository, f"{web.url}/a%20b.csv") == "data:v1"
    (repository.path / "references" / digest(b"words").removeprefix("blake3:")).unlink(missing_ok=True)
    if entry.size_bytes:
        with pytest.raises(IntegrityError, match="not what"):
            repository.pull("data:v0", tmp_path / "old")


def test_an_empty_object_with_a_tag_and_ranges(repository: Repository, web: OddWeb, tmp_path: Path) -> None:
    web.pages["/e"] = Page(b"", etag='"none"', knows_ranges=True)
    add(repository, f"{web.url}/e")
    repository.pull("data", tmp_path / "out")
    assert (tmp_path / "out" / "e").read_bytes() == b""


def test_an_object_that_changes_between_ranges_is_no_mix(
    repository: Repository, web: OddWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_RANGE_BYTES", 4)
    web.pages["/a"] = page = Page(b"a" * 400, etag='"1"', knows_ranges=True)
    add(repository, f"{web.url}/a")
    page.turns = [
        (page.content, '"1"'),
        (b"b" * 400, '"2"'),
    ]  # told what it is, and sent some of it
    with pytest.raises(ConflictError, match="changed while it was read"):
        repository.pull("data", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [b"", b"!"])
def test_a_stream_of_another_length_is_refused(
    repository: Repository, web: OddWeb, tmp_path: Path, more: bytes
) -> None:
    web.pages["/a"] = page = Page(b"words")
    add(repository, f"{web.url}/a")
    page.content = b"words and more" if more else b"wor"
    with pytest.raises(IntegrityError):
        repository.pull("data", tmp_path / "out")
    page.tells_length = False
    with pytest.raises(IntegrityError):
        repository.pull("data", tmp_path / "out")
    assert os.listdir(tmp_path) == ["home"]


def test_the_size_is_checked_where_nothing_else_tells(repository: Repository, web: OddWeb, tmp_path: Path) -> None:
    web.pages["/a"] = page = Page(b"words", etag='"e"', knows_ranges=True)
    add(repository, f"{web.url}/a")
    page.knows_ranges = page.tells_length = False
    for page.content in (b"words and more", b"wor"):
        with pytest.raises(IntegrityError, match="a is not what it was"):
            repository.pull("data", tmp_path / "out")


def test_an_answer_that_breaks_off_is_no_content(repository: Repository, web: OddWeb) -> None:
    web.pages["/a"] = Page(b"words", lie=3)
    with pytest.raises(MlverError):
        add(repository, f"{web.url}/a")
    assert repository.artifacts() == []


def test_redirects_are_followed_and_what_was_given_is_recorded(
    repository: Repository, web: OddWeb, tmp_path: Path
) -> None:
    web.pages["/here.bin"] = Page(location="/cdn/there?X-Amz-Signature=abc")
    web.pages["/cdn/there"] = Page(b"content", etag='"e"', knows_ranges=True)
    add(repository, f"{web.url}/here.bin")
    (entry,) = repository.manifest("data").references
    assert (entry.uri, entry.etag) == (f"{web.url}/here.bin", "e")
    repository.pull("data", tmp_path / "out")
    assert (tmp_path / "out" / "here.bin").read_bytes() == b"content"


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x", "gopher://x/", "/loop"])
def test_redirects_off_the_web_are_refused(repository: Repository, web: OddWeb, target: str) -> None:
    web.pages["/loop"] = Page(location=target)
    with pytest.raises(RemoteError):
        add(repository, f"{web.url}/loop")


def test_redirects_never_leave_the_encrypted_web() -> None:
    asked = Request("https://one/x")
    for target in ("http://one/x", "ftp://one/x", "file:///x"):
        with pytest.raises(RemoteError, match="not encrypted"):
            Redirects().redirect_request(asked, BytesIO(), 302, "", HTTPMessage(), target)
    followed = Redirects().redirect_request(asked, BytesIO(), 302, "", HTTPMessage(), "https://two/x")
    assert followed is not None
    assert followed.full_url == "https://two/x"


def test_a_refusal_is_told_with_what_was_taken_off(repository: Repository, web: OddWeb) -> None:
    web.pages["/signed"] = Page(status=403)
    with pytest.raises(RemoteError, match="access was refused") as caught:
        add(repository, f"{web.url}/signed?X-Amz-Signature=SECRET&x=1")
    assert "X-Amz-Signature" in str(caught.value.hint)
    assert "SECRET" not in str(caught.value.hint) + caught.value.message
    assert all("SECRET" not in path for path, _ in web.requests)


def test_a_signed_url_loses_its_query_loudly(repository: Repository, web: OddWeb) -> None:
    web.pages["/public"] = Page(b"x", etag='"e"')
    done = repository.add(name="data", type="t", references=[f"{web.url}/public?sig=SECRET&se=1"])
    assert [entry.uri for entry in repository.manifest("data").references] == [f"{web.url}/public"]
    assert any("without its query" in warning for warning in done.warnings)
    assert b"SECRET" not in b"".join(path.read_bytes() for path in repository.path.rglob("*") if path.is_file())


def test_an_ordinary_query_is_kept(repository: Repository, web: OddWeb) -> None:
    web.pages["/get"] = Page(b"x", etag='"e"')
    add(repository, f"{web.url}/get?id=5#part")
    assert [entry.uri for entry in repository.manifest("data").references] == [f"{web.url}/get?id=5"]


@pytest.mark.parametrize("name", ["a:b", "con", "end.", "back\\slash", "line\nbreak", 'quo"te'])
def test_names_that_cannot_be_files_everywhere_are_refused(repository: Repository, far: Path, name: str) -> None:
    (far / name).write_text("x")
    (far / "good").write_text("x")
    with pytest.raises(MlverError, match=r"cannot be kept|control"):
        add(repository, far.as_uri())
    kept = repository.add(name="data", type="t", references=[far.as_uri()], exclude=["*", "!good"])
    assert [entry.path for entry in repository.manifest(kept.version.name).references] == ["good"]


def test_a_name_from_a_url_cannot_climb(repository: Repository, web: OddWeb) -> None:
    web.pages["/a/%2e%2e"] = web.pages["/a/b%2Fc"] = Page(b"x", etag='"e"')
    for name in ("%2e%2e", "b%2Fc"):
        with pytest.raises(MlverError):
            add(repository, f"{web.url}/a/{name}")


def test_two_things_at_one_path_are_refused(repository: Repository, web: OddWeb, tmp_path: Path) -> None:
    web.pages["/x/same"] = web.pages["/y/same"] = Page(b"x", etag='"e"')
    with pytest.raises(UsageError, match="Two of what is added"):
        add(repository, f"{web.url}/x/same", f"{web.url}/y/same")
    (tmp_path / "same").mkdir()
    (tmp_path / "same" / "inner").write_text("x")
    with pytest.raises(MlverError, match="a file and a folder"):
        repository.add(tmp_path / "same", name="data", type="t", references=[f"{web.url}/x/same"])


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("far", "is no URI"),
        ("https://me:word@host/x", "credentials"),
        ("s3://key:word@bucket/x", "credentials"),
        ("s3://", "no bucket"),
        ("https:///x", "no host"),
        ("file://host/x", "no file of this machine"),
        ("file://x", "no file of this machine"),
        ("ftp://host/x", "not known here"),
        ("https://host/\x1b[31m", "control characters"),
        ("https://host:port/x", "malformed"),
        ("https://host/" + "x" * 9000, "longer than"),
    ],
)
def test_what_is_no_reference_is_refused(repository: Repository, uri: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        add(repository, uri)
    assert "word" not in caught.value.message
    assert repository.artifacts() == []


def test_the_stat_cache_knows_no_references(repository: Repository, web: OddWeb, tmp_path: Path) -> None:
    web.pages["/x"] = Page(b"x", etag='"e"')
    (tmp_path / "card.md").write_text("card")
    os.utime(tmp_path / "card.md", (1_000_000_000, 1_000_000_000))
    for _ in range(2):
        with_one = repository.add(tmp_path / "card.md", name="d", type="t", references=[f"{web.url}/x"]).version
        without = repository.add(tmp_path / "card.md", name="d").version
        assert (with_one.number, with_one.reference_count) == (0, 1)
        assert (without.number, without.reference_count) == (1, 0)


def test_settings_without_references_are_refused(repository: Repository, far: Path) -> None:
    with pytest.raises(UsageError, match="references"):
        repository.add(far, name="x", type="t", digest=True)
    with pytest.raises(UsageError, match="list"):
        repository.add(name="x", type="t", references=far.as_uri())
    for options in ({"secret": "x"}, {"endpoint": "http://x"}):
        with pytest.raises(UsageError, match="option"):
            repository.add(name="x", type="t", references=[far.as_uri()], reference_options=options)
