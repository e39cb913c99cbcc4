"""`add --ref`, and what `ls`, `show`, `log`, `du`, `diff`, `verify`, `pull`, `cat` and `status` say, as typed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Person
from tests.support.odd_web import OddWeb, Page, odd_web


@pytest.fixture
def web() -> Iterator[OddWeb]:
    with odd_web() as running:
        running.pages["/a.csv"] = Page(b"1,2\n", etag='"one"', knows_ranges=True)
        yield running


@pytest.fixture
def referring(person: Person, web: OddWeb) -> Person:
    """A person with one version that refers to a file at a server."""
    said = person.run("add", "--ref", f"{web.url}/a.csv", "--name", "far", "--type", "dataset")
    assert said.out == "Added far:v0: 1 reference to 4 B\n"
    return person


def test_the_places_are_shown(referring: Person, web: OddWeb) -> None:
    uri = f"{web.url}/a.csv"
    assert uri in referring.screen("ls", "far")
    assert referring.run("ls", "far", "-q").out == "a.csv\n"
    assert referring.json("ls", "far")["references"] == [
        {"path": "a.csv", "uri": uri, "size_bytes": 4, "etag": "one", "object_version": None, "digest": None}
    ]
    shown = referring.screen("show", "far")
    assert uri in shown
    assert "etag one" in shown
    assert "1 reference to 4 B" in shown
    assert "1 (4 B)" in referring.screen("log", "far")
    assert "REFERENCED" in referring.screen("du")
    assert "REFERENCES" not in referring.screen("log", "set"), "who has none need not see the column"


def test_add_says_that_nothing_changed(referring: Person, web: OddWeb) -> None:
    assert referring.run("add", "--ref", f"{web.url}/a.csv").out == "No new version: the content is that of far:v0\n"
    web.pages["/a.csv"] = Page(b"1,2,3\n", etag='"two"', knows_ranges=True)
    assert referring.json("add", "--ref", f"{web.url}/a.csv", "--digest")["version"] == "v1"
    said = referring.screen("diff", "far:v0", "far:v1")
    assert "1 reference changed" in said
    assert "other content, 4 B → 6 B" in said
    assert "changed `a.csv`" in referring.run("diff", "far:v0", "far:v1", "--markdown").out


def test_verify_has_a_line_and_a_code_for_each(referring: Person, web: OddWeb) -> None:
    uri = f"{web.url}/a.csv"
    assert f"same        {uri}  by its etag" in referring.screen("verify", "far")
    assert referring.run("verify", "far", "-q").out == "ok\n"
    web.pages["/a.csv"].etag = '"two"'
    done = referring.run("verify", "far")
    assert (done.code, f"changed     {uri}  its ETag is 'two', not 'one'" in done.out) == (12, True)
    assert "hurts far:v0 a.csv" in done.out
    del web.pages["/a.csv"]
    done = referring.run("verify", "far", "-q")
    assert (done.code, done.out) == (12, "damaged\n")
    assert referring.json("verify", "far", "--no-references")["references"] == []
    assert referring.fails("verify", "--remote", "--references")[0] == 2


def test_a_server_that_refuses_is_unreachable(referring: Person, web: OddWeb) -> None:
    web.pages["/a.csv"].status = 403
    done = referring.run("verify", "far")
    assert (done.code, done.out.startswith("unreachable ")) == (13, True)
    assert referring.run("verify", "far", "-q").out == "unreachable\n"
    assert referring.fails("pull", "far", "-o", "out")[0] == 13
    assert not (referring.here / "out").exists()


def test_pull_and_cat_bring_the_bytes(referring: Person, web: OddWeb) -> None:
    planned = referring.json("pull", "far", "-o", "out", "--dry-run")
    assert (planned["written"], planned["references"], planned["downloaded_bytes"]) == (["a.csv"], ["a.csv"], 0)
    assert f"fetch      a.csv  {web.url}/a.csv" in referring.screen("pull", "far", "-o", "out", "--dry-run")
    assert "1 reference among them" in referring.screen("pull", "far", "-o", "out")
    assert (referring.here / "out" / "a.csv").read_bytes() == b"1,2\n"
    assert referring.run("cat", "far:a.csv").out == "1,2\n"
    assert "1 reference not downloaded" in referring.run("pull", "far", "-o", "none", "--no-references").err
    assert "1 reference not here" in referring.run("status", "none").err
    assert list((referring.here / "none").iterdir()) == []


def test_adding_copies_of_references_is_told(referring: Person) -> None:
    referring.run("pull", "far", "-o", "out")
    done = referring.run("add", "out")
    assert "were references in far:v0" in done.err
    assert referring.json("ls", "far")["references"] == []


def test_signatures_are_dropped_loudly_and_recorded_nowhere(referring: Person, web: OddWeb) -> None:
    done = referring.run("add", f"--ref={web.url}/a.csv?X-Amz-Signature=SECRET", "--name", "signed", "--type", "t")
    assert done.code == 0
    assert "Warning: " in done.err
    assert "X-Amz-Signature" in done.err
    assert "SECRET" not in done.err + referring.run("show", "signed").out + referring.run("log", "--json").out
    stored = [path.read_bytes() for path in (referring.here / ".mlver").rglob("*") if path.is_file()]
    assert not any(b"SECRET" in content for content in stored)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["add"], 2, "nothing to add"),
        (["add", "--ref", "https://me:word@host/x"], 2, "credentials"),
        (["add", "--ref", "model"], 2, "is no URI"),
        (["add", "--ref", "file:///absent/x"], 1, "does not exist"),
        (["add", "model", "--digest"], 2, "none was given"),
        (["add", "--ref", "file:///x", "--ref-option", "endpoint"], 2, "KEY=VALUE"),
        (["add", "--ref", "file:///x", "--max-files", "0"], 2, "max-files"),
    ],
)
def test_what_cannot_be_is_told(person: Person, arguments: list[str], code: int, said: str) -> None:
    found, lines = person.fails(*arguments)
    assert (found, said in " ".join(lines)) == (code, True), lines
    assert "word" not in "".join(lines)


def test_options_of_a_bucket_are_kept(person: Person, tmp_path: Path) -> None:
    arguments = ("--ref", "s3://bucket/x", "--ref-option", "endpoint=http://127.0.0.1:1", "--ref-option", "profile=no")
    assert person.run("add", *arguments, "--name", "x", "--type", "t").code == 13
    assert '[references."s3://bucket"]' in (person.here / ".mlver" / "config.toml").read_text()
