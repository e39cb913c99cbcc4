from __future__ import annotations

import numpy as np
import pytest

from mlver.differences.rank import ChangeSketch, Rank


def rank_of(matrix: np.ndarray[tuple[int, int], np.dtype[np.float32]], step: int = 100) -> Rank | None:
    sketch = ChangeSketch(*matrix.shape)
    for start in range(0, len(matrix), step):
        sketch.add(matrix[start : start + step])
    return sketch.rank()


def low_rank(rows: int, columns: int, rank: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    random = np.random.default_rng(rank)
    return (random.normal(size=(rows, rank)) @ random.normal(size=(rank, columns))).astype("f4")


@pytest.mark.parametrize("shape", [(300, 300), (2000, 64), (64, 2000), (700, 900), (200, 600), (1, 5), (5, 1)])
@pytest.mark.parametrize("rank", [1, 4, 16])
def test_a_lora_shows(shape: tuple[int, int], rank: int) -> None:
    assert rank_of(low_rank(*shape, rank)) == Rank(min(rank, *shape))


@pytest.mark.parametrize("shape", [(400, 500), (900, 1000)])
def test_rounding_does_not_hide_it(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    weights = random.normal(scale=0.05, size=shape).astype("f4")
    merged = (weights + 1e-4 * low_rank(*shape, 8)).astype("f4")
    assert rank_of(merged - weights) == Rank(8)


def test_a_full_change_is_full() -> None:
    random = np.random.default_rng(0)
    small, large = (random.normal(size=shape).astype("f4") for shape in ((300, 300), (900, 900)))
    exact = int((np.cumsum(np.linalg.svd(small, compute_uv=False) ** 2) < 0.999 * (small**2).sum()).sum()) + 1
    assert rank_of(small) == Rank(exact)
    assert rank_of(large) == Rank(128, is_least=True)


def test_no_change_has_no_direction_and_nan_has_no_rank() -> None:
    assert rank_of(np.zeros((300, 20), "f4")) == Rank(0)
    broken = low_rank(30, 20, 3)
    broken[3, 4] = np.nan
    assert rank_of(broken) is None


def test_how_rows_come_does_not_matter() -> None:
    matrix = low_rank(1000, 700, 20)
    assert rank_of(matrix, 1) == rank_of(matrix, 1000)
