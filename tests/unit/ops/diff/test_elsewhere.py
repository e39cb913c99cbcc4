"""Versions that were only fetched: which tensors changed is told by manifests, and only what changed comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mlver.errors import IntegrityError, NotFoundError
from mlver.ops.diff.diff import diff
from mlver.repository import Repository
from tests.unit.ops.diff.conftest import Keeper

Counted = Callable[[], list[int]]
_SIZE = 200_000


def tensor(seed: int) -> tuple[str, tuple[int, ...], bytes]:
    values = np.random.default_rng(seed).normal(size=_SIZE // 4).astype("f4")
    return "F32", (_SIZE // 4,), values.tobytes()


@pytest.fixture
def clone(keeper: Keeper, tmp_path: Path) -> Iterator[Repository]:
    """A repository that knows of two versions somewhere else, and of nothing in them."""
    config = '{{"lr": {rate}}}'
    frozen = {name: tensor(seed) for seed, name in enumerate("abcdef")}
    keeper.add({"m.safetensors": {**frozen, "head": tensor(10)}, "c.json": config.format(rate=0.1)}, metrics={"acc": 1})
    keeper.add({"m.safetensors": {**frozen, "head": tensor(11)}, "c.json": config.format(rate=0.2)}, metrics={"acc": 2})
    keeper.repository.add_remote("origin", str(tmp_path / "remote"))
    keeper.repository.push()
    with Repository.clone(str(tmp_path / "remote"), tmp_path / "clone") as made:
        yield made


def packed_bytes(repository: Repository) -> int:
    return sum(pack.stat().st_size for pack in repository._opened.root.glob("packs/*"))


def test_names_need_nothing_but_manifests(clone: Repository, counted: Counted) -> None:
    found = diff(clone._opened, "m:v0", "m:v1", names_only=True)
    assert [pair.name for pair in found.tensors.changed] == ["head"]
    assert found.tensors.unchanged == tuple("abcdef")
    assert (counted(), packed_bytes(clone), clone._opened.notices) == ([], 0, [])


def test_magnitudes_need_nothing_but_what_changed(clone: Repository, keeper: Keeper) -> None:
    found = diff(clone._opened, "m:v0", "m:v1")
    expected = keeper.diff("m:v0", "m:v1")
    assert found.tensors.changed == expected.tensors.changed
    assert [file.content for file in found.files.modified] == [file.content for file in expected.files.modified]
    assert 0 < packed_bytes(clone) < 3 * _SIZE
    assert clone._opened.notices == [
        f"What this needed of m:v{number} was only at origin; it is here now." for number in (0, 1)
    ]
    size = packed_bytes(clone)
    assert diff(clone._opened, "m:v0", "m:v1", with_ranks=True).tensors.changed == expected.tensors.changed
    assert packed_bytes(clone) == size


def test_a_comparison_needs_nothing_but_configurations(clone: Repository) -> None:
    found = clone.compare("m:v0", "m:v1")
    assert [(value.source, value.key, value.values) for value in found.values] == [("c.json", "lr", (0.1, 0.2))]
    assert packed_bytes(clone) < _SIZE


def test_what_no_remote_has_is_missed(clone: Repository, tmp_path: Path) -> None:
    for manifest in (tmp_path / "remote/manifests").rglob("*"):
        if manifest.is_file():
            manifest.unlink()
    with pytest.raises(NotFoundError, match="no remote has it"):
        diff(clone._opened, "m:v0", "m:v1")


def test_without_a_remote_nothing_is_asked(keeper: Keeper) -> None:
    keeper.add({"a": "1"})
    keeper.add({"a": "2"})
    for manifest in keeper.repository._opened.root.glob("manifests/**/*"):
        if manifest.is_file():
            manifest.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        keeper.diff("m:v0", "m:v1")
