"""Writes `tests/golden/runs/`: a small repository of layout 1 whose versions come from runs.

`python -m tests.golden.make_runs`. Like `layout-1`, it is not written again once it is released. The runs never ran:
what a repository says of them is what counts here. It has an alias of each kind too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlver.history.records import MetricSummary
from mlver.ids import RunId
from mlver.lineage.series import Rows, SeriesWriter
from mlver.ops.add import AddRequest, add
from mlver.ops.init import init_repository
from mlver.ops.labels import change_values, set_alias
from mlver.ops.moving import protect_alias, track_alias
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.runs.begin import begin_run
from mlver.ops.runs.configure import update_config
from mlver.ops.runs.current import run_variable
from mlver.ops.runs.end import RunOutcome, end_run
from mlver.ops.runs.use import use_version
from tests.golden.make_layout_1 import CACHES, STORED_AS, made_up_times_and_ids

FOLDER = Path(__file__).parent / "runs"
TRAIN, AGAIN, BROKEN, KILLED, EVALUATION = (RunId(f"{number:016x}") for number in range(0xA1, 0xA6))
PATCH = b"diff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-lr = 0.1\n+lr = 0.01\n"
OUTPUT = "epoch 1\nepoch 2 \N{CHECK MARK}\n".encode()
RECORD: dict[str, Any] = {
    "mlver_run_record": 1,
    "command": ["python", "train.py", "--lr", "0.01"],
    "folder": "/home/ada/project",
    "host": "workstation",
    "user": "ada",
    "python": {"version": "3.12.1"},
    "packages": {"numpy": "2.1.0"},
    "environment": {"OMP_NUM_THREADS": "4"},
    "hardware": {"cpu": "made up", "cores": 4},
    "code": {
        "commit": "5f1590a081f4bd70676c0877dab79b956eb04df3",
        "branch": "main",
        "remote": "https://example.org/project.git",
        "root": "/home/ada/project",
        "dirty": True,
        "patch": None,
        "untracked": ["notes.txt"],
        "untracked_count": 1,
    },
    "notes": [],
}
LOSSES = [0.5, 0.25, float("nan"), 0.125]


def series() -> bytes:
    """Return the course of two metrics, which were logged in two ways."""
    writer = SeriesWriter()
    steps = np.arange(4, dtype=np.int64)
    times = 1_700_000_000_000_000 + steps * 1_000_000
    writer.append(Rows(("loss", "lr"), steps, times, np.array([[loss, 0.01] for loss in LOSSES])))
    writer.append(Rows(("loss",), steps[:1] + 4, times[:1] + 4_000_000, np.array([[0.0625]])))
    blob = writer.finish()
    assert blob is not None
    return blob


def build(home: Path) -> None:
    """Make the repository in `home`."""
    root = Path(init_repository(home).path)
    config = root / "config.toml"
    config.chmod(0o644)
    config.write_text('[identity]\nname = "ada@workstation"\n')
    repository = open_repository(root)
    with made_up_times_and_ids():
        _add(repository, home, "inat", "dataset", b"images\n")
        _add(repository, home, "inat", "dataset", b"more images\n")
        _train(repository, home)
        _train_again(repository, home)
        begin_run(repository, run=BROKEN, config={"lr": 1e9})
        end_run(repository, BROKEN, RunOutcome("failed", 1, 0.25))
        begin_run(repository, run=KILLED, name="train", uses=["inat:v0"])
        end_run(repository, KILLED, RunOutcome("lost", None, 12))
        end_run(repository, KILLED, RunOutcome("killed", 137, 60.0))
        begin_run(repository, run=EVALUATION, job_type="evaluate", uses=["iv3:v0", "iv3:v1", "inat:v1"])
        _add(repository, home, "report", "report", b"fine\n", uses=("iv3:v0",))
        change_values(repository, "iv3:v0", metrics={"val_acc": 0.5})
        change_values(repository, "iv3:v1", metrics={"val_acc": 0.75})
        track_alias(repository, "iv3:best", "max(val_acc)")
        set_alias(repository, "production", "iv3:v0")
        protect_alias(repository, "iv3:production", protected=True)
        set_alias(repository, "production", "iv3:v1", force=True)
        repository.set_current("iv3")
    repository.close()


def _train(repository: OpenRepository, home: Path) -> None:
    config = {"lr": 0.1, "layers": [1, {"a": None}]}
    begin_run(
        repository, run=TRAIN, name="first", job_type="try", config=config, record=RECORD, patch=PATCH, uses=["inat:v0"]
    )
    use_version(repository, TRAIN, "inat:v1", role="test")
    update_config(repository, TRAIN, {"lr": 0.01, "seed": 5}, name="first of all", job_type="train")
    _add(repository, home, "iv3", "iv3", b"weights\n", run=TRAIN)
    metrics = {"loss": MetricSummary(0.0625, 0.0625, 0.5, 5, 1), "lr": MetricSummary(0.01, 0.01, 0.01, 4)}
    metrics["nothing"] = MetricSummary(None, None, None, 2, 2)
    end_run(repository, TRAIN, RunOutcome("finished", 0, 1.5, metrics, series(), OUTPUT))


def _train_again(repository: OpenRepository, home: Path) -> None:
    """Make a version and what another run had made before, from a dataset that it adds without having changed it."""
    begin_run(repository, run=AGAIN, name="train", job_type="train", uses=["inat:v1"])
    _add(repository, home, "iv3", "iv3", b"other weights\n", run=AGAIN)
    _add(repository, home, "iv3", "iv3", b"weights\n", run=AGAIN)
    _add(repository, home, "inat", "dataset", b"more images\n", run=AGAIN)
    end_run(repository, AGAIN, RunOutcome("finished", 0, 2.0))


def _add(
    repository: OpenRepository,
    home: Path,
    name: str,
    kind: str,
    content: bytes,
    run: RunId | None = None,
    uses: tuple[str, ...] = (),
) -> None:
    (home / name).write_bytes(content)
    repository.run_variable = None if run is None else run_variable(repository, run)
    provenance: Mapping[str, Any] = {"code": {"commit": "0" * 40, "patch": None}} if uses else {}
    add(repository, AddRequest(paths=[home / name], name=name, type=kind, uses=uses, provenance=provenance))
    repository.run_variable = None


def main() -> None:
    """Write the golden repository anew."""
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        shutil.rmtree(FOLDER, ignore_errors=True)
        left_out = shutil.ignore_patterns(*CACHES, "origins", "config.toml")
        shutil.copytree(Path(folder) / ".mlver", FOLDER / STORED_AS, ignore=left_out)


if __name__ == "__main__":
    main()
