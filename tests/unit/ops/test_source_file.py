"""What is known of a file while it is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlver.formats import TENSOR_CHUNK_BYTES, ChunkSpan, cut_tensor
from mlver.ops.scan import scan
from mlver.ops.source_file import Reading, open_source, start_reading
from tests.support.arrays import as_safetensors


def read(tmp_path: Path, named: dict[str, npt.NDArray[Any]]) -> tuple[Reading, list[list[ChunkSpan]]]:
    """Return what is known of a file with these tensors when reading it begins, and the chunks of each."""
    (tmp_path / "m.safetensors").write_bytes(as_safetensors(named))
    (source,) = scan([tmp_path / "m.safetensors"]).sources
    descriptor = open_source(source)
    try:
        reading = start_reading(source, descriptor)
    finally:
        os.close(descriptor)
    assert reading.layout is not None
    return reading, [list(cut_tensor(tensor, number)) for number, tensor in enumerate(reading.layout.tensors)]


def test_the_same_matrix_of_all_layers_has_one_guide(tmp_path: Path) -> None:
    square, wide = np.zeros((8, 8), "<f4"), np.zeros((8, 16), "<f4")
    named = {
        "layers.0.attention.weight": square,
        "layers.11.attention.weight": square,
        "layers.0.attention.bias": square,
        "layers.12.attention.weight": wide,
        "layers.13.attention.weight": np.zeros((8, 8), "<f2"),
    }
    reading, chunks = read(tmp_path, named)
    assert reading.layout is not None
    guides = {tensor.name: reading.guide(of[0]) for tensor, of in zip(reading.layout.tensors, chunks, strict=True)}
    of_first = guides.pop("layers.0.attention.weight")
    assert of_first is guides.pop("layers.11.attention.weight")
    assert len({of_first, *guides.values()}) == 4, "another name, another type, other rows"


def test_what_is_left_of_a_tensor_has_another_guide_than_its_whole_chunks(tmp_path: Path) -> None:
    large = np.zeros(TENSOR_CHUNK_BYTES // 2 + 10, "<f4")
    reading, chunks = read(tmp_path, {"flat.0": large, "flat.1": large})
    whole, again, left = [reading.guide(chunk) for chunk in chunks[0]]
    assert whole is again is reading.guide(chunks[1][0])
    assert whole is not left
    assert left is reading.guide(chunks[1][2])
