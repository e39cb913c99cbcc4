"""Named NumPy arrays as weight files of several formats."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.support.weight_files import Storage, Tensor, TorchFile, entry, safetensors_file

Arrays = dict[str, "np.ndarray[Any, Any]"]
DTYPES = {"float32": "F32", "float16": "F16", "int64": "I64", "uint16": "BF16"}
"""NumPy has no bfloat16: its bit patterns go as uint16."""


def arrays(seed: int = 0, count: int = 4) -> Arrays:
    random = np.random.default_rng(seed)
    made: Arrays = {f"layer.{n}.weight": random.normal(size=(300, 40 + n)).astype(np.float32) for n in range(count)}
    made["norm.bias"] = random.integers(0, 1 << 16, 33, dtype=np.uint16)
    made["steps"] = np.array(seed)
    made["none"] = np.zeros((0, 4), np.float16)
    return made


def as_safetensors(named: Arrays, metadata: dict[str, str] | None = None) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, array in named.items():
        header[name] = entry(DTYPES[str(array.dtype)], array.shape, len(data), len(data) + array.nbytes)
        data += array.tobytes()
    return safetensors_file(header, data)


def as_torch(named: Arrays, protocol: int = 2) -> bytes:
    storages = [Storage(str(n), a.tobytes(), DTYPES[str(a.dtype)]) for n, a in enumerate(named.values())]
    root = {
        name: Tensor(storage, array.shape, _strides(array.shape))
        for storage, (name, array) in zip(storages, named.items(), strict=True)
    }
    return TorchFile(root, storages, protocol=protocol).to_bytes()


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[axis + 1 :], dtype=int)) for axis in range(len(shape)))
