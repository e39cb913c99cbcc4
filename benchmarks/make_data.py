"""Makes what the benchmarks read: `python benchmarks/make_data.py KIND PATH AMOUNT`.

`weights` is a safetensors file of AMOUNT bytes of random-normal BF16 matrices, `files` a folder of AMOUNT random
files of 4 KB, `versions` a repository with AMOUNT versions of one small file. It is a process of its own so that its
memory is not counted into the peaks of what is measured.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import mlver

SIDE = 4096
"""Matrices are SIDE × SIDE, 32 MiB in BF16."""
FILES_A_FOLDER = 200
AHEAD = 16


def to_bf16(values: np.ndarray) -> np.ndarray:
    """Cast F32 to the bits of BF16 by rounding to nearest even; same shape, u16."""
    bits = values.view("<u4")
    rounded: np.ndarray = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return rounded.astype("<u2")


def matrix(seed: int) -> bytes:
    """Return one BF16 matrix, normal with the standard deviation of trained weights."""
    values = np.random.default_rng(seed).standard_normal(SIDE * SIDE, dtype=np.float32)
    values *= np.float32(0.02)
    return to_bf16(values).tobytes()


def make_weights(path: Path, size_bytes: int) -> None:
    """Write a safetensors file of about `size_bytes`."""
    each = SIDE * SIDE * 2
    count = max(1, round(size_bytes / each))
    header = {
        f"model.layers.{n}.mlp.weight": {
            "dtype": "BF16",
            "shape": [SIDE, SIDE],
            "data_offsets": [n * each, (n + 1) * each],
        }
        for n in range(count)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file, ThreadPoolExecutor(2) as pool:
        file.write(len(text).to_bytes(8, "little") + text)
        for start in range(0, count, 8):
            file.writelines(pool.map(matrix, range(start, min(start + 8, count))))


def make_files(path: Path, count: int) -> None:
    """Write `count` random files of 4 KB into `path`."""
    rng = np.random.default_rng(0)
    for number in range(count):
        folder = path / f"{number // FILES_A_FOLDER:04}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:06}.bin").write_bytes(rng.bytes(4096))


def make_versions(path: Path, count: int) -> None:
    """Make `path` a repository with `count` versions of a small file, all different, with a metric each.

    It is made in memory where that is possible, because each version waits for the disk, and copied. The files are
    written some versions ahead: `add` waits for the clock to tick when a file is as young as its own reading.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else path.parent) as temporary:
        folder = Path(temporary, "repository")
        files = [Path(temporary, f"model-{number}.json") for number in range(2 * AHEAD)]
        with mlver.Repository.init(folder) as repository:
            for number in range(-AHEAD, count):
                files[(number + AHEAD) % len(files)].write_text(json.dumps({"step": number + AHEAD}))
                if number >= 0:
                    file = files[number % len(files)]
                    repository.add(file, name="small", type="config", metrics={"loss": 1 / (number + 1)})
        shutil.copytree(folder, path)


def make_noise(path: Path, size_bytes: int) -> None:
    """Make a file that nothing makes smaller."""
    with open(path, "wb") as file:
        for start in range(0, size_bytes, 1 << 24):
            file.write(os.urandom(min(1 << 24, size_bytes - start)))


def main() -> None:
    """Make what the arguments say."""
    kind, path, amount = sys.argv[1:]
    makers = {"weights": make_weights, "files": make_files, "noise": make_noise, "versions": make_versions}
    makers[kind](Path(path), int(amount))


if __name__ == "__main__":
    main()
