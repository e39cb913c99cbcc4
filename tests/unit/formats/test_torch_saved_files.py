"""Files that torch itself saved: every tensor is found, with its name, type, shape and elements."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlver.formats import Layout, Tensor, View, parse
from mlver.formats.dtypes import BITS_BY_DTYPE
from tests.support.weight_files import BytesSource, assert_promises

DATA = Path(__file__).parent / "data"
EXPECTED: dict[str, dict[str, Any]] = json.loads((DATA / "expected.json").read_text())


def load(name: str) -> tuple[Layout, bytes]:
    raw = (DATA / f"{name}.pt").read_bytes()
    layout = parse(BytesSource(raw))
    assert layout is not None
    assert_promises(layout, len(raw))
    return layout, raw


def row_major(raw: bytes, item: Tensor | View) -> bytes:
    """Return the elements of an array in row-major order from the bytes it lies in."""
    if item.size_bytes == 0:
        return b""
    width = BITS_BY_DTYPE[item.dtype] // 8
    strides = {"C": [math.prod(item.shape[axis + 1 :]) for axis in range(len(item.shape))]}
    strides["F"] = [math.prod(item.shape[:axis]) for axis in range(len(item.shape))]
    steps = strides.get(item.order) or [int(step) for step in item.order.partition(":")[2].split(",") if step]
    flat = np.frombuffer(raw, dtype=f"V{width}")
    return np.lib.stride_tricks.as_strided(flat, item.shape, [step * width for step in steps]).tobytes()


@pytest.mark.parametrize("suffix", ["", "-legacy"])
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_tensor_is_where_torch_put_it(name: str, suffix: str) -> None:
    layout, raw = load(name + suffix)
    found: dict[str, tuple[Tensor | View, bytes]] = {}
    for tensor in layout.tensors:
        if not tensor.anonymous:
            found[tensor.name] = (tensor, raw[tensor.offset : tensor.offset + tensor.size_bytes])
    for view in layout.views:
        start = layout.tensors[view.owner].offset + view.offset
        found[view.name] = (view, raw[start : start + view.size_bytes])
    actual = {
        key: {"shape": list(item.shape), "sha256": hashlib.sha256(row_major(data, item)).hexdigest()}
        for key, (item, data) in found.items()
    }
    assert actual == EXPECTED[name]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_both_formats_have_the_same_tensors(name: str) -> None:
    found = [
        {(item.name, item.dtype, item.shape, item.order) for item in load(file)[0].arrays}
        for file in (name, f"{name}-legacy")
    ]
    assert found[0] == found[1]
    assert load(name)[0].unsafe_globals == load(f"{name}-legacy")[0].unsafe_globals


@pytest.mark.parametrize("name", ["checkpoint", "checkpoint-legacy"])
def test_a_checkpoint_names_nothing_unsafe(name: str) -> None:
    layout, _ = load(name)
    assert (layout.format, layout.unsafe_globals, layout.is_complete) == ("torch", (), True)
    assert "optimizer.state.0.exp_avg" in {tensor.name for tensor in layout.tensors}


def test_tied_weights_are_a_view_of_the_first() -> None:
    layout, _ = load("checkpoint")
    (view,) = layout.views
    owner = layout.tensors[view.owner]
    assert (view.name, owner.name) == ("model.head.weight", "model.embedding.weight")
    assert (view.dtype, view.shape, view.offset, view.size_bytes) == ("F32", (11, 4), 0, owner.size_bytes)


def test_a_whole_module_has_the_names_of_its_state_and_says_what_it_would_import() -> None:
    layout, _ = load("module")
    names = {item.name for item in layout.arrays}
    assert {"embedding.weight", "head.weight", "norm.running_mean"} <= names
    assert "torch.nn.modules.batchnorm.BatchNorm1d" in layout.unsafe_globals
    assert "__main__.TiedNet" in layout.unsafe_globals


def test_every_type_has_its_safetensors_name() -> None:
    layout, _ = load("dtypes")
    dtypes = {tensor.name: tensor.dtype for tensor in layout.tensors}
    assert dtypes.pop("float8_e4m3fn") == "F8_E4M3"
    assert dtypes.pop("float8_e5m2") == "F8_E5M2"
    assert dtypes.pop("bool") == "BOOL"
    assert dtypes.pop("bfloat16") == "BF16"
    assert dtypes.pop("complex64") == "C64"
    assert dtypes.pop("complex128") == "C128"
    assert dtypes == {name: name[0].upper() + name.lstrip("uintfloa") for name in dtypes}


def test_orders_of_views() -> None:
    layout, _ = load("views")
    orders = {item.name: item.order for item in layout.arrays}
    assert orders == {
        "grid": "C",
        "transposed": "F",
        "flat": "C",
        "row": "C",
        "columns": "strides:6,1",
        "parameter": "F",
        "every_other": "strides:6,2",
        "channels_last": "strides:12,1,6,3",
        "empty": "C",
        "scalar": "C",
    }


def test_arrays_that_overlap_share_an_anonymous_owner() -> None:
    layout, _ = load("overlap")
    (owner,) = layout.tensors
    assert owner.anonymous
    assert (owner.dtype, owner.size_bytes) == ("U8", 96)
    assert [(view.name, view.offset) for view in layout.views] == [("left", 0), ("right", 8)]
