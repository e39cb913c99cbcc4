"""Runs as they are recorded: begun, told of what they use, and ended."""

from __future__ import annotations

import json
import threading

import pytest

from mlver.errors import IntegrityError, NotFoundError, UsageError
from mlver.history.event import Action, decode_event, encode_event, new_event
from mlver.history.records import RUNS, MetricSummary
from mlver.history.run_actions import FinishRun, UseVersion
from mlver.history.run_blob import blob_name
from mlver.ids import BlobId, RunId
from mlver.ops.commit import commit
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.runs.begin import begin_run
from mlver.ops.runs.blobs import read_blob, read_record, store_blob
from mlver.ops.runs.configure import update_config
from mlver.ops.runs.current import run_variable
from mlver.ops.runs.end import RunOutcome, end_run
from mlver.ops.runs.find import find_run
from mlver.ops.runs.use import use_version
from mlver.repository import Repository
from tests.unit.ops.remotes.stories import record

NOBODY = RunId("0" * 16)


@pytest.fixture
def opened(repository: Repository) -> OpenRepository:
    return open_repository(repository.path)


def names(opened: OpenRepository, run: RunId) -> tuple[list[str], list[str]]:
    """Return what a run used, and what it made."""
    opened.index.refresh()
    return (
        [link.name for link in opened.runs.inputs_of(run)],
        [link.name for link in opened.runs.outputs_of(run)],
    )


def test_a_run_is_what_was_said_of_it(opened: OpenRepository) -> None:
    record(opened, b"0", "data")
    run = begin_run(
        opened, name="first", job_type="train", config={"lr": 0.1}, record={"host": "here"}, uses=["data", "data:v0"]
    )
    update_config(opened, run, {"lr": 0.2, "more": [1]})
    update_config(opened, run, {"lr": 0.2})
    update_config(opened, run, {}, name="renamed", job_type="evaluate")
    found = find_run(opened, "renamed")
    assert (found.id, found.status, found.job_type, found.exit_code) == (run, "running", "evaluate", None)
    assert found.config == {"lr": 0.2, "more": [1]}
    assert [link.name for link in found.inputs] == ["data:v0"], "used once, however often that is said"
    assert opened.index.head(RUNS.key) == 2, "nothing new is no event"
    metrics = {"loss": MetricSummary(1.0, 0.5, float("inf"), 3, 1)}
    assert end_run(opened, run, RunOutcome("failed", 2, 1.25, metrics, output=b"oh"))
    ended = opened.runs.run(run)
    assert ended is not None
    assert (ended.status, ended.exit_code, ended.duration_seconds) == ("failed", 2, 1.25)
    assert ended.metrics == {"loss": MetricSummary(1.0, 0.5, None, 3, 1)}, "JSON has no infinity"
    places = {ended.inputs[0].id: str(opened.root.parent.resolve() / "model")}
    assert read_record(opened, ended) == {"host": "here", "code": {}, "places": places}
    assert ended.output is not None
    assert read_blob(opened, ended.output) == b"oh"


def test_a_missing_input_refuses_before_anything_is_written(opened: OpenRepository) -> None:
    record(opened, b"0", "data")
    with pytest.raises(NotFoundError):
        begin_run(opened, record={"a": 1}, patch=b"x", uses=["data", "nothing"])
    assert not (opened.root / "runs").exists()


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 129, "\x1b[31m", "\ud800"])
def test_names_that_no_terminal_should_show_are_refused(opened: OpenRepository, name: str) -> None:
    with pytest.raises(UsageError):
        begin_run(opened, name=name)


@pytest.mark.parametrize("config", [{"lr": float("nan")}, {"f": print}, {"": 1}])
def test_settings_that_are_no_json_are_refused(opened: OpenRepository, config: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        begin_run(opened, config=config)


def test_the_last_end_stands_but_who_finds_a_run_dead_does_not_overrule_it(opened: OpenRepository) -> None:
    run = begin_run(opened)
    assert end_run(opened, run, RunOutcome("killed"), only_running=True)
    assert end_run(opened, run, RunOutcome("finished", 0, 3.0))
    assert not end_run(opened, run, RunOutcome("killed"), only_running=True)
    assert find_run(opened, run).status == "finished"
    with pytest.raises(NotFoundError):
        end_run(opened, NOBODY, RunOutcome("finished"))


def test_what_is_over_uses_and_learns_nothing(opened: OpenRepository) -> None:
    record(opened, b"0", "data")
    run = begin_run(opened, name="short")
    end_run(opened, run, RunOutcome("finished"))
    with pytest.raises(UsageError, match="is over"):
        use_version(opened, run, "data")
    with pytest.raises(UsageError, match="is over"):
        update_config(opened, run, {"a": 1})
    with pytest.raises(NotFoundError):
        use_version(opened, NOBODY, "data")


def test_a_run_is_found_by_name_and_by_the_beginning_of_its_id(opened: OpenRepository) -> None:
    runs = [begin_run(opened, name="same", run=RunId(f"{number:016x}")) for number in (0xAB00, 0xAB01)]
    assert find_run(opened, "same").id == find_run(opened, "run:same").id == runs[1], "the newest of a name"
    assert find_run(opened, runs[0]).id == runs[0]
    with pytest.raises(UsageError, match="ambiguous") as ambiguous:
        find_run(opened, "0000")
    assert runs[0] in (ambiguous.value.hint or "")
    with pytest.raises(NotFoundError) as absent:
        find_run(opened, "sam")
    assert absent.value.hint == "Did you mean 'same'?"


def test_two_writers_of_the_log_both_get_in(opened: OpenRepository) -> None:
    record(opened, b"0", "data")

    def work(number: int) -> None:
        mine = open_repository(opened.root)
        run = begin_run(mine, name=f"run {number}", uses=["data"])
        end_run(mine, run, RunOutcome("finished", 0))
        mine.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    opened.index.refresh()
    assert {(run.name, run.status) for run in opened.runs.runs()} == {(f"run {n}", "finished") for n in range(4)}


def test_a_lost_index_is_rebuilt_to_the_same(opened: OpenRepository) -> None:
    record(opened, b"0", "data")
    run = begin_run(opened, name="a", uses=["data"], config={"x": 1})
    opened.run_variable = run_variable(opened, run)
    record(opened, b"1", "model")
    end_run(opened, run, RunOutcome("finished", 0))
    before = (opened.runs.runs(), opened.runs.graph())
    opened.close()
    (opened.root / "index.sqlite").unlink()
    again = open_repository(opened.root)
    again.index.refresh()
    assert (again.runs.runs(), again.runs.graph()) == before
    assert again.runs.graph().made == [(run, ("model", 0))]


def test_what_is_said_of_a_run_that_never_started_is_ignored(opened: OpenRepository) -> None:
    record(opened, b"0", "data")
    said: list[Action] = [UseVersion(NOBODY, "data", 0, "blake3:" + "0" * 64), FinishRun(NOBODY, "finished", 0, 1.0)]
    commit(opened, RUNS, lambda: said)
    assert opened.runs.runs() == []
    assert opened.runs.graph().used == []


def test_actions_of_runs_have_no_place_in_other_logs(opened: OpenRepository) -> None:
    record(opened, b"0", "data")
    artifact = opened.artifact("data")
    with pytest.raises(IntegrityError, match="no place in its log"):
        commit(opened, artifact, lambda: [FinishRun(NOBODY, "finished", 0, 1.0)])


@pytest.mark.parametrize(
    "harm",
    [
        {"run": "../../etc"},
        {"run": "0" * 15},
        {"status": "great"},
        {"duration_seconds": -1},
        {"duration_seconds": True},
        {"exit_code": -9},
        {"metrics": {"loss": 5}},
        {"metrics": {"loss": {"last": "x", "min": 0, "max": 0, "count": 1, "nan": 0}}},
        {"metrics": {"loss": {"last": 0, "min": 0, "max": 0, "count": -1, "nan": 0}}},
        {"series": "blake3-blob:../../x"},
        {"output": 5},
    ],
)
def test_events_of_another_form_are_refused(harm: dict[str, object]) -> None:
    from mlver.digests import blake3_hex, canonical_json

    sound = encode_event(new_event(0, "me", (FinishRun(NOBODY, "finished", 0, 1.0),)))
    document = json.loads(sound.partition(b"\n")[0])
    document["actions"][0] |= harm
    line = canonical_json(document)
    with pytest.raises(IntegrityError, match="malformed"):
        decode_event(line + b"\nblake3:" + blake3_hex(line).encode() + b"\n", 0, "0")


@pytest.mark.parametrize("harm", [b"", b"rubbish", b"cut"])
def test_a_damaged_blob_is_named(opened: OpenRepository, harm: bytes) -> None:
    blob = store_blob(opened, b"something" * 100)
    place = opened.root / blob_name(blob)
    place.chmod(0o644)
    place.write_bytes(place.read_bytes()[:-3] if harm == b"cut" else harm)
    with pytest.raises(IntegrityError, match=place.name):
        read_blob(opened, blob)
    assert store_blob(opened, b"something" * 100) == blob
    assert read_blob(opened, blob) == b"something" * 100, "keeping it again mends it"
    with pytest.raises(IntegrityError, match="missing"):
        read_blob(opened, BlobId("blake3-blob:" + "0" * 64))
