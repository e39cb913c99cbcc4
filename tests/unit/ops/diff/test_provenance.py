"""What made two versions is part of how they differ: settings, inputs, code, command."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlver.differences.values import ValueChange
from mlver.history.run_blob import blob_name
from mlver.ops.diff.diff import diff
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.runs.begin import begin_run
from mlver.ops.runs.current import run_variable
from mlver.repository import Repository
from tests.unit.ops.remotes.stories import record


@pytest.fixture
def opened(tmp_path: Path) -> OpenRepository:
    return open_repository(Repository.init(tmp_path).path)


def train(opened: OpenRepository, rate: float, uses: list[str], commit: str) -> None:
    """Make the next version of `net`, of ever the same shape."""
    command = ["python", "train.py", "--lr", str(rate)]
    code = {"commit": commit, "branch": "main"}
    circumstances = {"command": command, "code": code, "packages": {"numpy": "2.0"}, "user": "ada"}
    config = {"lr": rate, "layers": 5}
    run = begin_run(opened, job_type="train", config=config, uses=uses, record=circumstances)
    opened.run_variable = run_variable(opened, run)
    record(opened, b"weights %a" % rate, "net")
    opened.run_variable = None


def test_what_differs_in_the_runs_that_made_them(opened: OpenRepository) -> None:
    for number in range(3):
        record(opened, b"%d" % number, "data")
    train(opened, 0.1, ["data:v0"], "aaa")
    train(opened, 0.01, ["data:v2", "data:v1"], "bbb")
    result = diff(opened, "net:v0", "net:v1")
    assert {change for change in result.provenance if change.key != "run"} == {
        ValueChange("command --lr", "changed", "0.1", "0.01"),
        ValueChange("config.lr", "changed", 0.1, 0.01),
        ValueChange("inputs.data", "changed", "v0", "v1, v2"),
        ValueChange("code.commit", "changed", "aaa", "bbb"),
    }
    assert "config.lr 0.1 → 0.01" in result.summary
    assert diff(opened, "net:v0", "net:v0").provenance == ()


def test_a_version_that_no_run_made_beside_one_that_was(opened: OpenRepository) -> None:
    record(opened, b"0", "data")
    record(opened, b"by hand", "net", uses=["data"], provenance={"code": {"commit": "aaa"}})
    train(opened, 0.1, ["data"], "bbb")
    changes = {change.key: change for change in diff(opened, "net:v0", "net:v1").provenance}
    assert "inputs.data" not in changes, "both used the same"
    assert changes["code.commit"] == ValueChange("code.commit", "changed", "aaa", "bbb")
    assert changes["config.lr"] == ValueChange("config.lr", "added", None, 0.1)


def test_a_lost_record_is_said_and_the_rest_compared(opened: OpenRepository) -> None:
    record(opened, b"0", "data")
    train(opened, 0.1, ["data"], "aaa")
    train(opened, 0.2, ["data"], "aaa")
    lost = opened.runs.runs()[0].record
    assert lost is not None
    (opened.root / blob_name(lost)).unlink()
    changes = diff(opened, "net:v0", "net:v1").provenance
    assert ValueChange("config.lr", "changed", 0.1, 0.2) in changes
    assert len(opened.notices) == 1
    assert blob_name(lost) in opened.notices[0]


def test_a_run_that_is_not_known_here_is_its_id(opened: OpenRepository) -> None:
    for digit in "12":
        record(opened, digit.encode(), "net", provenance={"run": digit * 16})
    assert diff(opened, "net:v0", "net:v1").provenance == (ValueChange("run", "changed", "1" * 16, "2" * 16),)
