"""`mlver.run` as trainings use it: one process, many ranks, threads, forks, notebooks, and a sudden end."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import mlver
from mlver.lineage.live import live_runs
from mlver.ops.runs.current import RUN_VARIABLE
from mlver.repository import surroundings
from mlver.repository.nodes import RecordedRun
from tests.support.process import COMMAND, environment


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mlver.Repository]:
    """A repository with `data:v0`, in whose folder the process is."""
    for name in (RUN_VARIABLE, "RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with mlver.Repository.init(tmp_path) as repository:
        (tmp_path / "data.csv").write_text("a\n1\n")
        repository.add("data.csv", name="data", type="dataset")
        yield repository


def only_run(repository: mlver.Repository) -> RecordedRun:
    [run] = repository.runs()
    return run


def in_process(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-"],
        input=script,
        cwd=folder,
        env=environment(**variables),
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )


def test_a_training_as_the_manual_has_it(here: mlver.Repository, tmp_path: Path) -> None:
    with mlver.run(config={"lr": 0.1, "api_key": "hunter22"}, job_type="train", name="first") as run:
        data = run.use("data:latest", role="train")
        assert data.open("data.csv").read() == b"a\n1\n"
        assert data.pull("there") == Path("there")
        for step in range(10):
            run.log({"loss": 1 / (step + 1), "val_acc": step / 10}, step=10 * step)
        assert run.summary["loss"].last == 0.1
        run.configure(epochs=10)
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "w").write_bytes(b"weights")
        made = run.add("model/", name="iv3", type="iv3", aliases=["best"], metrics={"extra": 1.0})
    assert made is not None
    assert made.version.metrics == {"loss": 0.1, "val_acc": 0.9, "extra": 1.0}
    record = only_run(here).record
    assert (record.name, record.job_type, record.status) == ("first", "train", "finished")
    assert record.config == {"lr": 0.1, "api_key": "***", "epochs": 10}
    assert record.metrics["loss"].max == 1.0
    assert [(link.name, link.role) for link in record.inputs] == [("data:v0", "train")]
    assert [link.name for link in record.outputs] == ["iv3:v0"]
    series = only_run(here).series("val_acc")
    assert series.keys() == {"val_acc"}
    assert series["val_acc"].steps.tolist() == list(range(0, 100, 10))
    assert series["val_acc"].values.tolist() == [step / 10 for step in range(10)]
    assert RUN_VARIABLE not in os.environ
    assert live_runs(here.path) == []


def test_the_graph_is_walked(here: mlver.Repository, tmp_path: Path) -> None:
    for number, job_type in enumerate(("train", "predict")):
        (tmp_path / "w").write_text(str(number))
        with mlver.run(job_type=job_type, uses=["data" if number == 0 else "net"]) as run:
            run.add("w", name=("net", "predictions")[number], type=("model", "table")[number])
    data, net, predictions = (here.version(name) for name in ("data", "net", "predictions:v0"))
    trained, predicted = net.run, predictions.run
    assert trained is not None
    assert predicted is not None
    assert (net.inputs, net.outputs, net.used_by, net.made_by) == ([data], [predictions], [predicted], [trained])
    assert (data.inputs, data.run, data.outputs, predictions.outputs) == ([], None, [net], [])
    assert (trained.inputs, trained.outputs) == ([data], [net])
    assert predictions.ancestors() == [predicted, net, trained, data]
    assert predictions.ancestors(type="dataset") == [data]
    assert data.descendants(job_type="predict") == [predicted]
    assert data.descendants(type="table", job_type="train") == [trained, predictions]
    assert data.descendants(depth=2) == [trained, net]
    assert trained.descendants(type="table") == [predictions]
    assert net.record.type == "model"
    with pytest.raises(mlver.NotFoundError, match="no artifact of type 'datset'"):
        net.ancestors(type="datset")
    (tmp_path / "w").write_text("later")
    here.add("w", name="later", type="model", uses=["net"])
    assert here.version("later").inputs == [net]
    assert net.outputs == [predictions, here.version("later")]
    assert here.common_lineage("net", "later").ancestors.both
    assert [run.id for run in here.runs(filter="job_type == 'train'")] == [trained.id]
    assert here.find_run(trained.id[:6]) == trained
    assert here.lineage("net").roots == ("net:v0",)
    here.remove("net:v0")
    assert net.ancestors(type="dataset") == [data], "what was removed still has a past"
    assert predictions.inputs == [net]


def test_values_that_are_no_numbers(here: mlver.Repository) -> None:
    with mlver.run() as run:
        run.log({"loss": float("nan")})
        run.log({"loss": float("inf"), "acc": np.float32(0.5)})
        run.log({"loss": np.array(2.0), "acc": True})
        for value in ("0.5", None, [1.0], {"a": 1}, 1j):
            with pytest.raises(mlver.UsageError, match=r"Metric 'acc' is .*, which is not a number."):
                run.log({"loss": 1.0, "acc": value})  # type: ignore[dict-item]
        with pytest.raises(mlver.UsageError, match="not a whole number"):
            run.log({"loss": 1.0}, step="1")  # type: ignore[arg-type]
        with pytest.raises(mlver.UsageError, match="nothing to log"):
            run.log({})
        with pytest.raises(mlver.UsageError, match="more than 10,000"):
            run.log({f"m{number}": 1.0 for number in range(10_001)})
        assert run.summary["loss"].value_count == 3
    found = only_run(here)
    loss = found.record.metrics["loss"]
    assert (loss.last, loss.min, loss.max, loss.value_count, loss.nan_count) == (2.0, 2.0, 2.0, 3, 2)
    values = found.series()["loss"].values
    assert math.isnan(values[0])
    assert math.isinf(values[1])


def test_a_run_has_no_runs_inside(here: mlver.Repository) -> None:
    with mlver.run() as run, pytest.raises(mlver.UsageError, match="a run has no runs inside it") as refused:
        mlver.run()
    assert refused.value.__notes__ == ["Hint: End it first: run.finish(), or the end of its with."], "for tracebacks"
    with pytest.raises(mlver.UsageError, match="is over"):
        run.log({"a": 1})
    with pytest.raises(mlver.UsageError, match="is over"):
        run.use("data")
    with mlver.run():
        assert len(here.runs()) == 2, "one after the other is fine"


def test_a_missing_input_is_refused_and_leaves_nothing(here: mlver.Repository) -> None:
    with pytest.raises(mlver.NotFoundError, match="'nothing'"):
        mlver.run(uses=["data", "nothing"])
    assert here.runs() == []
    assert live_runs(here.path) == []
    with mlver.run() as run, pytest.raises(mlver.NotFoundError):
        run.use("nothing")


@pytest.mark.parametrize(
    ("end", "status", "exit_code"),
    [
        ("pass", "finished", None),
        ("raise ValueError", "failed", None),
        ("raise SystemExit(3)", "failed", 3),
        ("raise SystemExit", "finished", 0),
        ("raise KeyboardInterrupt", "killed", 130),
        ("import os; os.kill(os.getpid(), 9)", "killed", None),
        ("import os; os.kill(os.getpid(), 15)", "killed", None),
        ("import os; os._exit(1)", "killed", None),
    ],
)
def test_however_it_ends_what_was_logged_is_kept(
    here: mlver.Repository, tmp_path: Path, end: str, status: str, exit_code: int | None
) -> None:
    script = f"import mlver\nwith mlver.run() as run:\n for n in range(100): run.log({{'n': n}})\n {end}"
    in_process(script, tmp_path)
    found = only_run(here)
    record = found.record
    assert (record.status, record.exit_code) == (status, exit_code)
    assert found.series("n")["n"].values.tolist() == list(range(100))


@pytest.mark.parametrize(("end", "status"), [("pass", "finished"), ("1 / 0", "failed")])
def test_without_a_with_it_ends_with_the_process(here: mlver.Repository, tmp_path: Path, end: str, status: str) -> None:
    """As in a notebook: there is no file of the program either, since it comes from standard input."""
    in_process(f"import mlver\nrun = mlver.run()\nrun.log({{'n': 1}})\n{end}", tmp_path)
    assert only_run(here).record.status == status


def test_threads_and_forks_log_into_one_run(here: mlver.Repository, tmp_path: Path) -> None:
    script = (
        "import mlver, os, threading\n"
        "with mlver.run() as run:\n"
        " def work(n):\n"
        "  for i in range(200): run.log({f't{n}': i, 'all': i})\n"
        " threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]\n"
        " [t.start() for t in threads]; [t.join() for t in threads]\n"
        " child = os.fork()\n"
        " if child == 0:\n"
        "  run.log({'child': 1}); run.finish(); os._exit(0)\n"
        " os.waitpid(child, 0); run.log({'parent': 1})\n"
    )
    done = in_process(script, tmp_path)
    assert done.stderr == ""
    found = only_run(here)
    assert found.record.status == "finished"
    counts = {name: len(series.values) for name, series in found.series().items()}
    assert counts == {"all": 800, "t0": 200, "t1": 200, "t2": 200, "t3": 200, "child": 1, "parent": 1}
    assert found.series("t2")["t2"].values.tolist() == list(range(200)), "each thread's values keep their order"


@pytest.mark.parametrize("variable", ["RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"])
def test_of_many_processes_the_one_of_rank_0_speaks(here: mlver.Repository, tmp_path: Path, variable: str) -> None:
    script = (
        "import mlver, os\n"
        "with mlver.run(config={'lr': 1}, name='ddp') as run:\n"
        " data = run.use('data')\n"
        " run.log({'loss': 1.0}); run.configure(more=2)\n"
        " print(run.config['more'], data.name, run.add('data.csv', name='net', type='t') is not None)\n"
    )
    said = [in_process(script, tmp_path, **{variable: str(rank)}).stdout for rank in (1, 0, 2)]
    assert said == ["2 data:v0 False\n", "2 data:v0 True\n", "2 data:v0 False\n"]
    assert only_run(here).record.metrics["loss"].value_count == 1


def test_what_other_parts_of_the_api_do_is_the_runs_too(here: mlver.Repository, tmp_path: Path) -> None:
    with mlver.run() as run:
        here.pull("data", "out")
        (tmp_path / "w").write_text("weights")
        made = here.add("w", name="net", type="t")
        assert made.version.provenance == {"run": run.id}
    (tmp_path / "w").write_text("more")
    assert "run" not in here.add("w", name="net").version.provenance, "it is over"
    assert [link.name for link in only_run(here).record.inputs] == ["data:v0"]


def test_two_runs_that_add_the_same_at_once_have_both_made_it(here: mlver.Repository, tmp_path: Path) -> None:
    (tmp_path / "w").write_text("weights")
    script = "import mlver\nwith mlver.run() as run: print(run.add('w', name='net', type='t').version.name)"
    said: list[str] = []
    threads = [threading.Thread(target=lambda: said.append(in_process(script, tmp_path).stdout)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == ["net:v0\n"] * 3
    assert sorted(here.version("net").made_by, key=lambda run: run.id) == sorted(here.runs(), key=lambda run: run.id)


def test_a_run_that_goes_on_shows_what_it_has_logged(here: mlver.Repository) -> None:
    with mlver.run() as run:
        run.log({"loss": 0.5})
        found = only_run(here)
        assert found.record.status == "running"
        assert found.series()["loss"].values.tolist() == [0.5]
        assert found.details().run.metrics["loss"].last == 0.5


class Kind(enum.Enum):
    SGD = "sgd"


@dataclasses.dataclass
class Settings:
    lr: float = 0.1
    where: Path = Path("data")


def test_settings_are_what_trainings_have(here: mlver.Repository) -> None:
    config = {
        "path": Path("data/x"), "lr": np.float32(0.5), "steps": np.int64(3), "shape": np.zeros((2, 1)),
        "kind": Kind.SGD, "set": {"b", "a"}, "nan": math.nan, "inner": Settings(), "loss": math.sqrt,
        "class": Settings, 5: (1, None), "scheduler": {"db_password": "hunter22"}, "bytes": b"x", "true": True,
    }  # fmt: skip
    with mlver.run(config=config) as run:
        run.configure(more=np.float64(0.25), api_key="hunter33")
    assert only_run(here).record.config == {
        "path": "data/x", "lr": 0.5, "steps": 3, "shape": [[0.0], [0.0]], "kind": "sgd",
        "set": ["a", "b"], "nan": "nan", "inner": {"lr": 0.1, "where": "data"}, "loss": "math.sqrt",
        "class": f"{__name__}.Settings", "5": [1, None], "scheduler": {"db_password": "***"}, "bytes": "b'x'",
        "true": True, "more": 0.25, "api_key": "***",
    }  # fmt: skip


@pytest.mark.parametrize("config", [argparse.Namespace(lr=0.5, where="data"), Settings(0.5)])
def test_settings_may_be_an_object(here: mlver.Repository, config: object) -> None:
    with mlver.run(config=config) as run:
        assert run.config == {"lr": 0.5, "where": "data"}
    assert only_run(here).record.config == {"lr": 0.5, "where": "data"}


def test_metrics_of_versions_may_be_numpys(here: mlver.Repository, tmp_path: Path) -> None:
    (tmp_path / "w").write_text("weights")
    made = here.add("w", name="net", type="t", metrics={"acc": np.float32(0.5)}).version
    assert made.metrics == {"acc": 0.5}
    assert here.meta("net", metrics={"acc": np.array(0.75)}).metrics == {"acc": 0.75}
    for value in (math.nan, "0.5", np.zeros(2), None):
        with pytest.raises(mlver.UsageError, match=r"Metric 'acc' is .* not a finite number"):
            here.meta("net", metrics={"acc": value})  # type: ignore[dict-item]


def test_settings_within_an_outer_run_are_masked_too(here: mlver.Repository, tmp_path: Path) -> None:
    script = "import mlver\nwith mlver.run(config={'api_key': 'hunter22', 'lr': 1}): pass"
    subprocess.run([*COMMAND, "run", "--", sys.executable, "-c", script], cwd=tmp_path, env=environment(), check=True)
    assert only_run(here).record.config == {"api_key": "***", "lr": 1}
    kept = [path for path in (here.path / "runs").rglob("*") if path.is_file()]
    assert all(b"hunter" not in path.read_bytes() for path in kept)


def test_notices_are_logged(
    here: mlver.Repository, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(RUN_VARIABLE, f"{'0' * 16}@{here.path}")
    here.pull("data", "out")
    assert "names run 0000000000000000, which is not known" in caplog.text
    assert surroundings.run_variable() is not None
