"""What is known of a file while it is read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from mlver.formats import cut_tensor
from mlver.ops.scan import scan
from mlver.ops.source_file import open_source, start_reading
from tests.support.arrays import as_safetensors


def test_the_same_matrix_of_all_layers_has_one_guide(tmp_path: Path) -> None:
    square, wide = np.zeros((8, 8), "<f4"), np.zeros((8, 16), "<f4")
    named = {
        "layers.0.attention.weight": square,
        "layers.11.attention.weight": square,
        "layers.0.attention.bias": square,
        "layers.12.attention.weight": wide,
        "layers.13.attention.weight": np.zeros((8, 8), "<f2"),
    }
    (tmp_path / "m.safetensors").write_bytes(as_safetensors(named))
    (source,) = scan([tmp_path / "m.safetensors"]).sources
    descriptor = open_source(source)
    try:
        reading = start_reading(source, descriptor)
    finally:
        os.close(descriptor)
    assert reading.layout is not None
    guides = {
        tensor.name: reading.guide(next(iter(cut_tensor(tensor, number))))
        for number, tensor in enumerate(reading.layout.tensors)
    }
    of_first = guides.pop("layers.0.attention.weight")
    assert of_first is guides.pop("layers.11.attention.weight")
    assert len({of_first, *guides.values()}) == 4, "another name, another type, other rows"
