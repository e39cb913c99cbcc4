"""One set of weights, however it is written down; and what only looks like it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlver.errors import IntegrityError, NotFoundError
from mlver.history.event import AddVersion, new_event
from mlver.history.log import EventLog
from mlver.history.manifest import build_manifest, write_manifest
from mlver.repository import Repository
from mlver.store.local import LocalStorage
from tests.support.arrays import Arrays, arrays, as_safetensors, as_torch
from tests.support.trees import bytes_read, flip, read_tree, write_tree
from tests.support.weight_files import Instance, Name, Storage, Tensor, TorchFile


def as_npz(named: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **named)  # type: ignore[arg-type]
    return buffer.getvalue()


def sharded(named: Arrays, count: int) -> dict[str, bytes]:
    names = list(named)
    files = {
        f"model-{n + 1:05}-of-{count:05}.safetensors": as_safetensors({name: named[name] for name in names[n::count]})
        for n in range(count)
    }
    return files | {"model.safetensors.index.json": json.dumps({"metadata": {}, "weight_map": {}}).encode()}


def backwards(named: Arrays) -> Arrays:
    return dict(reversed(named.items()))


def floats(named: Arrays) -> Arrays:
    """Return the arrays that every format can hold."""
    return {name: array for name, array in named.items() if str(array.dtype) in ("float32", "int64")}


REFERENCE = arrays()
EQUAL = {
    "key order": {"model.safetensors": as_safetensors(backwards(REFERENCE))},
    "header": {"model.safetensors": as_safetensors(REFERENCE, {"format": "pt", "note": "x" * 1000})},
    "file name": {"other.safetensors": as_safetensors(REFERENCE)},
    "torch": {"pytorch_model.bin": as_torch(REFERENCE)},
    "torch, key order, protocol 4": {"model.pt": as_torch(backwards(REFERENCE), protocol=4)},
    "two shards": sharded(REFERENCE, 2),
    "five shards": sharded(REFERENCE, 5),
    "a folder above": {"weights/model.safetensors": as_safetensors(REFERENCE)},
    "other files besides": {"model.safetensors": as_safetensors(REFERENCE), "README.md": b"# hello"},
}


@pytest.mark.parametrize("form", EQUAL)
def test_weights_are_identical_however_they_are_written(repository: Repository, tmp_path: Path, form: str) -> None:
    folder = write_tree(tmp_path / "a", {"model.safetensors": as_safetensors(REFERENCE)})
    first = repository.add(folder, name="net", type="t")
    second = repository.add(write_tree(tmp_path / "b", EQUAL[form]), name="net")
    assert (second.created, second.weights_identical_to) == (True, "net:v0")
    assert second.version.weights == first.version.weights
    assert second.new_bytes < 20_000, "tensors were stored a second time"
    repository.pull("v1", tmp_path / "out")
    assert read_tree(tmp_path / "out") == EQUAL[form]


def test_weights_are_identical_in_npz(repository: Repository, tmp_path: Path) -> None:
    named = floats(REFERENCE)
    repository.add(write_tree(tmp_path / "a", {"m.safetensors": as_safetensors(named)}), name="net", type="t")
    done = repository.add(write_tree(tmp_path / "b", {"m.npz": as_npz(named)}), name="net")
    assert done.weights_identical_to == "net:v0"


def nudged(named: Arrays, name: str = "norm.bias") -> Arrays:
    changed = named[name].copy()
    changed.flat[-1] += 1
    return {**named, name: changed}


def cast(named: Arrays) -> Arrays:
    return {**named, "layer.0.weight": named["layer.0.weight"].view(np.int64)}


def flat(named: Arrays) -> Arrays:
    return {**named, "layer.0.weight": named["layer.0.weight"].reshape(-1)}


def swapped(named: Arrays) -> Arrays:
    values = {**arrays(1), **named}
    return {**named, "layer.0.weight": values["layer.1.weight"], "layer.1.weight": values["layer.0.weight"]}


UNEQUAL = {
    "one bit": {"model.safetensors": as_safetensors(nudged(REFERENCE))},
    "one bit, in torch": {"model.pt": as_torch(nudged(REFERENCE, "layer.3.weight"))},
    "two tensors swapped": {"model.safetensors": as_safetensors(swapped(REFERENCE))},
    "another shape": {"model.safetensors": as_safetensors(flat(REFERENCE))},
    "another element type": {"model.safetensors": as_safetensors(cast(REFERENCE))},
    "another name": {"model.safetensors": as_safetensors({f"x.{k}": v for k, v in REFERENCE.items()})},
    "one tensor more": {"model.safetensors": as_safetensors({**REFERENCE, "extra": np.ones(3, np.float32)})},
    "one tensor less": {"model.safetensors": as_safetensors(dict(list(REFERENCE.items())[1:]))},
    "a shard missing": dict(list(sharded(REFERENCE, 3).items())[1:]),
    "a second copy elsewhere": {n: as_safetensors(REFERENCE) for n in ("a/m.safetensors", "b/m.safetensors")},
    "unparsed weights besides": {"model.safetensors": as_safetensors(REFERENCE), "head.h5": b"\x89HDF\r\n\x1a\nxxxx"},
}


@pytest.mark.parametrize("form", UNEQUAL)
def test_weights_that_differ_are_not_called_identical(repository: Repository, tmp_path: Path, form: str) -> None:
    folder = write_tree(tmp_path / "a", {"model.safetensors": as_safetensors(REFERENCE)})
    repository.add(folder, name="net", type="t")
    done = repository.add(write_tree(tmp_path / "b", UNEQUAL[form]), name="net")
    assert (done.created, done.weights_identical_to) == (True, None)


def pair(first: Arrays, second: Arrays) -> dict[str, bytes]:
    return {"text/model.safetensors": as_safetensors(first), "vision/model.safetensors": as_safetensors(second)}


def column_major(array: np.ndarray[Any, Any]) -> TorchFile:
    storage = Storage("0", array.tobytes())
    rows, columns = array.shape
    return TorchFile({"w": Tensor(storage, (rows, columns), (1, rows))}, [storage])


SQUARE = np.arange(16, dtype=np.float32).reshape(4, 4)
HEAD = as_safetensors(REFERENCE)
OBJECT_PICKLES = [
    TorchFile({"w": Tensor(s, (4,), (1,)), "scale": Instance(Name("numpy", "dtype"), (kind,))}, [s]).to_bytes()
    for kind in ("f4", "f8")
    for s in [Storage("0", bytes(16))]
]


def mixed_npz(number: int) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, w=np.ones(4, np.float32), names=np.array(["a", number], dtype=object))
    return buffer.getvalue()


def deflated_npz(number: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in (("w", np.ones(4, np.float32)), ("d", np.full(100, number, np.float32))):
            content = io.BytesIO()
            np.save(content, array)
            kind = zipfile.ZIP_DEFLATED if name == "d" else zipfile.ZIP_STORED
            archive.writestr(f"{name}.npy", content.getvalue(), kind)
    return buffer.getvalue()


TRICKY = {
    "two towers swapped": (pair(REFERENCE, arrays(1)), pair(arrays(1), REFERENCE)),
    "unparsed files differ": ({"m.safetensors": HEAD, "h.bin": b"1" * 99}, {"m.safetensors": HEAD, "h.bin": b"2" * 99}),
    "unparsed file is called otherwise": ({"a.pt": b"1" * 99}, {"b.pt": b"1" * 99}),
    "one matrix and its transpose": (
        {"w.pt": as_torch({"w": SQUARE})},
        {"w.pt": column_major(SQUARE).to_bytes()},
    ),
    "an object array differs": ({"w.npz": mixed_npz(1)}, {"w.npz": mixed_npz(2)}),
    "a compressed member differs": ({"w.npz": deflated_npz(1)}, {"w.npz": deflated_npz(2)}),
    "damaged safetensors differ": ({"w.safetensors": HEAD[:-1]}, {"w.safetensors": HEAD[:-2] + b"?"}),
    "one optimizer beside, the other not": ({"m.pt": as_torch(REFERENCE)}, {"m.pt": as_torch(REFERENCE), "o.pt": b"x"}),
}


@pytest.mark.parametrize("case", TRICKY)
def test_what_only_looks_like_the_same_weights(repository: Repository, tmp_path: Path, case: str) -> None:
    first, second = TRICKY[case]
    repository.add(write_tree(tmp_path / "a", first), name="net", type="t")
    done = repository.add(write_tree(tmp_path / "b", second), name="net")
    assert (done.created, done.weights_identical_to) == (True, None)


def test_newest_version_of_this_artifact_is_named(repository: Repository, tmp_path: Path) -> None:
    for number in range(3):
        named = {"model.safetensors": as_safetensors(REFERENCE, {"n": str(number)})}
        done = repository.add(write_tree(tmp_path / str(number), named), name="net", type="t")
        assert done.weights_identical_to == (f"net:v{number - 1}" if number else None)
    other = repository.add(write_tree(tmp_path / "x", {"m.pt": as_torch(REFERENCE)}), name="other", type="t")
    assert other.weights_identical_to == "net:v2", "a fine-tune finds its parent across names"
    repository.remove("net:v2", "other:v0")
    again = repository.add(write_tree(tmp_path / "y", EQUAL["key order"]), name="other")
    assert again.weights_identical_to == "net:v1"


def test_text_has_no_weights(repository: Repository, tmp_path: Path) -> None:
    first = repository.add(write_tree(tmp_path / "a", {"x.txt": b"1"}), name="net", type="t")
    second = repository.add(write_tree(tmp_path / "b", {"x.txt": b"2"}), name="net")
    assert (first.version.weights, second.weights_identical_to) == (None, None)


# Reading tensors


@pytest.mark.parametrize("form", [as_safetensors, as_torch])
def test_tensors_come_back_as_arrays(repository: Repository, tmp_path: Path, form: Any) -> None:
    repository.add(write_tree(tmp_path / "a", {"model": form(REFERENCE)}), name="net", type="t")
    for name, array in REFERENCE.items():
        found = repository.tensor("net", name)
        assert found.shape == array.shape
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f4", "<f8", "<i2", "|u1", "|b1", "<c8", "<f2"])
def test_arrays_of_numpy_come_back(repository: Repository, tmp_path: Path, order: Any, kind: str) -> None:
    array = np.asarray(np.arange(24).reshape(2, 3, 4), dtype=kind, order=order)
    buffer = io.BytesIO()
    np.save(buffer, array)
    named = io.BytesIO()
    np.savez(named, first=array, second=array + array)
    folder = write_tree(tmp_path / "a", {"x.npz": named.getvalue()})
    repository.add(folder, name="net", type="t")
    np.testing.assert_array_equal(repository.tensor("net", "first"), array)
    np.testing.assert_array_equal(repository.tensor("net", "second"), array + array)
    repository.add(write_tree(tmp_path / "b", {"x.npy": buffer.getvalue()}), name="one", type="t")
    (only,) = repository.manifest("one").tensors
    np.testing.assert_array_equal(repository.tensor("one", only.name), array)


def test_views_strides_and_tied_weights(repository: Repository, tmp_path: Path) -> None:
    base = np.arange(60, dtype=np.float32)
    storage = Storage("0", base.tobytes())
    other = Storage("1", base.tobytes())
    views = {
        "whole": Tensor(storage, (6, 10), (10, 1)),
        "tied": Tensor(storage, (6, 10), (10, 1)),
        "rows": Tensor(storage, (2, 10), (10, 1), start=20),
        "column": Tensor(storage, (6,), (10,), start=3),
        "transposed": Tensor(other, (10, 6), (1, 10)),
        "broadcast": Tensor(storage, (3, 4), (0, 1), start=8),
        "scalar": Tensor(storage, (), (), start=59),
        "empty": Tensor(storage, (0, 10), (10, 1)),
    }
    folder = write_tree(tmp_path / "a", {"m.pt": TorchFile(views, [storage, other]).to_bytes()})
    repository.add(folder, name="net", type="t")
    square = base.reshape(6, 10)
    expected = {
        "whole": square, "tied": square, "rows": square[2:4], "column": square[:, 3], "transposed": square.T,
        "broadcast": np.broadcast_to(base[8:12], (3, 4)), "scalar": np.array(59, np.float32),
        "empty": np.zeros((0, 10), np.float32),
    }  # fmt: skip
    for name, array in expected.items():
        found = repository.tensor("net", name)
        assert found.shape == array.shape
        np.testing.assert_array_equal(found, array)


def test_only_the_chunks_of_the_tensor_are_read(repository: Repository, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    named: Arrays = {f"w{n}": random.integers(0, 1 << 16, (1 << 20,), dtype=np.uint16) for n in range(8)}
    repository.add(write_tree(tmp_path / "a", {"m.safetensors": as_safetensors(named)}), name="net", type="t")
    repository.tensor("net", "w3")  # numpy is imported now
    assert (2 << 20) * 0.9 < bytes_read(lambda: repository.tensor("net", "w3")) < 4 << 20

    def one_kilobyte() -> None:
        with repository.open("net", "m.safetensors") as file:
            file.seek(-(5 << 20), 2)
            assert file.read(1000) == as_safetensors(named)[-(5 << 20) :][:1000]

    assert bytes_read(one_kilobyte) < 4 << 20


def test_one_name_in_several_files(repository: Repository, tmp_path: Path) -> None:
    one, two = {"w": np.zeros(3, np.float32)}, {"w": np.ones(3, np.float32)}
    repository.add(write_tree(tmp_path / "a", pair(one, two)), name="net", type="t")
    with pytest.raises(NotFoundError, match="Several files have a tensor 'w'") as caught:
        repository.tensor("net", "w")
    assert "text/model.safetensors:w" in str(caught.value.hint)
    np.testing.assert_array_equal(repository.tensor("net", "vision/model.safetensors:w"), two["w"])
    np.testing.assert_array_equal(repository.tensor("net", "text/model.safetensors:w"), one["w"])


def test_tensor_that_is_not_there(repository: Repository, tmp_path: Path) -> None:
    repository.add(write_tree(tmp_path / "a", {"m": HEAD}), name="net", type="t")
    with pytest.raises(NotFoundError, match=r"no tensor 'layer\.0\.wieght'") as caught:
        repository.tensor("net", "layer.0.wieght")
    assert "'layer.0.weight'" in str(caught.value.hint)


def test_damaged_tensor_is_never_returned(repository: Repository, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    named: Arrays = {f"w{n}": random.normal(size=1 << 10).astype(np.float32) for n in range(4)}
    repository.add(write_tree(tmp_path / "a", {"m.safetensors": as_safetensors(named)}), name="net", type="t")
    (pack,) = (repository.path / "packs").iterdir()
    flip(pack, pack.stat().st_size // 2)
    outcomes = []
    for name, array in named.items():
        try:
            np.testing.assert_array_equal(repository.tensor("net", name), array)
            outcomes.append("whole")
        except IntegrityError:
            outcomes.append("refused")
    assert sorted(outcomes) == ["refused", "whole", "whole", "whole"]


@pytest.mark.parametrize(
    "lie",
    [
        {"shape": (3,)}, {"shape": (2, 2, 2)}, {"shape": (1 << 40, 1 << 40)}, {"size_bytes": 15}, {"dtype": "F64"},
        {"shape": (3,), "order": "F"}, {"order": "strides:x"}, {"order": "strides:-1"}, {"order": "strides:1,1"},
        {"order": "strides:2"}, {"order": "strides:" + "9" * 30}, {"order": "?"},
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_their_bytes_are_damage(
    repository: Repository, tmp_path: Path, lie: dict[str, Any]
) -> None:
    named: Arrays = {"w": np.zeros(4, np.float32)}
    repository.add(write_tree(tmp_path / "a", {"m.safetensors": as_safetensors(named)}), name="net", type="t")
    good = repository.manifest("net")
    tensors = [good.tensors[0]._replace(**lie)]
    storage = LocalStorage(repository.path)
    identity = write_manifest(storage, build_manifest([(good.files[0], tensors)], []))
    hostile = new_event(1, "eve", (AddVersion(1, identity, 0, 0, 0, 1, 1),))
    assert EventLog(storage, "log/net").append(hostile)
    with pytest.raises(IntegrityError, match="'w'"):
        repository.tensor("v1", "w")
