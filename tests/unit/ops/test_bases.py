"""A new version costs what it changed, wherever what it resembles is, and comes back as it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlver.chunks import MAX_CHAIN, ChunkReader
from mlver.errors import NotFoundError, UsageError
from mlver.ops import bases
from mlver.ops.add import AddResult
from mlver.ops.opening import open_repository
from mlver.repository import Repository
from tests.support.arrays import Arrays, as_safetensors, as_torch
from tests.support.trees import flip


def trained(seed: int = 0, rows: int = 700) -> Arrays:
    """Return tensors of several chunks, of one chunk and of a few bytes, with the exponents of real weights."""
    random = np.random.default_rng(seed)
    return {
        "encoder.0.weight": random.normal(scale=0.04, size=(rows, 800)).astype(np.float32),
        "encoder.1.weight": random.normal(scale=0.02, size=(300, 400)).astype(np.float32),
        "encoder.1.bias": random.normal(scale=0.01, size=400).astype(np.float32),
        "head.scale": np.full((), seed + 1.5, np.float32),
    }


def stepped(named: Mapping[str, np.ndarray[Any, Any]], seed: int = 1) -> Arrays:
    """Return the tensors after a step of an optimiser."""
    random = np.random.default_rng(seed)
    return {
        name: (value + random.normal(scale=1e-6, size=value.shape).astype(value.dtype)).astype(value.dtype)
        for name, value in named.items()
    }


def as_bf16(named: Arrays) -> Arrays:
    """Return the tensors cast as torch casts them, to the nearest, ties to even."""
    bits = {name: value.view(np.uint32).astype(np.uint64) for name, value in named.items()}
    return {name: ((b + 0x7FFF + (b >> 16 & 1)) >> 16).astype(np.uint16) for name, b in bits.items()}


@pytest.fixture
def add(repository: Repository, tmp_path: Path) -> Any:
    def store(content: bytes, name: str = "m", file: str = "model.safetensors", **options: Any) -> AddResult:
        place = tmp_path / file
        place.write_bytes(content)
        options = {"type": "t"} | options
        result = repository.add(place, name=name, **options)
        with repository.open(result.version.name, file) as stored:
            assert stored.read() == content
        return result

    return store


def cost(result: AddResult) -> float:
    """Return the part of its size that a version took."""
    return result.stored_bytes / result.version.logical_bytes


def test_the_next_checkpoint_is_stored_as_differences(add: Any) -> None:
    first, second = add(as_safetensors(trained())), add(as_safetensors(stepped(trained())))
    assert (first.delta_bytes, cost(first) > 0.75) == (0, True)
    assert second.delta_bytes > 0.99 * second.new_bytes
    assert cost(second) < 0.6


def test_fast_looks_for_nothing_but_takes_what_is_named(add: Any) -> None:
    add(as_safetensors(trained()))
    assert cost(add(as_safetensors(stepped(trained(), 1)), compression="fast")) > 0.75
    assert cost(add(as_safetensors(stepped(trained(), 2)), compression="fast", base="m:v0")) < 0.6


@pytest.mark.parametrize("level", ["balanced", "max"])
def test_every_level_comes_back(add: Any, level: str) -> None:
    results = [add(as_safetensors(stepped(trained(), number)), compression=level) for number in range(4)]
    assert [cost(result) < 0.6 for result in results] == [False, True, True, True]


def by_columns(named: Arrays, shape: tuple[int, ...]) -> Arrays:
    """Return one tensor after a step that moved all its rows alike, in this shape."""
    value = named["encoder.0.weight"]
    moved = value + np.random.default_rng(5).normal(scale=3e-5, size=value.shape[1]).astype(np.float32)
    return {"encoder.0.weight": moved.astype(np.float32).reshape(shape)}


def test_rows_that_moved_alike_are_cheaper_than_elements(add: Any) -> None:
    first, other = trained(), trained(1)
    add(as_safetensors(first), name="rows")
    add(as_safetensors({name: value.reshape(-1) for name, value in other.items()}), name="flat")
    rows = add(as_safetensors(by_columns(first, (700, 800))), name="rows", base="rows")
    elements = add(as_safetensors(by_columns(other, (560_000,))), name="flat", base="flat")
    assert rows.stored_bytes < 0.8 * elements.stored_bytes


def test_a_parent_is_found_under_another_name(add: Any) -> None:
    add(as_safetensors({name: -value for name, value in trained(7).items()}), name="stranger")
    add(as_safetensors(trained()), name="parent")
    child = add(as_safetensors(stepped(trained())), name="child")
    assert cost(child) < 0.6


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod.model.", "bert."])
def test_a_tensor_with_a_prefix_finds_its_twin(add: Any, prefix: str) -> None:
    add(as_safetensors(trained()))
    assert cost(add(as_safetensors({prefix + name: value for name, value in stepped(trained()).items()}))) < 0.6


def test_a_tensor_with_another_name_finds_its_twin(add: Any) -> None:
    add(as_safetensors(trained()))
    renamed = {f"layers.{n}": value for n, value in enumerate(stepped(trained()).values())}
    assert cost(add(as_safetensors(renamed))) < 0.6


def test_a_torch_file_finds_its_twins_in_a_safetensors_file(add: Any) -> None:
    add(as_safetensors(trained()))
    assert cost(add(as_torch(stepped(trained())), file="model.pt")) < 0.6


def test_the_named_base_is_taken(add: Any) -> None:
    add(as_safetensors(trained()))
    add(as_safetensors(trained(5)))
    far = add(as_safetensors(stepped(trained(5), 9)), base="m:v0")
    near = add(as_safetensors(stepped(trained(5), 8)), base="m:v1")
    assert far.delta_bytes == 0
    assert cost(near) < 0.6 < cost(far)


def test_a_version_that_a_folder_came_from_is_preferred(repository: Repository, tmp_path: Path, add: Any) -> None:
    add(as_safetensors(trained()))
    add(as_safetensors(trained(5)))
    repository.pull("m:v0", tmp_path / "work")
    (tmp_path / "work" / "model.safetensors").write_bytes(as_safetensors(stepped(trained())))
    assert cost(repository.add(tmp_path / "work", name="m")) < 0.6


def test_a_cast_is_predicted_exactly_both_ways(add: Any) -> None:
    wide = trained()
    add(as_safetensors(wide))
    narrow = add(as_safetensors(as_bf16(wide)), name="narrow")
    assert cost(narrow) < 0.01
    widened = {name: (value.astype(np.uint32) << 16).view(np.float32) for name, value in as_bf16(wide).items()}
    again = add(as_safetensors(widened), name="widened", base="narrow")
    assert cost(again) < 0.01


def test_an_older_version_of_another_type_is_found(add: Any) -> None:
    wide = trained()
    add(as_safetensors(wide))
    add(as_safetensors(as_bf16(wide)))
    halves = {name: value.astype(np.float16) for name, value in wide.items()}
    assert cost(add(as_safetensors(halves))) < 0.01


def test_rows_that_were_appended_cost_what_they_hold(add: Any) -> None:
    add(as_safetensors(trained(rows=700)))
    grown = trained(rows=700)
    more = np.random.default_rng(3).normal(scale=0.04, size=(7, 800)).astype(np.float32)
    grown["encoder.0.weight"] = np.concatenate([grown["encoder.0.weight"], more])
    assert add(as_safetensors(grown)).stored_bytes < 1.1 * more.nbytes


def test_a_few_changed_rows_cost_what_they_hold(add: Any) -> None:
    weights = trained()
    add(as_safetensors(weights))
    weights["encoder.0.weight"][[5, 300, 301, 650]] *= np.float32(1.01)
    assert add(as_safetensors(weights)).stored_bytes < 6 * 800 * 4


def test_renamed_tensors_are_said_to_be_those_of_a_version(add: Any) -> None:
    add(as_safetensors(trained()))
    renamed = add(as_safetensors({f"x.{name}": value for name, value in trained().items()}))
    assert (renamed.tensors_in, renamed.weights_identical_to) == ("m:v0", None)
    assert add(as_safetensors(trained(3))).tensors_in is None


def depths(home: Path) -> list[int]:
    """Return of every stored chunk how many chunks it rests on one after another."""
    opened = open_repository(home / ".mlver")
    reader = ChunkReader(opened.storage, opened.chunk_index)
    packs = opened.chunk_index.packs()
    found = [reader.decode(entry.chunk).depth for pack in packs for entry in opened.chunk_index.entries(pack)]
    opened.close()
    return found


def test_a_version_is_few_steps_from_a_whole_one(add: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "_SMALL_BYTES", 0)
    weights = {"w": trained(rows=9)["encoder.0.weight"]}
    result = add(as_safetensors(weights))
    for number in range(1, 17):
        weights = stepped(weights, number)
        result = add(as_safetensors(weights))
        assert max(depths(tmp_path)) == max(each.bit_count() for each in range(number + 1))
    assert cost(result) < 0.8


def test_a_small_version_rests_on_the_one_before(add: Any, tmp_path: Path) -> None:
    weights = {"w": trained(rows=9)["encoder.0.weight"]}
    add(as_safetensors(weights))
    for number in range(1, MAX_CHAIN + 3):
        weights = stepped(weights, number)
        add(as_safetensors(weights))
        assert max(depths(tmp_path)) == min(number, MAX_CHAIN)


@pytest.mark.parametrize(
    ("size_bytes", "numbers"), [(128 << 20, [0, 0, 1, 2, 3, 4, 5]), ((128 << 20) + 1, [0, 0, 0, 2, 0, 4, 4])]
)
def test_what_a_version_rests_on_depends_on_its_size(size_bytes: int, numbers: list[int]) -> None:
    assert [bases.base_number_for(number, size_bytes) for number in range(7)] == numbers


def test_chains_are_bounded_whatever_base_is_named(add: Any, tmp_path: Path) -> None:
    weights = {"w": trained(rows=9)["encoder.0.weight"]}
    add(as_safetensors(weights))
    for number in range(2 * MAX_CHAIN + 2):
        weights = stepped(weights, number)
        add(as_safetensors(weights), base=f"m:v{number}")
    assert max(depths(tmp_path)) == MAX_CHAIN


def test_a_damaged_base_is_no_obstacle(add: Any, tmp_path: Path) -> None:
    add(as_safetensors(trained()))
    pack = next((tmp_path / ".mlver" / "packs").iterdir())
    flip(pack, 5000)
    result = add(as_safetensors(stepped(trained())))
    assert any("cannot be read" in warning and "mlver verify" in warning for warning in result.warnings)


def test_the_level_is_read_from_the_settings(repository: Repository, add: Any, tmp_path: Path) -> None:
    config = tmp_path / ".mlver" / "config.toml"
    config.write_text('compression = "fastest"\n')
    with pytest.raises(UsageError, match=r"config\.toml: compression 'fastest'"):
        add(as_safetensors(trained()))
    config.write_text('compression = "max"\n')
    add(as_safetensors(trained()))
    with pytest.raises(UsageError, match="'fastest' is not known"):
        add(as_safetensors(trained(2)), compression="fastest")


def test_a_base_that_does_not_exist_is_an_error(add: Any) -> None:
    with pytest.raises(NotFoundError):
        add(as_safetensors(trained()), base="nobody:v3")
