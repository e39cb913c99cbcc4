"""Makes what `diff.py` compares: `python benchmarks/make_pairs.py KIND FOLDER AMOUNT`, two files in FOLDER.

`weights` is AMOUNT bytes of F32 matrices, random normal, and the same moved a little; `tensors` AMOUNT small tensors in
modules, and the same with every third one changed; `rows` AMOUNT predictions, and others for the same rows in the same
order; `moved` the same in another order.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

SIDE = 4096
CLASSES = 10


def write_tensors(path: Path, arrays: dict[str, tuple[int, ...]], data: Iterable[np.ndarray]) -> None:
    """Write F32 tensors of these names and shapes as safetensors."""
    header, end = {}, 0
    for name, shape in arrays.items():
        start, end = end, end + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.writelines(array.tobytes() for array in data)


def matrices(count: int, step: float) -> Iterator[np.ndarray]:
    """Yield matrices, normal with the standard deviation of trained weights, moved by about `step`."""
    for number in range(count):
        weights = np.random.default_rng(number).standard_normal((SIDE, SIDE), dtype=np.float32)
        weights *= np.float32(0.02)
        if step:
            weights += np.float32(step) * np.random.default_rng(-1 - number & 0xFFFF).standard_normal(
                (SIDE, SIDE), dtype=np.float32
            )
        yield weights


def make_weights(folder: Path, size_bytes: int) -> None:
    """Write large matrices, all of which changed."""
    count = max(1, round(size_bytes / (4 * SIDE * SIDE)))
    shapes = {f"model.layers.{number}.mlp.weight": (SIDE, SIDE) for number in range(count)}
    for name, step in (("0.safetensors", 0.0), ("1.safetensors", 1e-4)):
        write_tensors(folder / name, shapes, matrices(count, step))


def make_tensors(folder: Path, count: int) -> None:
    """Write many small tensors, some of which changed."""
    shapes = {f"model.layers.{n // 10}.block{n % 10 // 2}.{'wb'[n % 2]}": (16, 16) for n in range(count)}
    for version, name in enumerate(("0.safetensors", "1.safetensors")):
        data = (np.full((16, 16), n + (version if n % 3 == 0 else 0), np.float32) for n in range(count))
        write_tensors(folder / name, shapes, data)


def make_rows(folder: Path, count: int, *, moved: bool) -> None:
    """Write predictions of two models for the same rows."""
    for version in (0, 1):
        generator = np.random.default_rng(version)
        labels = np.arange(count) % CLASSES
        wrong = generator.random(count) < 0.1 - 0.02 * version
        answers = np.where(wrong, (labels + 1) % CLASSES, labels)
        order = generator.permutation(count) if moved and version else np.arange(count)
        with (folder / f"{version}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("id", "text", "label", "pred"))
            writer.writerows(
                (f"row-{n:08}", f"what was asked in row {n}", int(labels[n]), int(answers[n])) for n in order
            )


def main() -> None:
    """Make what was asked for."""
    kind, folder, amount = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if kind == "weights":
        make_weights(folder, amount)
    elif kind == "tensors":
        make_tensors(folder, amount)
    else:
        make_rows(folder, amount, moved=kind == "moved")


if __name__ == "__main__":
    main()
