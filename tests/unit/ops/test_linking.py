"""Weights that one file tells of and another holds, and the same weights in every format there is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from mlver.errors import ConflictError
from mlver.ops.linking import link
from mlver.ops.scan import Source
from mlver.repository import Repository
from tests.support.arrays import as_safetensors
from tests.support.trees import read_tree, write_tree
from tests.support.weight_files import (
    GgufFile,
    MsgpackArray,
    Storage,
    Tensor,
    TorchFile,
    dcp_entry,
    dcp_metadata,
    msgpack,
    onnx_model,
    onnx_outside,
    onnx_tensor,
    tensorflow_entry,
    tensorflow_header,
    tensorflow_index,
)

KERNEL = np.arange(600, dtype="<f4").reshape(2, 300)
BIAS = np.arange(3, dtype="<f4")
NAMED = {"kernel": KERNEL, "bias": BIAS}


def inside() -> bytes:
    return onnx_model([onnx_tensor(name, 1, array.shape, array.tobytes()) for name, array in NAMED.items()])


def outside(start: int = 0) -> dict[str, bytes]:
    """Return a model that keeps its weights in another file, from `start` on."""
    data, tensors = bytes(start), []
    for name, array in NAMED.items():
        place = onnx_outside("m.onnx.data", offset=len(data), length=array.nbytes)
        tensors.append(onnx_tensor(name, 1, array.shape, None, place))
        data += array.tobytes()
    return {"m.onnx": onnx_model(tensors), "m.onnx.data": data}


def torch_file(names: Iterable[str]) -> TorchFile:
    storages = {name: Storage(name, NAMED[name].tobytes()) for name in names}
    tensors = {
        name: Tensor(storage, NAMED[name].shape, tuple(step // 4 for step in NAMED[name].strides))
        for name, storage in storages.items()
    }
    return TorchFile(tensors if len(tensors) > 1 else next(iter(tensors.values())), list(storages.values()))


def distributed() -> dict[str, bytes]:
    """Return a distributed checkpoint of torch, of two processes."""
    saves = {f"__{rank}_0.distcp": torch_file([name]).to_bytes() for rank, name in enumerate(NAMED)}
    entries = [dcp_entry(name, path, 0, len(raw)) for name, (path, raw) in zip(NAMED, saves.items(), strict=True)]
    return {".metadata": dcp_metadata(entries), **saves}


def tensorflow_checkpoint() -> dict[str, bytes]:
    """Return a checkpoint of TensorFlow, as it lies in a SavedModel."""
    data, entries = b"", {b"": tensorflow_header()}
    for name, array in sorted(NAMED.items()):
        entries[name.encode()] = tensorflow_entry(1, array.shape, len(data), array.nbytes)
        data += array.tobytes()
    return {"v/variables.index": tensorflow_index(entries), "v/variables.data-00000-of-00001": data}


FORMS = {
    "gguf": {"m.gguf": GgufFile({n: ("F32", a.shape, a.tobytes()) for n, a in NAMED.items()}).to_bytes()},
    "msgpack": {"m.msgpack": msgpack({n: MsgpackArray("float32", a.shape, a.tobytes()) for n, a in NAMED.items()})},
    "torch": {"m.pt": torch_file(NAMED).to_bytes()},
    "torch, no zip file": {"m.pt": torch_file(NAMED).to_legacy_bytes()},
    "torch, distributed": distributed(),
    "tensorflow": tensorflow_checkpoint(),
    "onnx": {"m.onnx": inside()},
    "onnx, in two files": outside(),
    "onnx, in two files, elsewhere": outside(4096),
}


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_identical_in_every_format(repository: Repository, tmp_path: Path, form: str) -> None:
    repository.add(write_tree(tmp_path / "a", {"m.safetensors": as_safetensors(NAMED)}), name="net", type="t")
    done = repository.add(write_tree(tmp_path / "b", FORMS[form]), name="net")
    assert done.weights_identical_to == "net:v0"
    repository.pull("v1", tmp_path / "out")
    assert read_tree(tmp_path / "out") == FORMS[form]


def weights(repository: Repository, folder: Path) -> str | None:
    return repository.add(folder, name="net", type="t").version.weights


def test_the_files_of_a_model_are_never_described_from_memory(repository: Repository, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "m", outside())
    both = weights(repository, folder)
    os.rename(folder / "m.onnx.data", tmp_path / "data")
    assert weights(repository, folder) not in (both, None), "a model without its weights"
    os.rename(tmp_path / "data", folder / "m.onnx.data")
    assert weights(repository, folder) == both
    os.rename(folder / "m.onnx", tmp_path / "model")
    assert weights(repository, folder) is None, "what was data only because of the model"


def test_a_distributed_checkpoint_that_is_not_whole(repository: Repository, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "m", distributed())
    both = weights(repository, folder)
    os.rename(folder / ".metadata", tmp_path / "metadata")
    assert weights(repository, folder) not in (both, None), "files that nobody tells of"
    os.rename(tmp_path / "metadata", folder / ".metadata")
    os.rename(folder / "__0_0.distcp", tmp_path / "data")
    assert weights(repository, folder) not in (both, None), "a file is missing"
    os.rename(tmp_path / "data", folder / "__0_0.distcp")
    assert weights(repository, folder) == both


def test_a_change_of_the_data_changes_the_weights(repository: Repository, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "m", outside())
    before = weights(repository, folder)
    data = bytearray((folder / "m.onnx.data").read_bytes())
    data[-1] ^= 1
    (folder / "m.onnx.data").write_bytes(data)
    assert weights(repository, folder) not in (before, None)


def test_data_that_is_too_short_is_told_of_and_counts_as_a_whole(repository: Repository, tmp_path: Path) -> None:
    files = outside()
    files["m.onnx.data"] = files["m.onnx.data"][:-1]
    done = repository.add(write_tree(tmp_path / "m", files), name="net", type="t")
    assert any("m.onnx.data" in warning for warning in done.warnings)
    assert done.version.weights is not None


def test_a_model_that_changes_after_it_was_looked_into(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_tree(tmp_path / "m", outside())

    def look_and_change(sources: Sequence[Source]) -> list[Source]:
        linked = link(sources)
        (folder / "m.onnx").write_bytes(outside(4096)["m.onnx"])
        return linked

    monkeypatch.setattr("mlver.ops.content.link", look_and_change)
    with pytest.raises(ConflictError, match=r"m\.onnx"):
        weights(repository, folder)
