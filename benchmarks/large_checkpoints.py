"""Trains a model of 278 million parameters a little, for real: `python benchmarks/large_checkpoints.py FOLDER`.

Speed and memory want files of a GB, and weights that an optimiser moved. A causal transformer over bytes, 22 layers of
1024, is trained from random weights on the docstrings of the standard library: six checkpoints of 1.1 GB in FP32, ten
steps of AdamW apart, in FOLDER/large-fp32, and the same cast to BF16 in FOLDER/large-bf16. Five minutes or so and 7 GB
of memory; needs torch and safetensors. `speed.py` measures with them.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from checkpoints import docstrings, train_with
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

WIDTH, LAYERS, HEADS, LENGTH, BATCH = 1024, 22, 16, 32, 4
STEPS_APART = 10


class Large(nn.Module):
    """A causal transformer over bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, WIDTH)
        self.positions = nn.Parameter(torch.randn(LENGTH, WIDTH) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(LAYERS)
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 256)

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits, shape (batch, length, 256), for bytes of shape (batch, length)."""
        hidden = self.embedding(ids) + self.positions
        mask = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return self.head(self.norm(hidden))  # type: ignore[no-any-return]


def train(folder: Path) -> None:
    """Train and write the checkpoints."""
    model = Large()
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
    if len(sys.argv) != 2:
        sys.exit("usage: large_checkpoints.py FOLDER")
    torch.manual_seed(0)
    start = time.perf_counter()
    train(Path(sys.argv[1]))
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
