from __future__ import annotations

import pytest

from mlver.errors import NotFoundError, UsageError
from mlver.history import tables
from mlver.history.event import CreateArtifact, MoveAlias, RenameArtifact, SetRemoved
from mlver.history.index import VersionIndex
from mlver.history.revision import resolve, resolve_artifact
from mlver.store.memory import MemoryStorage
from mlver.store.sqlite import open_cache
from tests.unit.history.test_index import Logs, add


@pytest.fixture(scope="module")
def index() -> VersionIndex:
    logs = Logs()
    for name in ("net", "old", "best", "beef"):
        logs.write("names", CreateArtifact(name, "model"))
    logs.write("names", RenameArtifact("old", "renamed"))
    for number, manifest in enumerate(["aa10" + "0" * 60, "aa11" + "0" * 60, "bb" + "0" * 62, "cc" + "0" * 62]):
        logs.write("log/net", add(number, manifest))
    logs.write("log/net", SetRemoved(2, True), MoveAlias("best", 1, None), MoveAlias("0123", 0, None))
    logs.write("log/old", add(0, "cc" + "0" * 62), add(1, "d" * 64))
    logs.write("log/best", add(0, "e" * 64))
    logs.write("log/beef", add(0, "f" * 64))
    return logs.index()


@pytest.mark.parametrize(
    ("revision", "found"),
    [
        ("v0", "net:v0"),
        ("v3", "net:v3"),
        ("latest", "net:v3"),
        ("best", "net:v1"),  # the alias before the artifact
        ("0123", "net:v0"),  # the alias before the id
        ("best~1", "net:v0"),
        ("best~", "net:v0"),
        ("best~0", "net:v1"),
        ("latest~1", "net:v1"),  # v2 was removed
        ("v3~2", "net:v0"),
        ("net", "net:v3"),
        ("net~1", "net:v1"),
        ("net:v1", "net:v1"),
        ("net:best", "net:v1"),
        ("net@best", "net:v1"),
        ("net:latest", "net:v3"),
        ("net:best~1", "net:v0"),
        ("best:v0", "best:v0"),
        ("renamed", "renamed:v1"),
        ("old", "renamed:v1"),
        ("old:v0", "renamed:v0"),
        ("beef", "beef:v0"),  # the artifact before the id
        ("aa10", "net:v0"),
        ("blake3:aa11", "net:v1"),
        ("blake3:" + "d" * 64, "renamed:v1"),
        ("dddddd~1", "renamed:v0"),
    ],
)
def test_revisions(index: VersionIndex, revision: str, found: str) -> None:
    assert resolve(index, revision, "net").version.name == found


def test_former_name_gets_a_notice(index: VersionIndex) -> None:
    assert resolve(index, "net", "net").notice is None
    for revision in ("old", "old:v0", "old@latest", "old~1"):
        assert "'renamed' now" in str(resolve(index, revision, "net").notice)
    assert resolve_artifact(index, "old")[1] == "Artifact 'old' was renamed: it is 'renamed' now."


@pytest.mark.parametrize(
    ("revision", "message", "hint"),
    [
        ("bets", "no version, alias of 'net', or artifact 'bets'", "'best'"),
        ("net:prod", "Alias 'prod' of 'net' does not exist", "newest version is v3"),
        ("v33", "Version 'v33' of 'net' does not exist", "'v3'"),
        ("nett:v1", "Artifact 'nett' does not exist", "'net'"),
        ("v2", "net:v2 was removed", "mlver restore net:v2"),
        ("best~2", "beyond the first version", ""),
        ("aa1000000~9", "beyond the first version", ""),
        ("blake3:aa1", "is no id", "4 hex digits"),
        ("9999", "no version with id '9999'", ""),
        ("bb00", "no version with id 'bb00'", ""),  # removed
        ("net:", "'net:' is no revision", "NAME:v4"),
        (":v1", "':v1' is no revision", "NAME:v4"),
        ("best~1~1", "more than one", "best~2"),
    ],
)
def test_what_is_not_there_is_named_with_the_nearest(
    index: VersionIndex, revision: str, message: str, hint: str
) -> None:
    with pytest.raises((NotFoundError, UsageError)) as caught:
        resolve(index, revision, "net")
    assert message in caught.value.message
    assert hint in str(caught.value.hint or "")


def test_ambiguous_id_lists_what_it_could_be(index: VersionIndex) -> None:
    logs = Logs()
    logs.write("names", CreateArtifact("net", "model"))
    logs.write("log/net", add(0, "abcd1" + "0" * 59), add(1, "abcd2" + "0" * 59))
    with pytest.raises(NotFoundError, match="ambiguous") as caught:
        resolve(logs.index(), "abcd", None)
    assert "net:v0, net:v1" in str(caught.value.hint)
    assert resolve(logs.index(), "abcd2", None).version.number == 1


def test_one_content_in_two_artifacts_is_not_ambiguous(index: VersionIndex) -> None:
    assert resolve(index, "cc0000", "net").version.id == "blake3:cc" + "0" * 62


@pytest.mark.parametrize("revision", ["", "~1", "best~x", "best~-1", "a~1~x", "~"])
def test_what_is_no_revision(index: VersionIndex, revision: str) -> None:
    with pytest.raises(UsageError):
        resolve(index, revision, "net")


@pytest.mark.parametrize("revision", ["v0", "latest", "prod"])
def test_bare_words_need_a_current_artifact(index: VersionIndex, revision: str) -> None:
    with pytest.raises(NotFoundError):
        resolve(index, revision, None)
    assert resolve(index, "net:v0", None).version.number == 0
    assert resolve(index, "aa10", None).version.number == 0


def test_what_is_best_needs_an_artifact() -> None:
    index = VersionIndex(open_cache(None, [tables.SCHEMA]), MemoryStorage())
    index.refresh()
    with pytest.raises(NotFoundError, match="There is no version 'max\\(acc\\)'") as caught:
        resolve(index, "max(acc)", None)
    assert caught.value.hint == "No artifact is current: name one, as in NAME@max(acc)."
    with pytest.raises(NotFoundError, match="There is no version 'net'") as caught:
        resolve(index, "net", None)
    assert caught.value.hint == "Nothing has been added yet: see mlver add --help"
