"""The committed repository of runs is read, by mlver and by the reader made from docs/format.md, and both agree."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mlver.history.records import MetricSummary
from mlver.ids import RunId
from mlver.lineage.series import read_series
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.runs.blobs import read_blob, read_record
from mlver.ops.verify import verify
from tests.golden import make_runs, reader
from tests.golden.make_layout_1 import STORED_AS
from tests.golden.make_runs import AGAIN, BROKEN, EVALUATION, FOLDER, KILLED, LOSSES, OUTPUT, PATCH, RECORD, TRAIN

GOLDEN = FOLDER / STORED_AS


@pytest.fixture
def repository(tmp_path: Path) -> OpenRepository:
    shutil.copytree(GOLDEN, tmp_path / ".mlver")
    opened = open_repository(tmp_path / ".mlver")
    opened.index.refresh()
    return opened


def test_mlver_says_what_the_reader_says(repository: OpenRepository) -> None:
    second = reader.Repository(GOLDEN)
    runs = repository.runs.runs()
    assert [run.id for run in reversed(runs)] == list(second.runs) == [TRAIN, AGAIN, BROKEN, KILLED, EVALUATION]
    for run in runs:
        said = second.runs[run.id]
        assert (run.name, run.job_type, run.config) == (said.name, said.job_type, said.config)
        assert (run.started_at, run.started_by, run.code) == (said.at, said.by, said.said["code"])
        end = said.end or {"status": "running", "exit_code": None, "duration_seconds": None}
        assert (run.status, run.exit_code, run.duration_seconds) == tuple(
            end[key] for key in ("status", "exit_code", "duration_seconds")
        )
        assert [link.name for link in run.inputs] == second.used(said)
        assert [link.name for link in run.outputs] == second.made(said)


def test_every_run_is_what_it_was(repository: OpenRepository) -> None:
    runs = {run.id: run for run in repository.runs.runs()}
    links = {run.id: ([x.name for x in run.inputs], [x.name for x in run.outputs]) for run in runs.values()}
    assert links == {
        TRAIN: (["inat:v0", "inat:v1"], ["iv3:v0"]),
        AGAIN: (["inat:v1"], ["iv3:v1", "iv3:v0"]),  # but not the dataset, which it used
        BROKEN: ([], []),
        KILLED: (["inat:v0"], []),
        EVALUATION: (["iv3:v0", "iv3:v1", "inat:v1"], []),
    }
    assert [runs[run].status for run in (TRAIN, BROKEN, KILLED, EVALUATION)] == [
        *("finished", "failed", "killed", "running")
    ]
    train = runs[TRAIN]
    assert (train.name, train.job_type, train.inputs[1].role) == ("first of all", "train", "test")
    assert train.config == {"lr": 0.01, "seed": 5, "layers": [1, {"a": None}]}
    assert train.metrics["loss"] == MetricSummary(0.0625, 0.0625, 0.5, 5, 1)
    assert train.metrics["nothing"] == MetricSummary(None, None, None, 2, 2)


def test_blobs_come_back(repository: OpenRepository) -> None:
    second = reader.Repository(GOLDEN)
    (train,) = repository.runs.find(TRAIN)
    assert train.record is not None
    assert train.series is not None
    assert train.output is not None
    patch = train.code["patch"]
    assert read_record(repository, train) == {**RECORD, "code": {**RECORD["code"], "patch": patch}}
    assert second.blob(patch) == PATCH
    assert second.blob(train.output) == read_blob(repository, train.output) == OUTPUT
    assert json.loads(second.blob(train.record))["code"]["patch"] == patch
    losses = read_series(second.blob(train.series))["loss"]
    assert str(losses.values.tolist()) == str([*LOSSES, 0.0625])
    named = {blob for run in second.runs.values() for blob in run.blobs}
    assert {f"blake3-blob:{place.stem}" for place in (GOLDEN / "runs" / "blobs").iterdir()} == named


def test_a_version_without_a_run_says_what_it_follows_from(repository: OpenRepository) -> None:
    report, model = repository.index.artifact("report"), repository.index.artifact("iv3")
    assert report is not None
    assert model is not None
    assert [link.name for link in repository.runs.derived_from(report, 0)] == ["iv3:v0"]
    assert [link.name for link in repository.runs.derived_to(model, 0)] == ["report:v0"]
    assert repository.runs.users_of(model, 0) == [EVALUATION]
    assert repository.runs.maker_of(model, 0) == [TRAIN, AGAIN]


def test_aliases_of_each_kind(repository: OpenRepository) -> None:
    (model,) = (found for found in reader.Repository(GOLDEN).artifacts if found.name == "iv3")
    assert model.aliases == {"best": 1, "production": 1}
    assert model.protected == {"production"}
    assert repository.resolve("iv3:best").version.number == 1


def test_it_is_sound(repository: OpenRepository) -> None:
    assert verify(repository).damaged == ()


def test_what_is_written_today_says_the_same(tmp_path: Path) -> None:
    make_runs.build(tmp_path)
    made, golden = (reader.Repository(root).runs for root in (tmp_path / ".mlver", GOLDEN))
    for run, said in golden.items():
        assert (made[run].uses, made[run].made_again) == (said.uses, said.made_again)
        assert (made[run].config, made[run].name, made[run].at) == (said.config, said.name, said.at)
        assert {**(made[run].end or {}), "series": None} == {**(said.end or {}), "series": None}


def _read_all(root: Path) -> None:
    second = reader.Repository(root)
    for run in second.runs.values():
        for blob in run.blobs:
            second.blob(blob)


@pytest.mark.parametrize("folder", ["runs/log", "runs/blobs"])
def test_the_reader_sees_every_flipped_byte(tmp_path: Path, folder: str) -> None:
    root = tmp_path / "copy"
    for place in sorted((GOLDEN / folder).iterdir()):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(GOLDEN, root)
        data = bytearray(place.read_bytes())
        data[len(data) // 2] ^= 4
        damaged = root / folder / place.name
        damaged.chmod(0o644)
        damaged.write_bytes(data)
        with pytest.raises((reader.Damaged, ValueError)):
            _read_all(root)


def test_ids_of_runs_are_found_by_their_beginning(repository: OpenRepository) -> None:
    assert [run.id for run in repository.runs.find("train")] == [KILLED, AGAIN]
    assert [run.id for run in repository.runs.find("run:first of all")] == [TRAIN]
    assert {run.id for run in repository.runs.find("00000000")} == {TRAIN, AGAIN, BROKEN, KILLED, EVALUATION}
    assert repository.runs.find("run:00000000") == []
    assert repository.runs.find("000") == []
    assert repository.runs.run(RunId("f" * 16)) is None
