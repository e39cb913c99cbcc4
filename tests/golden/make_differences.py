"""Writes `tests/golden/differences/`: a small repository of layout 1 whose chunks rest on each other in every way.

`python -m tests.golden.make_differences`. Like `layout-1`, it is not written again once it is released.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlver.ops.add import AddRequest, add
from mlver.ops.init import init_repository
from mlver.ops.opening import open_repository
from mlver.ops.repack import repack
from tests.golden.make_layout_1 import CACHES, STORED_AS, made_up_times_and_ids
from tests.support.weight_files import entry, safetensors_file

FOLDER = Path(__file__).parent / "differences"
Array = np.ndarray[Any, Any]
Weights = Mapping[str, tuple[str, Array]]
Versions = Mapping[str, tuple[Weights, dict[str, Any]]]
DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I16": np.int16}


def coarse(shape: tuple[int, ...], seed: int) -> Array:
    """Return F32 numbers of few bits, so that a large tensor makes no large file here."""
    values = np.random.default_rng(seed).normal(scale=0.03, size=shape)
    return (np.round(values * 512) / 512).astype(np.float32)


def step(values: Array, seed: int, size: float = 2e-6) -> Array:
    """Return numbers after a step as an optimiser makes it, in a part of the rows."""
    moved = values.copy()
    rows = slice(0, max(1, len(values) // 4))
    moved[rows] += np.random.default_rng(seed).normal(scale=size, size=values[rows].shape).astype(values.dtype)
    return moved


def product(rows: int, columns: int, seed: int) -> Array:
    """Return what merging an adapter of rank 2 adds."""
    source = np.random.default_rng(seed)
    left, right = source.normal(scale=0.01, size=(rows, 2)), source.normal(scale=0.1, size=(2, columns))
    # Without BLAS: the same numbers on every machine.
    return (left[:, :1] * right[:1] + left[:, 1:] * right[1:]).astype(np.float32)


def narrowed(values: Array) -> Array:
    """Return the bits of F32 numbers rounded to BF16, ties to even."""
    bits = values.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def model(seed: int) -> Weights:
    """Return a model of all kinds of numbers after so many steps."""
    large, small, wide = coarse((600, 500), 1), coarse((90, 50), 2), coarse((80, 40), 3).astype(np.float64)
    source = np.random.default_rng(9)
    whole = source.integers(-90, 90, 3000)
    bits = source.integers(0, 1 << 12, 2000).astype(np.uint16)
    for turn in range(seed):
        large, small, wide = step(large, turn), step(small, turn), step(wide, turn, 1e-15)
        whole = whole + (np.arange(3000) % 50 == turn)
        bits = bits + (np.arange(2000) % 30 == turn).astype(np.uint16)
    return {
        "large": ("F32", large),
        "small": ("F32", small),
        "wide": ("F64", wide),
        "half": ("F16", small.astype(np.float16)),
        "brief": ("BF16", bits),
        "bytes": ("U8", bits.astype(np.uint8)),
        "mask": ("BOOL", (whole > 0).astype(np.uint8)),
        "longs": ("I64", whole),
        "ints": ("I32", whole.astype(np.int32)),
        "shorts": ("I16", whole.astype(np.int16)),
    }


def versions() -> Versions:
    """Return what is added in order: the file's weights and the options of `add`, by artifact and number."""
    base, grown = model(1), dict(model(2))
    grown["large"] = ("F32", np.concatenate([step(base["large"][1], 5), coarse((3, 500), 6)]))
    cast: Weights = {"large": ("BF16", narrowed(base["large"][1])), "wide": ("F32", base["wide"][1].astype(np.float32))}
    again: Weights = {"large": ("F32", (cast["large"][1].astype(np.uint32) << 16).view(np.float32))}
    adapted = coarse((120, 100), 7)
    merged = adapted + product(120, 100, 8)
    return {
        "net:v0": (model(0), {}),
        "net:v1": (base, {"compression": "fast"}),
        "net:v2": (model(2), {"compression": "balanced"}),
        "net:v3": (model(3), {"compression": "max"}),
        "net:v4": (grown, {"compression": "max"}),
        "brief:v0": (cast, {"base": "net:v1"}),
        "long:v0": (again, {"base": "brief"}),
        "adapted:v0": ({"flat": ("F32", adapted)}, {}),
        "adapted:v1": ({"flat": ("F32", merged)}, {}),
    }


def as_file(weights: Weights) -> bytes:
    """Return weights as a safetensors file."""
    header, body = {}, b""
    for name, (dtype, values) in weights.items():
        header[name] = entry(dtype, values.shape, len(body), len(body) + values.nbytes)
        body += values.tobytes()
    return safetensors_file(header, body)


def build(home: Path, content: Versions) -> dict[str, bytes]:
    """Make a repository of these versions in `home`; return the file of each."""
    repository = open_repository(Path(init_repository(home).path))
    kept = {}
    with made_up_times_and_ids():
        for name, (weights, options) in content.items():
            if name == "brief:v0":
                repack(repository, "max")
            kept[name] = as_file(weights)
            (home / "model.safetensors").write_bytes(kept[name])
            request = AddRequest([home / "model.safetensors"], name.partition(":")[0], "model", **options)
            assert add(repository, request).version.name == name
    repository.close()
    return kept


def write(target: Path, content: Versions) -> None:
    """Write a golden repository of these versions anew."""
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        digests = {name: hashlib.sha256(raw).hexdigest() for name, raw in build(home, content).items()}
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(
            home / ".mlver", target / STORED_AS, ignore=shutil.ignore_patterns(*CACHES, "origins", "config.toml")
        )
        (target / "expected.json").write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(FOLDER, versions())
