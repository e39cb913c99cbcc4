"""`remote`, `push`, `fetch`, `clone`, and `pull` of what is elsewhere, as they are typed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Person


@pytest.fixture
def shared(person: Person) -> Person:
    """A person whose repository has a remote that has everything."""
    assert person.run("remote", "add", "origin", "../shared").code == 0
    assert person.run("push").code == 0
    return person


@pytest.fixture
def other(shared: Person) -> Person:
    """Someone else with a clone."""
    assert shared.run("clone", "../shared", "../other").code == 0
    return Person(shared.here.parent / "other")


def test_a_remote_is_added_shown_and_removed(person: Person) -> None:
    said = person.screen("remote", "add", "nas", "../nas")
    assert "Added nas: " in said
    assert "refuses names that are taken  yes" in said
    assert person.json("remote")["remotes"][0]["name"] == "nas"
    assert person.json("remote", "show")["exclusive"] is True, "the only one need not be named"
    assert person.run("remote", "remove", "nas", "-q").out == "nas\n"
    assert person.json("remote", "list") == {"remotes": []}
    assert (person.here.parent / "nas" / "format").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["remote", "mend"], 2, "cannot 'mend'"),
        (["remote", "add", "origin"], 2, "A name and a URL"),
        (["remote", "remove"], 2, "Which remote"),
        (["remote", "remove", "origin"], 1, "no remote 'origin'"),
        (["remote", "add", "a/b", "../x"], 2, "cannot be a remote's name"),
        (["remote", "add", "o", "s3://me:word@bucket"], 2, "credentials"),
        (["remote", "add", "o", "../absent/x"], 13, "Cannot make the folder"),
        (["remote", "add", "o", "model"], 13, "holds other files"),
        (["push"], 1, "no remote 'origin'"),
        (["fetch"], 1, "no remote 'origin'"),
        (["clone", "model", "x"], 13, "no mlver remote"),
        (["clone", "../nowhere", "x"], 13, "There is no folder"),
        (["verify", "--remote"], 1, "no remote 'origin'"),
    ],
)
def test_what_cannot_be_is_told(person: Person, arguments: list[str], code: int, said: str) -> None:
    found, lines = person.fails(*arguments)
    assert found == code
    assert said in lines[0]
    assert "word" not in "".join(lines)
    assert not (person.here / "x").exists()


def test_push_and_fetch_say_what_travelled(shared: Person, other: Person) -> None:
    assert shared.screen("push") == "There is nothing to push: origin has everything.\n"
    (shared.here / "data.csv").write_text("1\n")
    shared.run("add", "data.csv", "--name", "set")
    assert "Would push 1 version to origin" in shared.screen("push", "--dry-run")
    assert shared.run("push", "-q").out == "set:v1\n"
    assert other.screen("fetch") == "set: 1 new version, v1\n"
    assert other.screen("fetch") == "There is nothing new at origin.\n"


def test_a_number_that_someone_else_had_first(shared: Person, other: Person) -> None:
    (other.here / "mine.csv").write_text("mine\n")
    other.run("add", "mine.csv", "--name", "set")
    (shared.here / "data.csv").write_text("1\n")
    shared.run("add", "data.csv", "--name", "set")
    shared.run("push")
    assert "set:v1 is now set:v2: someone else's version was first" in other.screen("push")
    assert other.run("cat", "set:v2:mine.csv").out == "mine\n"


def test_an_alias_that_someone_else_moved_is_exit_code_14(shared: Person, other: Person) -> None:
    shared.run("alias", "best", "net:v1")
    shared.run("push")
    other.run("alias", "best", "net:v2")
    code, lines = other.fails("push")
    assert code == 14
    assert "it is v1 there, and you moved it from v0 to v2" in lines[0]
    assert other.run("push", "--force").code == 0
    shared.run("fetch")
    assert shared.json("alias", "best", "net:v2")["was"] is None, "it is there already"


def test_pull_gets_what_is_missing_and_then_needs_no_remote(shared: Person, other: Person, tmp_path: Path) -> None:
    done = other.run("pull", "net:best", "-o", "out", "--dry-run")
    assert "would fetch" in done.err
    done = other.run("pull", "net:best", "-o", "out")
    assert (done.code, "fetched" in done.err) == (0, True)
    shutil.rmtree(tmp_path / "shared")
    assert other.run("pull", "net:best", "-o", "again").err == ""
    code, lines = other.fails("pull", "net:v2", "-o", "more")
    assert code in (1, 13)
    assert lines
    assert not (other.here / "more").exists()


def test_one_file_moves_only_its_bytes(shared: Person, other: Person) -> None:
    done = other.run("pull", "net", "-o", "out", "--path", "*.json")
    assert done.code == 0
    assert [path.name for path in (other.here / "out").rglob("*") if path.is_file()] == ["config.json"]
    assert other.run("verify").code == 0, "the rest is elsewhere"


def test_a_remote_is_verified(shared: Person) -> None:
    assert "OK: " in shared.screen("verify", "--remote")
    (pack, *_) = (shared.here.parent / "shared" / "packs").iterdir()
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes()[:-1])
    assert shared.run("verify", "--remote").code == 12
    assert shared.run("push").code == 0
