"""Writes `tests/golden/grids/`: a small repository of layout 1 whose chunks are on grids.

`python -m tests.golden.make_grids`. Like `layout-1`, it is not written again once it is released.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.golden.make_differences import Versions, narrowed, write

FOLDER = Path(__file__).parent / "grids"
Array = np.ndarray[Any, Any]


def trained(steps: int) -> Array:
    """Return weights that were zeros before so many steps, each as large as they are, by column."""
    source = np.random.default_rng(2)
    widths = 2.0 ** (np.arange(48) % 7 - 12)
    weights = np.zeros((100, 48))
    for _ in range(steps):
        weights += source.normal(size=weights.shape) * widths
    return weights.astype(np.float32)


def versions() -> Versions:
    """Return what is added in order, as `make_differences` has it."""
    found: dict[str, Any] = {}
    for number in range(4):
        weights = trained(number + 1)
        weights[:9] = trained(1)[:9]
        found[f"adapter:v{number}"] = (
            {"A": ("F32", weights), "B": ("BF16", narrowed(weights[:40])), "C": ("F16", weights.astype(np.float16))},
            {"compression": "max" if number == 3 else "balanced"},
        )
    return found


if __name__ == "__main__":
    write(FOLDER, versions())
