"""Versions know where they come from: the run that made them, or the code and the versions that were around."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from mlver.errors import ConflictError, NotFoundError
from mlver.history.records import RUNS
from mlver.history.run_blob import patch_of
from mlver.ids import RunId
from mlver.ops.add import AddRequest, add
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.pull import plan_pull, pull
from mlver.ops.removal import remove
from mlver.ops.runs.begin import begin_run
from mlver.ops.runs.blobs import read_blob
from mlver.ops.runs.current import run_variable
from mlver.ops.runs.end import RunOutcome, end_run
from mlver.ops.runs.provenance import Caller
from mlver.ops.runs.use import use_version
from mlver.ops.undo import undo
from mlver.ops.verify import verify
from mlver.ops.version_files import open_file, stream_file
from mlver.repository import Repository
from tests.unit.ops.remotes.stories import record
from tests.unit.ops.runs.test_recording import names


@pytest.fixture
def opened(repository: Repository) -> OpenRepository:
    return open_repository(repository.path)


def enter(opened: OpenRepository, name: str, **details: object) -> RunId:
    """Begin a run, and let what is done with the repository be part of it."""
    run = begin_run(opened, name=name, **details)  # type: ignore[arg-type]
    opened.run_variable = run_variable(opened, run)
    return run


def test_what_is_added_and_read_within_a_run_is_its(opened: OpenRepository, tmp_path: Path) -> None:
    for number in range(3):
        record(opened, b"%d" % number, "data")
    run = enter(opened, "train")
    pull(opened, plan_pull(opened, "data:v0", tmp_path / "out"))
    assert b"".join(bytes(piece) for piece in stream_file(opened, "data:v1", "w")) == b"1"
    with open_file(opened, "data:v2", "w"):
        pass
    pull(opened, plan_pull(opened, "data:v0", tmp_path / "again"))
    record(opened, b"weights", "model")
    pull(opened, plan_pull(opened, "model", tmp_path / "own"))
    assert names(opened, run) == (["data:v0", "data:v1", "data:v2"], ["model:v0"])
    assert opened.resolve("model").version.provenance == {"run": run}
    assert opened.notices == [], "to read back what one wrote is nothing to talk about"


def test_content_that_was_there_is_made_again_but_not_by_who_used_it(opened: OpenRepository) -> None:
    first = enter(opened, "first")
    record(opened, b"weights", "model")
    second = enter(opened, "second")
    record(opened, b"weights", "model")
    record(opened, b"weights", "model")
    third = enter(opened, "third", uses=["model"])
    record(opened, b"weights", "model")
    model = opened.artifact("model")
    assert opened.runs.maker_of(model, 0) == [first, second]
    assert names(opened, third) == (["model:v0"], [])
    assert opened.runs.users_of(model, 0) == [third]


def test_a_run_does_not_use_what_follows_from_what_it_made(opened: OpenRepository) -> None:
    first = enter(opened, "first")
    record(opened, b"weights", "model")
    second = enter(opened, "second", uses=["model"])
    record(opened, b"predictions", "predictions")
    opened.run_variable = None
    record(opened, b"report", "report", uses=["predictions"])
    third = begin_run(opened, uses=["report"])
    for revision in ("model", "predictions", "report"):
        with pytest.raises(ConflictError, match="follows from what this run made"):
            use_version(opened, first, revision)
    use_version(opened, third, "model")
    use_version(opened, second, "model")
    assert names(opened, first) == ([], ["model:v0"])
    assert names(opened, third)[0] == ["report:v0", "model:v0"]


def test_a_run_does_not_make_again_what_it_follows_from(opened: OpenRepository) -> None:
    record(opened, b"data", "data")
    enter(opened, "first", uses=["data"])
    record(opened, b"weights", "model")
    second = enter(opened, "second", uses=["model"])
    record(opened, b"data", "data")
    assert names(opened, second) == (["model:v0"], []), "data led to the model that this run used"


def test_inputs_may_be_said_without_a_run(opened: OpenRepository) -> None:
    record(opened, b"0", "data")
    record(opened, b"1", "model", uses=["data", "data:v0"])
    artifact, data = opened.artifact("model"), opened.artifact("data")
    assert {link.name for link in opened.runs.derived_from(artifact, 0)} == {"data:v0"}
    assert {link.name for link in opened.runs.derived_to(data, 0)} == {"model:v0"}
    assert opened.runs.graph().derived[0] == (("data", 0), ("model", 0))
    folder = opened.root.parent / "model"
    again = add(opened, AddRequest([folder], name="model", uses=["data"]))
    assert "not recorded" in again.warnings[0]
    with pytest.raises(NotFoundError):
        add(opened, AddRequest([folder], name="model", uses=["nothing"]))


def test_uses_within_a_run_are_the_runs(opened: OpenRepository) -> None:
    record(opened, b"0", "data")
    run = enter(opened, "train")
    record(opened, b"1", "model", uses=["data"])
    assert names(opened, run) == (["data:v0"], ["model:v0"])
    assert "inputs" not in opened.resolve("model").version.provenance


@pytest.mark.parametrize("kind", ["of another", "unknown", "over", "malformed", "gone"])
def test_a_run_that_cannot_be_told_keeps_nobody_from_adding(opened: OpenRepository, tmp_path: Path, kind: str) -> None:
    run = begin_run(opened, name="short")
    if kind == "of another":
        other = Repository.init(tmp_path / "other")
        opened.run_variable = run_variable(open_repository(other.path), run)
    elif kind == "unknown":
        opened.run_variable = run_variable(opened, RunId("f" * 16))
    elif kind == "over":
        opened.run_variable = run_variable(opened, run)
        end_run(opened, run, RunOutcome("finished"))
    else:
        opened.run_variable = {"malformed": f"{run}x@{opened.root}", "gone": f"{run}@/nowhere"}[kind]
    record(opened, b"1", "model")
    record(opened, b"1", "model")
    for _ in stream_file(opened, "model", "w"):
        pass
    assert names(opened, run) == ([], [])
    assert "run" not in opened.resolve("model").version.provenance
    assert len(opened.notices) == 1, "it is said once"
    assert "not recorded as part of a run" in opened.notices[0]


def test_an_empty_variable_is_none(opened: OpenRepository) -> None:
    opened.run_variable = ""
    record(opened, b"1", "model")
    assert opened.notices == []


def test_the_run_is_known_by_any_path_of_the_repository(opened: OpenRepository, tmp_path: Path) -> None:
    run = begin_run(opened)
    (tmp_path / "link").symlink_to(opened.root.parent)
    elsewhere = open_repository(tmp_path / "link" / ".mlver")
    elsewhere.run_variable = run_variable(opened, run)
    record(elsewhere, b"1", "model")
    assert names(opened, run) == ([], ["model:v0"])


def test_what_a_run_made_stays_its_when_it_is_removed(opened: OpenRepository) -> None:
    run = enter(opened, "train")
    record(opened, b"1", "model")
    remove(opened, ["model:v0"], force=True)
    assert names(opened, run) == ([], ["model:v0"])
    undo(opened, "model")
    assert opened.index.head(RUNS.key) == 0, "an undo of an artifact's event says nothing of runs"
    assert names(opened, run) == ([], ["model:v0"])


@pytest.fixture
def code(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "train.py").write_text("lr = 0.1\n")
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=folder, env=os.environ | who, check=True)
    return folder


def test_without_a_run_the_code_is_recorded(opened: OpenRepository, code: Path) -> None:
    caller = Caller(code, os.environ, ["python", "train.py"])
    record(opened, b"0", "model", caller=caller)
    (code / "train.py").write_text("lr = 0.2\n")
    record(opened, b"1", "model", caller=caller)
    record(opened, b"1", "model", caller=caller)
    clean, dirty = (opened.resolve(f"model:v{number}").version.provenance for number in (0, 1))
    assert (clean["code"]["dirty"], clean["code"]["patch"]) == (False, None)
    assert clean["parent"] == ["python", "train.py"]
    assert dirty["code"]["branch"] == "main"
    patch = patch_of(dirty)
    assert patch is not None
    assert b"+lr = 0.2" in read_blob(opened, patch)
    assert verify(opened).damaged == ()


def test_a_run_tells_of_the_code_so_its_versions_need_not(opened: OpenRepository, code: Path) -> None:
    run = enter(opened, "train")
    record(opened, b"0", "model", caller=Caller(code, os.environ))
    assert opened.resolve("model").version.provenance == {"run": run}


def test_provenance_of_another_form_is_no_link(opened: OpenRepository) -> None:
    odd = {"run": "../../x", "inputs": [5, {"artifact": 1}, {"artifact": "a", "version": -1, "manifest": "b"}]}
    record(opened, b"0", "model", provenance=odd | {"code": {"patch": "../../../etc/passwd"}})
    record(opened, b"1", "model", provenance={"inputs": 7, "code": 7, "run": 7})
    graph = opened.runs.graph()
    assert (graph.made, graph.derived) == ([], [])
    assert verify(opened).damaged == ()


def test_verify_names_what_a_run_left(opened: OpenRepository) -> None:
    begin_run(opened, record={"a": 1}, patch=b"patch")
    assert verify(opened).damaged == ()
    for place in (opened.root / "runs" / "blobs").iterdir():
        place.chmod(0o644)
        place.write_bytes(b"x")
    assert [(damage.kind, damage.name[:10]) for damage in verify(opened).damaged] == [("blob", "runs/blobs")] * 2


def test_the_same_content_elsewhere_is_another_version(opened: OpenRepository) -> None:
    record(opened, b"same", "data")
    record(opened, b"same", "copy")
    first = enter(opened, "first", uses=["data"])
    enter(opened, "second")
    record(opened, b"same", "copy")
    enter(opened, "third", uses=["copy"])
    data, copy = opened.artifact("data"), opened.artifact("copy")
    assert (opened.runs.users_of(data, 0), opened.runs.maker_of(data, 0)) == ([first], [])
    assert len(opened.runs.users_of(copy, 0)) == 1
    assert len(opened.runs.maker_of(copy, 0)) == 1


def test_two_runs_that_add_the_same_at_once(opened: OpenRepository, tmp_path: Path) -> None:
    record(opened, b"first", "model")
    folders = [tmp_path / "a", tmp_path / "b"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / "same").write_bytes(b"same")
        (folder / "own").mkdir()
        (folder / "own" / "w").write_bytes(b"own %d" % number)
    runs = [begin_run(opened, name=folder.name) for folder in folders]
    together = threading.Barrier(2)

    def work(number: int) -> None:
        mine = open_repository(opened.root)
        mine.run_variable = run_variable(mine, runs[number])
        for path in (folders[number] / "same", folders[number] / "own"):
            together.wait()
            add(mine, AddRequest([path], name="model"))
        mine.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    opened.index.refresh()
    made = [{link.name for link in opened.runs.outputs_of(run)} for run in runs]
    assert made[0] & made[1] == {"model:v1"}, "one made it, and the other one made it again"
    assert made[0] | made[1] == {"model:v1", "model:v2", "model:v3"}
