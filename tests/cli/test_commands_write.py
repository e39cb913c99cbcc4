"""Commands that change what is known of versions, one story a test, as a person would type it."""

from __future__ import annotations

import subprocess

import pytest

from tests.cli.conftest import Person
from tests.support.process import COMMAND, environment

Step = tuple[str, str, str]
"""A command, what it prints, and how what it says on stderr begins."""

STORIES: dict[str, list[Step]] = {
    "an alias moves, goes and comes back": [
        ("alias prod", "prod is net:v2\n", ""),
        ("alias prod v1", "prod is net:v1 now; it was net:v2\n", ""),
        ("alias prod set:v0", "prod is set:v0\n", ""),
        ("alias -d prod", "Deleted alias prod, which named net:v1\n", ""),
        ("undo", "Took back event 5 of net: alias prod: v1 → nowhere\n", ""),
        ("show prod -q", "net:v1\n", ""),
        ("undo 3", "", "Error: This cannot be undone: alias 'prod' moved since, to v1."),
        ("undo", "Took back event 4 of net: alias prod: v2 → v1\n", ""),
        ("show prod -q", "net:v2\n", ""),
        ("alias -d set:prod", "Deleted alias prod, which named set:v0\n", ""),
    ],
    "tags": [
        ("tag v1 a b a", "net:v1 has the tags a, b\n", ""),
        ("tag v1 -d b", "net:v1 has the tags a\n", ""),
        ("tag v1 -d b", "", "Error: net:v1 does not bear the tag 'b'."),
        ("tag v1 -q", "a\n", ""),
        ("undo", "Took back event 4 of net: tag -b on v1\n", ""),
        ("tag v1 -q", "a\nb\n", ""),
    ],
    "a note": [
        ("note v1", "", "net:v1 has no note."),
        ("note v1 diverged", "diverged\n", ""),
        ("note v1 -q", "diverged\n", ""),
        ("note v1 -d", "", "net:v1 has no note."),
        ("undo -q", "4\n", ""),
        ("note v1 -q", "diverged\n", ""),
        ("note v1 -d text", "", "Error: -d takes no text."),
    ],
    "metadata": [
        ('meta v1 lr=1e-3 layers=[2,{"a":true}] name=x ok=false none=null', "", ""),
        ("meta v1 --metric loss=0.25 -d name", "", ""),
        (
            "meta v1",
            """Metrics
  acc   0.75
  loss  0.25
Metadata
  layers  [2, {"a": true}]
  lr      0.001
  none    null
  ok      false
""",
            "",
        ),
        ("meta v1 -d name", "", "Error: net:v1 has no metadata or metric 'name'."),
        ("undo -q", "4\n", ""),
        ("meta v1 -d name", "", ""),
    ],
    "removal and return": [
        ("rm v0", "", "Error: net:v0 bears the alias 'best', which protects it."),
        ("rm v0 --force", "Removed net:v0\n", "Warning: The alias net:best is gone: the version that it"),
        ("show v0", "", "Error: net:v0 was removed."),
        ("rm v0", "", "Error: net:v0 was removed."),
        ("undo --artifact net -q", "3\n", ""),
        ("show best -q", "net:v0\n", ""),
        ("rm v2 v1", "Removed net:v2\nRemoved net:v1\n", "Hint: Take it back with: mlver restore net:v2 net:v1"),
        ("show latest -q", "net:v0\n", ""),
        ("restore v2 v1", "Restored net:v2\nRestored net:v1\n", ""),
        ("restore v2", "", "Error: net:v2 is not removed."),
        ("show latest -q", "net:v2\n", ""),
    ],
    "the current artifact": [
        ("switch set", "The current artifact is set now\n", ""),
        ("show latest -q", "set:v0\n", ""),
        ("show best", "", "Error: There is no version, alias of 'set', or artifact 'best'."),
        ("switch nett", "", "Error: Artifact 'nett' does not exist."),
        ("switch net -q", "net\n", ""),
        ("show best -q", "net:v0\n", ""),
    ],
    "a new name": [
        ("rename net core", "net is core now\n", ""),
        ("show best -q", "core:v0\n", ""),
        ("alias prod net:v1", "prod is core:v1\n", "Artifact 'net' was renamed: it is 'core' now."),
        ("switch net", "The current artifact is core now\n", "Artifact 'net' was renamed: it is 'core' now."),
        ("rename core set", "", "Error: The name 'set' is or was another artifact's."),
        ("rename core SET", "", "Error: The name 'SET' cannot be told from 'set'"),
        ("rename set net", "", "Error: The name 'net' is or was another artifact's."),
        ("rename core con", "", "Error: Artifact name 'con' is not allowed"),
        ("rename core net", "core is net now\n", ""),
        ("show core:best -q", "net:v0\n", ""),
    ],
    "back to the beginning": [
        ("undo -q", "2\n", ""),
        ("undo -q", "1\n", ""),
        ("undo -q", "0\n", ""),
        ("undo", "", "Error: There is nothing to undo in 'net'."),
        ("undo n0", "", "Error: There is no event 'n0' of 'net'."),
        ("undo n1", "", "Error: The creation of an artifact cannot be undone."),
        ("log", "", "net has no versions"),
        ("restore v0", "Restored net:v0\n", ""),
    ],
}


@pytest.mark.parametrize("name", STORIES)
def test_story(person: Person, name: str) -> None:
    for line, out, err in STORIES[name]:
        done = person.run(*line.split())
        assert (done.code == 0) == (not err.startswith("Error")), done
        assert done.err.startswith(err), line
        assert bool(done.err) == bool(err), done
        if out or done.code or err:
            assert done.out == out, line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["alias", "latest"], "Alias 'latest' is reserved"),
        (["alias", "v3"], "Alias 'v3' is reserved"),
        (["alias", "a/b"], "Alias 'a/b' is not allowed: it contains '/'."),
        (["alias", ""], "Alias '' is not allowed."),
        (["alias", "\x1b[31mred"], r"Alias '\x1b[31mred' is not allowed"),
        (["alias", "\u202eevil"], r"Alias '\u202eevil' is not allowed"),
        (["alias", "-d", "latest"], "Alias 'latest' is reserved"),
        (["alias", "-d"], "Which alias is to be deleted?"),
        (["tag", "v1", "a,b"], "Tag 'a,b' is not allowed: it contains ','."),
        (["meta", "v1", "novalue"], "'novalue' is not KEY=VALUE."),
        (["meta", "v1", "=x"], "'=x' is not KEY=VALUE."),
        (["meta", "lr=1"], "'lr=1' is no version."),
        (["meta", "v1", "x=NaN"], "Metadata 'x' cannot be stored"),
        (["meta", "v1", "x=[1e999]"], "Metadata 'x' cannot be stored"),
        (["meta", "v1", "--metric", "loss=nan"], "Metric 'loss' is nan, which is not a finite number."),
        (["meta", "v1", "--metric", "loss=-inf"], "Metric 'loss' is -inf, which is not a finite number."),
        (["meta", "v1", "--metric", "loss=1_0"], "Metric 'loss' is '1_0', which is not a number."),
        (["meta", "v1", "--metric", "loss="], "Metric 'loss' is '', which is not a number."),
        (["add", "model", "--metric", "loss=nan"], "Metric 'loss' is nan, which is not a finite number."),
        (["add", "model", "--name", "a/b", "--type", "t"], "Artifact name 'a/b' is not allowed."),
        (["add", "model", "--name", "..", "--type", "t"], "Artifact name '..' is not allowed"),
        (["add", "model", "--name", "v1", "--type", "t"], "Artifact name 'v1' is reserved"),
        (["add", "model", "--name", "NET", "--type", "t"], "The name 'NET' cannot be told from 'net'"),
        (["add", "model", "--name", "fresh"], "Artifact 'fresh' is new and needs a type."),
        (["add", "model", "--type", "data"], "Artifact 'net' has the type 'model', not 'data'."),
        (["add", "model", "--alias", "v9"], "Alias 'v9' is reserved"),
        (["add", "model", "data.csv", "model"], "Two of the paths are named 'model'."),
        (["add", ""], "the path is empty."),
        (["add"], "There is nothing to add: no path was given."),
        (["add", ".mlver"], "HERE/.mlver belongs to a repository's own .mlver, which is never added."),
        (["add", ".mlver/config.toml"], "HERE/.mlver/config.toml belongs to a repository's own .mlver"),
        (["pull", "v0", "-o", ""], "the path is empty."),
    ],
)
def test_wrong_usage_changes_nothing(person: Person, arguments: list[str], message: str) -> None:
    code, err = person.fails(*arguments)
    assert code == 2
    assert err[0].startswith("Error: ")
    assert message in err[0]


def test_add_in_a_script(person: Person) -> None:
    (person.here / "model/new").write_text("x")
    script = 'mlver() { "${M[@]}" "$@"; }; M=("$@"); V=$(mlver add model/ -q) && mlver alias best "$V" -q && echo "$V"'
    done = subprocess.run(
        ["bash", "-c", script, "bash", *COMMAND],
        cwd=person.here,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("net:v3\nnet:v3\n", "")


def test_add_of_content_that_is_there(person: Person) -> None:
    """It says which version it is, moves aliases, and leaves `latest` alone."""
    person.run("pull", "v0", "-o", "old")
    done = person.run("add", "old", "--name", "net", "--alias", "again", "-m", "lost")
    assert done.code == 0
    assert done.out == "No new version: the content is that of net:v0\nAliases moved here: again\n"
    assert done.err.startswith("Warning: The message was not recorded")
    assert person.screen("show", "latest", "-q") == "net:v2\n"
    document = person.json("add", "old")
    assert (document["version"], document["created"], document["new_bytes"]) == ("v0", False, 0)


def test_add_says_when_weights_are_identical(person: Person) -> None:
    (person.here / "model/extra.txt").write_text("other bytes, same weights")
    document = person.json("add", "model")
    assert (document["version"], document["created"], document["weights_identical_to"]) == ("v3", True, "net:v2")
    assert {"artifact", "type", "id", "aliases", "logical_bytes", "stored_bytes"} <= document.keys()


def test_numbers_are_never_used_again(person: Person) -> None:
    person.run("rm", "v2")
    (person.here / "model/extra").write_text("x")
    assert person.screen("add", "model", "-q") == "net:v3\n"


def test_metadata_files(person: Person) -> None:
    here = person.here
    (here / "m.toml").write_text('lr = 0.5\nday = 2026-01-02\n[data]\nname = "x"\n')
    (here / "m.yaml").write_text("lr: 0.25\nlist: [1, {yes: on}]\nwhen: 2026-01-02T03:04:05Z\n")
    (here / "m.json").write_bytes(b'\xef\xbb\xbf{"lr": 1}')
    for name, expected in {
        "m.toml": {"lr": 0.5, "day": "2026-01-02", "data": {"name": "x"}},
        "m.yaml": {"lr": 0.25, "list": [1, {"true": True}], "when": "2026-01-02T03:04:05+00:00"},
        "m.json": {"lr": 1},
    }.items():
        found = person.json("meta", "v1", "--meta-file", name)["metadata"]
        assert found | expected == found
    assert person.json("meta", "v1", "--meta-file", "m.toml", "lr=2")["metadata"]["lr"] == 2


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.json", '{"a": NaN}', "m.json cannot be read: NaN is no value of JSON."),
        ("m.json", "[1]", "m.json does not hold a table of named values."),
        ("m.json", '{"a":1', "m.json cannot be read: Expecting ',' delimiter"),
        ("m.json", '{"a":' + "[" * 99999 + "]" * 99999 + "}", "m.json cannot be read"),
        ("m.toml", "x = ", "m.toml cannot be read: Invalid value"),
        ("m.toml", "x = inf", "Metadata 'x' cannot be stored as JSON"),
        ("m.yaml", "- a: [", "m.yaml cannot be read: while parsing"),
        ("m.yaml", "a: &a [*a]", "m.yaml cannot be read: it holds more than 100,000 values"),
        ("m.yaml", LAUGHS, "m.yaml cannot be read: it holds more than 100,000 values"),
        ("m.yaml", 'a: !!python/object/apply:os.system ["touch pwned"]', "m.yaml cannot be read: could not determine"),
        ("absent", None, "m.json cannot be read: No such file or directory."),
    ],
)
def test_bad_metadata_file(person: Person, name: str, content: str | None, message: str) -> None:
    if content is None:
        name = "m.json"
    else:
        (person.here / name).write_text(content)
    (person.here / "model/new").write_text("x")
    code, err = person.fails("add", "model", "--meta-file", name)
    assert (code, message in err[0]) == (2, True), err
    assert not (person.here / "pwned").exists()
