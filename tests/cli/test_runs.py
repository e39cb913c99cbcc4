"""`mlver runs`, `best`, `lineage` and `show RUN`: what was recorded is found again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from mlver.history.records import MetricSummary
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.runs.begin import begin_run
from mlver.ops.runs.current import run_variable
from mlver.ops.runs.end import RunOutcome, end_run
from tests.cli.conftest import Person
from tests.support.process import COMMAND, run_in_terminal
from tests.unit.ops.remotes.stories import record


def trained(opened: OpenRepository, name: str, rate: float, accuracy: float, uses: list[str]) -> None:
    """Record a training that made a model, and a prediction with it on the test set."""
    run = begin_run(opened, name=name, job_type="train", config={"lr": rate, "optimizer": "sgd"}, uses=uses)
    opened.run_variable = run_variable(opened, run)
    record(opened, name.encode(), "mlp", metrics={"val_acc": accuracy})
    metrics = {
        "val_acc": MetricSummary(accuracy, 0.1, accuracy, 10),
        "train/loss": MetricSummary(1 - accuracy, 0, 9, 10),
    }
    end_run(opened, run, RunOutcome("finished", 0, 60 * rate, metrics))
    opened.index.refresh()
    number = opened.resolve("mlp").version.number
    run = begin_run(opened, name=f"predict-{number}", job_type="predict", uses=["mlp", "test"])
    opened.run_variable = run_variable(opened, run)
    record(opened, f"predicted {name}".encode(), "predictions")
    end_run(opened, run, RunOutcome("finished", 0, 1.0))
    opened.run_variable = None


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Two datasets, three trainings, a prediction of each, an evaluation of all of them, and a run that failed."""
    from mlver.ops.init import init_repository

    here = tmp_path_factory.mktemp("pipeline")
    init_repository(here)
    opened = open_repository(here / ".mlver")
    for content in (b"few", b"many"):
        record(opened, content, "train")
    record(opened, b"held out", "test")
    trained(opened, "slow", 0.001, 0.5, ["train:v0"])
    trained(opened, "fast", 0.5, 0.75, ["train:v0"])
    trained(opened, "more", 0.5, 0.875, ["train:v1"])
    run = begin_run(
        opened, name="compare", job_type="evaluate", uses=["test", *(f"predictions:v{number}" for number in range(3))]
    )
    opened.run_variable = run_variable(opened, run)
    record(opened, b"report", "report")
    end_run(opened, run, RunOutcome("finished", 0, 1.0))
    end_run(opened, begin_run(opened, name="broken", job_type="train"), RunOutcome("failed", 3, 0.5))
    opened.close()
    return Person(here)


def found(person: Person, *arguments: str) -> list[str]:
    return [run["name"] for run in person.json("runs", *arguments)["runs"]]


def test_runs_are_found_and_sorted(pipeline: Person) -> None:
    assert found(pipeline, "--filter", "config.lr < 0.6 and val_acc > 0.6", "--sort", "-val_acc") == ["more", "fast"]
    assert found(pipeline, "--filter", 'job_type == "train"', "--sort", "metrics.val_acc.max") == [
        *("slow", "fast", "more", "broken")
    ], "what has no value comes last"
    assert found(pipeline, "--filter", 'status != "finished"') == ["broken"]
    assert found(pipeline, "--filter", "exit_code = 3 or name = 'slow'", "--sort", "name") == ["broken", "slow"]
    assert found(pipeline, "--sort", "-started_at", "-n", "1") == ["broken"]
    assert found(pipeline, "--filter", "config.optimizer != 'sgd' and val_acc > 0") == []
    assert found(pipeline, "--sort", "-train/loss", "-n", "1") == ["slow"], "a metric may be called like a quotient"


def test_columns(pipeline: Person) -> None:
    document = pipeline.json(
        "runs",
        "--filter",
        "val_acc > 0",
        "--sort",
        "name",
        "--columns",
        "config.lr, max(val_acc, 0.7), duration_seconds",
    )
    assert document["columns"] == [
        {"name": "config.lr", "values": [0.5, 0.5, 0.001]},
        {"name": "max(val_acc, 0.7)", "values": [0.75, 0.875, 0.7]},
        {"name": "duration_seconds", "values": [30, 30, 0.06]},
    ]
    lines = pipeline.screen("runs", "--sort", "name", "--columns", "config.lr,val_acc", "-n", "3").splitlines()
    assert lines[0].split() == ["RUN", "NAME", "config.lr", "val_acc"]
    assert [line.split()[1:] for line in lines[1:]] == [["broken"], ["compare"], ["fast", "0.5", "0.75"]]


@pytest.mark.parametrize(
    ("expression", "message", "caret"),
    [
        ("val_acc >> 1", "Expected a value, not '>'.", 9),
        ("val_ac > 1", "'val_ac' means nothing here.", 0),
        ("val_acc > 'a", "This ' has no partner.", 10),
        ("config.lr + name > 1", "'+' needs numbers, and 'more' is none.", 10),
        ("", "Expected a value.", 0),
    ],
)
def test_a_wrong_expression_is_pointed_at(pipeline: Person, expression: str, message: str, caret: int) -> None:
    code, lines = pipeline.fails("runs", "--filter", expression)
    assert (code, lines[0]) == (2, f"Error: {message}")
    assert lines[-1] == "  " + " " * caret + "^"
    for option in ("--sort", "--columns"):
        if expression:
            assert pipeline.fails("runs", option, expression)[1][0] == f"Error: {message}"


def test_gates_of_diff_have_the_same_grammar_and_point_too(pipeline: Person) -> None:
    _, lines = pipeline.fails("diff", "mlp:v0", "mlp:v1", "--fail-if", "metrics.val_acc.change <")
    assert lines[-1].endswith("^")


def test_best(pipeline: Person) -> None:
    assert pipeline.run("best", "--metric", "val_acc").out == "mlp:v2\n"
    assert pipeline.run("best", "--metric", "val_acc", "--min", "-q").out == "mlp:v0\n"
    assert pipeline.json("best", "mlp", "--metric", "1 - val_acc", "--max")["version"] == "v0"
    assert pipeline.json("show", "mlp@max(val_acc)")["version"] == "v2"
    assert pipeline.json("show", "mlp@min(val_acc)~0")["version"] == "v0"
    assert pipeline.fails("best", "--metric", "val_ac", "--max")[1][:2] == [
        "Error: 'val_ac' means nothing here.",
        "Hint: Did you mean 'val_acc'?",
    ]
    assert pipeline.fails("best", "--metric", "quality")[1][0].startswith("Error: The name 'quality' does not tell")
    assert pipeline.fails("best", "--metric", "val_acc", "--type", "nothing")[0] == 1
    assert pipeline.fails("show", "mlp@max(val_acc")[1][0].startswith("Error: ")


def unnumbered(text: str) -> str:
    return re.sub(r"\([0-9a-f]{8}\)", "(ID)", text)


def test_lineage_as_trees(pipeline: Person) -> None:
    assert unnumbered(pipeline.screen("lineage", "mlp:v2")) == (
        "Rests on:\n"
        "mlp:v2  model\n"
        "└─ run more (ID)  train  finished\n"
        "   └─ train:v1  model\n"
        "\n"
        "Followed by:\n"
        "mlp:v2  model\n"
        "└─ run predict-2 (ID)  predict  finished\n"
        "   └─ predictions:v2  model\n"
        "      └─ run compare (ID)  evaluate  finished\n"
        "         └─ report:v0  model\n"
    )
    assert unnumbered(pipeline.screen("lineage", "test", "--down", "--job-type", "evaluate", "--depth", "1")) == (
        "Followed by:\ntest:v0  model\n└─ run compare (ID)  evaluate  finished\n"
    )


def test_lineage_for_scripts(pipeline: Person) -> None:
    assert pipeline.run("lineage", "report", "--up", "--type", "model", "-q").out.split() == [
        *("test:v0", "predictions:v0", "predictions:v1", "predictions:v2"),
        *("mlp:v0", "mlp:v1", "mlp:v2", "train:v0", "train:v1"),
    ]
    document = pipeline.json("lineage", "mlp:v0")
    kinds = {node["id"]: node["kind"] for node in document["nodes"]}
    assert document["roots"] == ["mlp:v0"]
    assert kinds["mlp:v0"] == "version"
    assert {edge["kind"] for edge in document["edges"]} == {"used", "made"}
    assert all({edge["source"], edge["target"]} <= kinds.keys() for edge in document["edges"])
    same = json.loads(pipeline.run("lineage", "mlp:v0", "--format", "json").out)
    assert same == document


def test_collapsed_by_artifact_by_type_and_by_job_type(pipeline: Person) -> None:
    def nodes(*groupings: str) -> set[str]:
        document = pipeline.json("lineage", "--all", *(word for each in groupings for word in ("--collapse", each)))
        return {node["id"] for node in document["nodes"] if node["members"]}

    assert nodes("artifact") == {"artifact:train", "artifact:mlp", "artifact:predictions"}
    assert nodes("type") == {"type:model"}
    assert nodes("job-type") == {"job-type:train", "job-type:predict"}
    kept = pipeline.json("lineage", "--all", "--collapse", "artifact", "--expand", "mlp")["nodes"]
    assert {"mlp:v0", "mlp:v1", "mlp:v2"} <= {node["id"] for node in kept}


@pytest.mark.parametrize("collapse", [(), ("--collapse", "artifact", "--collapse", "job-type")])
def test_lineage_in_other_languages(pipeline: Person, collapse: tuple[str, ...]) -> None:
    picture = ET.fromstring(pipeline.run("lineage", "--all", "--format", "svg", *collapse).out)
    titles = [title.text or "" for title in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert any(title.startswith("compare (") for title in titles)
    dot = pipeline.run("lineage", "--all", "--format", "dot", *collapse).out
    assert dot.startswith("digraph lineage {")
    assert dot.count("{") == dot.count("}")
    mermaid = pipeline.run("lineage", "--all", "--format", "mermaid", *collapse).out
    assert mermaid.startswith("flowchart LR\n")


def test_two_models_used_the_same_test_set(pipeline: Person) -> None:
    assert pipeline.screen("lineage", "mlp:v0", "mlp:v2") == (
        "Both rest on:\n"
        "train  not the same: v0 for the first, v1 for the second\n"
        "\n"
        "Read with them, by runs that followed:\n"
        "test  the same: v0\n"
    )
    document = pipeline.json("lineage", "mlp:v0", "mlp:v1")
    assert [node["id"] for node in document["ancestors"]["both"]] == ["train:v0"]
    assert [node["id"] for node in document["companions"]["both"]] == ["test:v0"]
    assert pipeline.screen("lineage", "train:v0", "train:v1").count("nothing that is known") == 1


def test_what_cannot_be_drawn_is_said(pipeline: Person) -> None:
    assert pipeline.fails("lineage", "nothing")[0] == 1
    assert pipeline.fails("lineage", "--type", "datset")[1] == [
        "Error: There is no artifact of type 'datset'.",
        "Hint: There are: model.",
    ]
    assert pipeline.fails("lineage", "--collapse", "name")[0] == 2
    assert pipeline.fails("lineage", "mlp:v0", "mlp:v1", "--up")[0] == 2
    assert pipeline.fails("lineage", "a", "b", "c")[0] == 2


def test_a_run_is_shown_by_name_and_by_the_beginning_of_its_id(pipeline: Person) -> None:
    identity = pipeline.json("runs", "--filter", "name == 'more'")["runs"][0]["id"]
    screens = {pipeline.screen("show", reference) for reference in ("more", "run:more", identity, identity[:8])}
    assert len(screens) == 1
    assert "  train:v1" in screens.pop()
    assert pipeline.fails("show", "run:nobody")[1][0] == "Error: There is no run 'nobody'."


def test_on_a_narrow_terminal_columns_go_before_lines_break(pipeline: Person) -> None:
    code, text = run_in_terminal(*COMMAND, "runs", folder=pipeline.here, variables={"PAGER": "", "NO_COLOR": "1"})
    assert code == 0
    assert "The terminal is too narrow for MADE" in text
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith("The terminal"))


def test_nothing_yet(tmp_path: Path) -> None:
    from mlver.ops.init import init_repository

    init_repository(tmp_path)
    person = Person(tmp_path)
    assert person.json("runs") == {"runs": [], "columns": [], "left_out_count": 0}
    assert person.run("runs").code == 0
    assert person.run("runs", "--filter", "val_acc > 1").code == 0
    assert person.run("lineage", "--all").code == 0
    assert person.fails("best", "--metric", "val_acc")[1][0] == "Error: There is no artifact yet."
