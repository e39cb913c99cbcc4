"""Commands that only look: what they print for people, for scripts, and what they refuse."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.cli.conftest import Person
from tests.support.process import COMMAND, environment

SCREENS = {
    "log": """\
VERSION  AGE        SIZE    NEW  ALIASES  TAGS  METRICS    MESSAGE
v2       AGO  175 B   24 B  latest         acc=0.875  third
v1       AGO  175 B   24 B                 acc=0.75   second
v0       AGO  175 B  175 B  best     base  acc=0.5    first
""",
    "log best": """\
VERSION  AGE        SIZE    NEW  ALIASES  TAGS  METRICS  MESSAGE
v0       AGO  175 B  175 B  best     base  acc=0.5  first
""",
    "log net:v1 --oneline": "net:v1  acc=0.75  second\nnet:v0 (best)  acc=0.5  first\n",
    "log --all --oneline": """\
net:v2 (latest)  acc=0.875  third
net:v1  acc=0.75  second
net:v0 (best)  acc=0.5  first
set:v0 (latest)
""",
    "log -q": "net:v2\nnet:v1\nnet:v0\n",
    "log set -q": "set:v0\n",
    "log -q -n 1": "net:v2\n",
    "ls": """\
ARTIFACT  TYPE     VERSIONS  LATEST   SIZE  CURRENT
net       model           3  v2      175 B  *
set       dataset         1  v0        8 B
""",
    "ls -q": "net\nset\n",
    "ls best": " SIZE  PATH\n  3 B  conf/config.json\n172 B  net.safetensors\n",
    "ls net:v1:conf": "SIZE  PATH\n 3 B  conf/config.json\n",
    "ls v1:conf/config.json -q": "conf/config.json\n",
    "show best": """\
net:v0
type     model
id       blake3:ID
added    AGO by WHO (TIME)
size     175 B, of which 175 B were new
aliases  best
tags     base
metrics  acc=0.5
message  first
weights  blake3-weights:ID

Metadata
lr  0.1

2 files
PATH               SIZE  FORMAT       DIGEST
conf/config.json    3 B               DIGEST
net.safetensors   172 B  safetensors  DIGEST

2 tensors
NAME  DTYPE  SHAPE  SIZE
w     F32    2×3    24 B
b     F32    3      12 B
""",
    "show best~0 -q": "net:v0\n",
    "show latest~2 -q": "net:v0\n",
    "show net~1 -q": "net:v1\n",
    "show net@best -q": "net:v0\n",
    "show set -q": "set:v0\n",
    "cat v0:conf/config.json": "{}\n",
    "cat set:data.csv -q": "a,b\n1,2\n",
    "status model": "HERE/model came from net:v2\nNothing differs: 2 files as they were.\n",
    "status model -q": "net:v2\n",
    "verify net -q": "ok\n",
    "verify": "OK: 4 versions, 7 chunks (231 B) read and hashed\n",
    "reflog": """\
EVENT  AGE       BY       WHAT
2      AGO  WHO  add v2
1      AGO  WHO  add v1
0      AGO  WHO  add v0; alias best: nowhere → v0
n1     AGO  WHO  create net (model)
""",
    "reflog set -q": "0\nn0\n",
    "alias": "ALIAS   VERSION\nlatest  net:v2\nbest    net:v0\n",
    "alias -q": "latest\nbest\n",
    "tag best": "net:v0 has the tags base\n",
    "tag": "net:v2 has no tags\n",
    "meta v0": "Metrics\n  acc  0.5\nMetadata\n  lr  0.1\n",
}


@pytest.mark.parametrize("line", SCREENS)
def test_screen(person: Person, line: str) -> None:

    screen = person.screen(*line.split())
    assert [row.split() for row in screen.splitlines()] == [row.split() for row in SCREENS[line].splitlines()]


KEYS = {
    "log": {"artifact", "type", "versions", "older_count"},
    "log --all": {"artifacts"},
    "ls": {"current", "artifacts"},
    "ls v0": {"artifact", "version", "files", "references"},
    "alias": {"artifact", "aliases", "tracked", "protected"},
    "tag v0": {"artifact", "version", "tags"},
    "note v0": {"artifact", "version", "note"},
    "meta v0": {"artifact", "version", "metadata", "metrics"},
    "reflog": {"events"},
    "status model": {
        "path",
        "artifact",
        "version",
        "latest",
        "clean",
        "added",
        "removed",
        "modified",
        "unchanged_count",
        "absent_references",
        "unknown_references",
    },
    "verify": {"ok", "checked_versions", "checked_chunks", "checked_bytes", "damaged", "repaired", "references"},
    "du": {
        "logical_bytes",
        "stored_bytes",
        "exclusive_bytes",
        "shared_bytes",
        "referenced_bytes",
        "pack_bytes",
        "unused_bytes",
        "artifacts",
    },
}


@pytest.mark.parametrize("line", KEYS)
def test_document(person: Person, line: str) -> None:
    assert person.json(*line.split()).keys() == KEYS[line]


def test_documents_hold_what_scripts_need(person: Person) -> None:
    versions = person.json("log")["versions"]
    assert [version["version"] for version in versions] == ["v2", "v1", "v0"]
    assert versions[2]["metadata"] == {"lr": 0.1}
    assert versions[2]["metrics"] == {"acc": 0.5}
    assert versions[2]["aliases"] == ["best"]
    shown = person.json("show", "best")
    assert [(file["path"], file["size_bytes"]) for file in shown["files"]] == [
        ("conf/config.json", 3),
        ("net.safetensors", 172),
    ]
    assert {
        (tensor["name"], tensor["dtype"], tuple(tensor["shape"]), tensor["file"]) for tensor in shown["tensors"]
    } == {
        ("w", "F32", (2, 3), "net.safetensors"),
        ("b", "F32", (3,), "net.safetensors"),
    }
    usage = person.json("du")
    parts = [part["stored_bytes"] for part in usage["artifacts"]]
    assert usage["logical_bytes"] == 3 * 175 + 8
    assert usage["stored_bytes"] == sum(parts)


@pytest.mark.parametrize(
    ("line", "code", "message", "hint"),
    [
        ("show bets", 1, "'bets'", "Did you mean 'best'"),
        ("show v9", 1, "Version 'v9' of 'net' does not exist.", "Did you mean"),
        ("show nett:v0", 1, "Artifact 'nett' does not exist.", "Did you mean 'net'"),
        ("show best~1", 1, "'best~1' goes back beyond the first version of 'net'.", None),
        ("show best~x", 2, "'best~x' is no revision", None),
        ("show blake3:12", 2, "'blake3:12' is no id.", "at least 4 hex digits"),
        ("log --all net", 2, "--all and REF exclude each other", "mlver log --help"),
        ("log -n -1", 2, "-1 is not in the range", "mlver log --help"),
        ("ls v0:nope", 1, "There is no 'nope' in net:v0.", None),
        ("cat v0:nope", 1, "'nope'", None),
        ("cat config.json", 2, "'config.json' names no file of a version.", "best:config.json"),
        ("status nope", 1, "HERE/nope does not exist.", None),
        ("status model/conf", 1, "It is not known which version HERE/model/conf came from.", "Add it"),
        ("reflog nett", 1, "Artifact 'nett' does not exist.", "Did you mean 'net'"),
        ("du nett", 1, "Artifact 'nett' does not exist.", "Did you mean 'net'"),
        ("verify nett:v0", 1, "Artifact 'nett' does not exist.", "Did you mean 'net'"),
        ("ls -q --json", 2, "--json and --quiet exclude each other.", None),
    ],
)
def test_refusal(person: Person, line: str, code: int, message: str, hint: str | None) -> None:
    found, err = person.fails(*line.split())
    if "--json" in line:
        err = [f"Error: {json.loads(err[0])['error']['message']}"]
    assert found == code
    assert err[0].startswith("Error: ")
    assert message in err[0]
    if hint is not None:
        assert err[1].startswith("Hint: ")
        assert hint in err[1]


def test_an_id_prefix_names_a_version(person: Person) -> None:
    identity = person.json("show", "v1")["id"].removeprefix("blake3:")
    assert person.screen("show", identity[:8], "-q") == "net:v1\n"
    assert person.screen("show", f"blake3:{identity}", "-q") == "net:v1\n"


def test_status_names_every_difference(person: Person) -> None:
    model = person.here / "model"
    (model / "new.txt").write_text("x")
    (model / "conf/config.json").unlink()
    (model / "net.safetensors").write_bytes(b"changed")
    done = person.run("status", "model")
    assert done.code == 0
    assert [line.split() for line in done.out.splitlines()[1:]] == [
        ["modified", "net.safetensors"],
        ["added", "conf/"],
        ["added", "new.txt"],
        ["removed", "conf/config.json"],
    ]
    assert done.err.startswith("Hint: Record it with: mlver add")


def test_log_says_so_when_all_versions_are_removed(person: Person) -> None:
    person.run("rm", "set:v0")
    done = person.run("log", "set")
    assert (done.code, done.out) == (0, "")
    assert "set has no versions" in done.err
    assert person.json("log", "set")["versions"] == []


def test_reader_that_ends_early_is_no_error(person: Person) -> None:
    """`cat` of far more than a pipe holds, into `head -c 1`."""
    (person.here / "big").write_bytes(bytes(range(256)) * 8000)
    person.run("add", "big", "--name", "big", "--type", "t")
    shell = '"$@" | head -c 1; echo " ${PIPESTATUS[0]}"'
    done = subprocess.run(
        ["bash", "-c", shell, "bash", *COMMAND, "cat", "big:big"],
        cwd=person.here,
        env=environment(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (b"\x00 141\n", b"")


def test_commands_work_from_anywhere_below_and_with_mlver_dir(person: Person) -> None:
    root = str(person.here / ".mlver")
    assert person.run("-C", "model/conf", "ls", "-q").out == "net\nset\n"
    assert person.run("-C", "/", "ls", "-q", variables={"MLVER_DIR": root}).out == "net\nset\n"
    code, err = person.fails("ls", variables={"MLVER_DIR": str(person.here / "model")})
    assert code == 10
    assert "HERE/model is not a repository" in err[0]
