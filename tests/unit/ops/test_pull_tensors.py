"""Some tensors of a version as one file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlver.errors import ConflictError, MlverError, NotFoundError
from mlver.ops.add import AddRequest, add
from mlver.ops.init import init_repository
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.pull_tensors import plan_tensors, pull_tensors
from mlver.ops.remotes.clone import clone
from mlver.ops.remotes.configure import add_remote
from mlver.ops.remotes.push import push
from mlver.ops.remotes.receiving import obtain_chunks
from tests.support.arrays import as_safetensors

RANDOM = np.random.default_rng(0)
TENSORS: dict[str, np.ndarray[Any, Any]] = {
    "encoder.0.w": RANDOM.normal(size=(300, 400)).astype(np.float32),
    "encoder.0.b": RANDOM.normal(size=400).astype(np.float16),
    "encoder.1.w": RANDOM.normal(size=(300, 400)).astype(np.float32),
    "head.w": RANDOM.integers(-(1 << 60), 1 << 60, (500, 500)),
}


def load_file(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read a safetensors file by the book."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    assert start % 8 == 0
    assert sorted(entry["data_offsets"] for entry in header.values())[-1][1] == len(data) - start
    dtypes = {"F32": "<f4", "F16": "<f2", "I64": "<i8"}
    return {
        name: np.frombuffer(data[slice(*(start + at for at in entry["data_offsets"]))], dtypes[entry["dtype"]]).reshape(
            entry["shape"]
        )
        for name, entry in header.items()
    }


@pytest.fixture
def repository(tmp_path: Path) -> OpenRepository:
    opened = open_repository(Path(init_repository(tmp_path / "repository").path))
    model = tmp_path / "model"
    model.mkdir()
    (model / "m.safetensors").write_bytes(as_safetensors(TENSORS))
    np.save(model / "columns.npy", np.asfortranarray(TENSORS["encoder.1.w"]))
    (model / "note.txt").write_text("no tensor")
    add(opened, AddRequest([model], name="net", type="model"))
    return opened


def test_tensors_come_back_as_they_were(repository: OpenRepository, tmp_path: Path) -> None:
    result = pull_tensors(repository, plan_tensors(repository, "net", ["encoder.*", "head.w"], tmp_path / "out"))
    found = load_file(tmp_path / "out" / "tensors.safetensors")
    assert found.keys() == TENSORS.keys()
    for name, tensor in found.items():
        assert tensor.dtype == TENSORS[name].dtype
        assert np.array_equal(tensor, TENSORS[name])
    assert result.written_bytes == sum(tensor.nbytes for tensor in TENSORS.values())


def test_columns_are_written_row_by_row(repository: OpenRepository, tmp_path: Path) -> None:
    name = next(t.name for t in plan_tensors(repository, "net", ["*"]).tensors.values() if t.order == "F")
    pull_tensors(repository, plan_tensors(repository, "net", [name], tmp_path / "out"))
    (found,) = load_file(tmp_path / "out" / "tensors.safetensors").values()
    assert np.array_equal(found, TENSORS["encoder.1.w"])


def test_what_is_there_is_left_alone(repository: OpenRepository, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "other").write_text("mine")
    (out / "tensors.safetensors").write_text("mine")
    plan = plan_tensors(repository, "net", ["head.w"], out)
    with pytest.raises(ConflictError, match="is there already"):
        pull_tensors(repository, plan)
    assert (out / "tensors.safetensors").read_text() == "mine"
    assert pull_tensors(repository, plan, force=True).overwritten == ("tensors.safetensors",)
    assert sorted(os.listdir(out)) == ["other", "tensors.safetensors"]
    assert load_file(out / "tensors.safetensors").keys() == {"head.w"}


def test_what_cannot_be_is_told(repository: OpenRepository, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="decoder"):
        plan_tensors(repository, "net", ["encoder.*", "decoder.*"])
    with pytest.raises(MlverError, match="own folder"):
        plan_tensors(repository, "net", ["head.w"], repository.root / "x")


def test_only_their_bytes_move(repository: OpenRepository, tmp_path: Path) -> None:
    add_remote(repository, "origin", str(tmp_path / "remote"))
    push(repository)
    other = open_repository(Path(clone(str(tmp_path / "remote"), tmp_path / "other").path) / ".mlver")
    plan = plan_tensors(other, "net", ["encoder.0.*"], tmp_path / "out")
    other.refresh_packs()
    wanted = TENSORS["encoder.0.w"].nbytes + TENSORS["encoder.0.b"].nbytes
    received = obtain_chunks(other, plan.version.id, plan.chunks)
    assert wanted * 0.5 < received.received_bytes < wanted + 8192
    pull_tensors(other, plan)
    assert np.array_equal(load_file(tmp_path / "out" / "tensors.safetensors")["encoder.0.w"], TENSORS["encoder.0.w"])
    other.close()
