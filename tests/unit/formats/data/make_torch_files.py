"""Makes the .pt files and `expected.json` of this folder. It needs torch, which the tests do not.

python3 -m venv venv && venv/bin/pip install torch==2.13.0 numpy && venv/bin/python make_torch_files.py
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

HERE = Path(__file__).parent
DTYPES = (
    *("bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "bfloat16"),
    *("float32", "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2"),
)


class TiedNet(nn.Module):  # type: ignore[misc]
    """A small model whose output layer is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.embedding(tokens)))


def trained() -> tuple[TiedNet, torch.optim.Optimizer]:
    model = TiedNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randint(0, 11, (6,))).pow(2).sum().backward()
        optimizer.step()
    return model, optimizer


def files() -> dict[str, Any]:
    model, optimizer = trained()
    grid = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    return {
        "checkpoint": {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "best": None},
        "module": model,
        "dtypes": {name: torch.arange(6).to(getattr(torch, name)).reshape(2, 3) for name in DTYPES},
        "views": {
            "grid": grid,
            "transposed": grid.t(),
            "flat": grid.view(-1),
            "row": grid[1],
            "columns": grid[:, 1:4],
            "parameter": nn.Parameter(torch.randn(3, 5).t()),
            "every_other": torch.randn(4, 6)[:, ::2],
            "channels_last": torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last),
            "empty": torch.zeros(0, 4),
            "scalar": torch.tensor(3.0),
        },
        "overlap": {"left": grid[:, :4], "right": grid[:, 2:]},
    }


def named(value: Any, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield prefix[:-1], value
    elif isinstance(value, nn.Module):
        yield from named(value.state_dict())
    elif isinstance(value, (dict, list, tuple)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from named(item, f"{prefix}{key}.")


def describe(tensor: torch.Tensor) -> dict[str, Any]:
    flat = tensor.detach().contiguous().reshape(-1)
    raw = bytes(flat.view(torch.uint8).tolist()) if flat.numel() else b""
    return {"shape": list(tensor.shape), "sha256": hashlib.sha256(raw).hexdigest()}


def main() -> None:
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    # A module that is saved whole has its source code with it in the older format, and the path where that lay.
    torch.serialization.get_source_lines_and_file = lambda _: (["class …\n"], 1, "source.py")
    expected = {}
    for name, value in files().items():
        torch.save(value, HERE / f"{name}.pt")
        torch.save(value, HERE / f"{name}-legacy.pt", _use_new_zipfile_serialization=False)
        expected[name] = {key: describe(tensor) for key, tensor in named(value)}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
