"""Where versions come from, on the command line: a run's, or what was around `add`."""

from __future__ import annotations

import pytest

from mlver.cli.origin_text import origin_fields
from mlver.ids import RunId
from mlver.ops.opening import open_repository
from mlver.ops.runs.begin import begin_run
from mlver.ops.runs.current import RUN_VARIABLE, run_variable
from mlver.ops.runs.end import RunOutcome, end_run
from tests.cli.conftest import Person


def begin(person: Person, monkeypatch: pytest.MonkeyPatch, name: str) -> RunId:
    """Begin a run, and let what is typed be part of it."""
    opened = open_repository(person.here / ".mlver")
    run = begin_run(opened, name=name)
    monkeypatch.setenv(RUN_VARIABLE, run_variable(opened, run))
    opened.close()
    return run


def change(person: Person, text: str) -> None:
    (person.here / "model/notes.txt").write_text(text)


def test_what_is_typed_within_a_run_belongs_to_it(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(person, monkeypatch, "train")
    assert person.run("pull", "set", "-o", "out").code == 0
    assert person.run("cat", "net:v0:conf/config.json").code == 0
    change(person, "a")
    assert person.json("add", "model", "--uses", "net:v1")["provenance"]["run"] == run
    opened = open_repository(person.here / ".mlver")
    opened.index.refresh()
    assert [link.name for link in opened.runs.inputs_of(run)] == ["set:v0", "net:v0", "net:v1"]
    assert [link.name for link in opened.runs.outputs_of(run)] == ["net:v3"]
    end_run(opened, run, RunOutcome("finished", 0))
    opened.close()
    change(person, "b")
    done = person.run("add", "model")
    assert (done.code, "which is over" in done.err) == (0, True)
    assert person.run("log").err == "", "who reads is told nothing"


def test_without_a_run_the_surroundings_are_recorded_unless_told_not_to(person: Person) -> None:
    change(person, "a")
    said = person.json("add", "model", "--uses", "set:v0")["provenance"]
    assert {"by", "folder", "command", "host", "parent", "inputs"} <= said.keys()
    assert said["inputs"][0]["artifact"] == "set"
    change(person, "b")
    assert person.json("add", "model", "--no-provenance")["provenance"] == {}


def test_a_missing_input_is_refused(person: Person) -> None:
    change(person, "a")
    code, lines = person.fails("add", "model", "--uses", "sett")
    assert (code, lines[0]) == (1, "Error: There is no version, alias of 'net', or artifact 'sett'.")


def test_what_was_made_with_other_settings_says_so(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    for rate in (0.1, 0.01):
        opened = open_repository(person.here / ".mlver")
        run = begin_run(opened, config={"lr": rate}, uses=["set"] if rate == 0.1 else [])
        monkeypatch.setenv(RUN_VARIABLE, run_variable(opened, run))
        opened.close()
        change(person, str(rate))
        assert person.run("add", "model").code == 0
    screen = person.screen("diff", "v3", "v4")
    assert screen.index("Settings and inputs") < screen.index("Provenance")
    assert [line for line in screen.splitlines() if "config.lr" in line][1:] == ["~ config.lr   0.1 → 0.01"]
    assert "- inputs.set  v0" in screen
    markdown = person.screen("diff", "v3", "v4", "--markdown")
    assert "| made with | before | after |" in markdown
    keys = [change["key"] for change in person.json("diff", "v3", "v4")["provenance"]]
    assert {"config.lr", "inputs.set", "run"} <= set(keys)


def test_provenance_reads_like_a_sentence_whatever_it_is() -> None:
    code = {"branch": "main", "commit": "0123456789abcdef", "dirty": True, "patch": "blake3-blob:1"}
    said = {"code": code, "command": ["add", "a b"], "parent": [], "inputs": [{"artifact": "data", "version": 3}]}
    assert origin_fields(said) == {
        "code": "main 0123456789ab with changes",
        "command": "mlver add 'a b'",
        "inputs": "data:v3",
    }
    odd = {"code": {"commit": 5, "branch": [1]}, "command": "text", "inputs": [5], "parent": [1], "more": {"a": None}}
    assert origin_fields(odd) == {**odd, "code": "5"}
    assert origin_fields({"code": {}, "inputs": 7}) == {"code": {}, "inputs": 7}
