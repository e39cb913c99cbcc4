"""Trains a large model a little, for real: `python benchmarks/large_checkpoints.py FOLDER [LAYERS WIDTH]`.

Speed and memory want files of a GB and more, and weights that an optimiser moved. A causal transformer over bytes, 22
layers of 1024 unless others are asked for, is trained from random weights on the docstrings of the standard library:
six checkpoints in FP32, ten steps of AdamW apart, in FOLDER/large-fp32, and the same cast to BF16 in FOLDER/large-bf16.
That makes 278 million parameters and 1.1 GB a checkpoint, in five minutes or so and with 7 GB of memory; ``16 2048``
makes 807 million and 3.2 GB, in ten minutes and with twice the memory. Needs torch and safetensors. `speed.py` measures
with them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from checkpoints import docstrings, train_with
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

HEADS, LENGTH, BATCH = 16, 32, 4
STEPS_APART = 10


class Large(nn.Module):
    """A causal transformer over bytes.

    Args:
        layers: How many.
        width: Of each; a multiple of 16.
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, width)
        self.positions = nn.Parameter(torch.randn(LENGTH, width) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, HEADS, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 256)

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits, shape (batch, length, 256), for bytes of shape (batch, length)."""
        hidden = self.embedding(ids) + self.positions
        mask = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return self.head(self.norm(hidden))  # type: ignore[no-any-return]


def train(folder: Path, layers: int, width: int) -> None:
    """Train and write the checkpoints."""
    model = Large(layers, width)
    print(f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.0f} million parameters", flush=True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.01, fused=True)
    text = torch.frombuffer(bytearray("\n".join(docstrings()).encode()), dtype=torch.uint8).long()

    def loss_of(_: int) -> Tensor:
        starts = torch.randint(len(text) - LENGTH - 1, (BATCH,))
        lines = torch.stack([text[start : start + LENGTH + 1] for start in starts])
        return functional.cross_entropy(model(lines[:, :-1]).flatten(0, 1), lines[:, 1:].flatten())

    def save(step: int) -> None:
        for series, kind in (("large-fp32", torch.float32), ("large-bf16", torch.bfloat16)):
            path = folder / series / f"step-{step:04}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: value.to(kind) for name, value in model.state_dict().items()}, path, {"format": "pt"})

    train_with(optimiser, loss_of, STEPS_APART, save)


def main() -> None:
    """Make the series."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("layers", type=int, nargs="?", default=22)
    parser.add_argument("width", type=int, nargs="?", default=1024)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    start = time.perf_counter()
    train(arguments.folder, arguments.layers, arguments.width)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
