"""Figures of tensors in the store: any type, place, order and size, against float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlver.differences.figures import Figures
from mlver.ops.diff.measured import MeasuredChanges
from mlver.repository import Repository
from tests.support.weight_files import Storage, Tensor, TorchFile
from tests.unit.ops.diff.conftest import Keeper, Raw

MIB = 1 << 20
Array = np.ndarray[Any, Any]


def floats(count: int, seed: int) -> Array:
    return np.random.default_rng(seed).normal(scale=0.05, size=count).astype("f4")


def f32(array: Array) -> Raw:
    return {"w": ("F32", array.shape, array.astype("f4").tobytes())}


def check(figures: Figures | None, before: Array, after: Array) -> None:
    assert figures is not None
    old, new = before.astype("f8").ravel(), after.astype("f8").ravel()
    assert figures.elements == old.size
    assert figures.relative_change == pytest.approx(np.linalg.norm(new - old) / np.linalg.norm(old), rel=1e-6)
    assert figures.max_abs == pytest.approx(np.abs(new - old).max(), rel=1e-6)
    assert figures.cosine == pytest.approx(old @ new / (np.linalg.norm(old) * np.linalg.norm(new)), rel=1e-6)
    assert figures.changed == np.count_nonzero(old != new)


@pytest.mark.parametrize("count", [1, 7, 1000, MIB // 4, MIB // 4 + 1, 3 * MIB + 5])
def test_sizes_around_the_edges_of_chunks(keeper: Keeper, count: int) -> None:
    old, new = floats(count, 1), floats(count, 2)
    check(keeper.pair(f32(old), f32(new)).figures, old, new)


@pytest.mark.parametrize(("before", "after"), [("F32", "F64"), ("F64", "F16"), ("F16", "F32"), ("F16", "F64")])
def test_recast_over_many_chunks(keeper: Keeper, before: str, after: str) -> None:
    old, new = floats(MIB + 3, 1).astype(f"f{before[1:]}"[:1] + str(int(before[1:]) // 8)), floats(MIB + 3, 2)
    new = new.astype("f" + str(int(after[1:]) // 8))
    pair = keeper.pair({"w": (before, old.shape, old.tobytes())}, {"w": (after, new.shape, new.tobytes())})
    assert pair.is_recast
    check(pair.figures, old, new)


def test_a_scalar_and_an_empty_tensor(keeper: Keeper) -> None:
    old, new = np.array(2, "f4"), np.array(3, "f4")
    pair = keeper.pair(f32(old), f32(new))
    assert (pair.relative_change, pair.max_abs, pair.changed_fraction) == (0.5, 1.0, 1.0)
    empty = keeper.pair({"w": ("F32", (0, 3), b"")}, {"w": ("F16", (0, 3), b"")})
    assert empty.figures == Figures()
    assert (empty.relative_change, empty.cosine, empty.changed_fraction) == (0.0, None, 0.0)


def test_another_shape_of_as_many_elements_is_measured(keeper: Keeper) -> None:
    old, new = floats(600, 1).reshape(20, 30), floats(600, 2).reshape(600)
    pair = keeper.pair(f32(old), f32(new))
    assert pair.is_reshaped
    check(pair.figures, old, new)
    other = keeper.pair(f32(old), f32(floats(601, 2)))
    assert (other.figures, other.unmeasured) == (None, "another number of elements")
    assert (other.relative_change, other.max_abs, other.cosine, other.changed_fraction) == (None, None, None, None)


def test_unknown_types_tell_bytes(keeper: Keeper) -> None:
    pair = keeper.pair({"w": ("NF4", (4,), b"abcd")}, {"w": ("NF4", (4,), b"abxx")})
    assert (pair.changed_fraction, pair.relative_change, pair.max_abs, pair.cosine) == (0.5, None, None, None)
    other = keeper.pair({"w": ("NF4", (4,), b"abcd")}, {"w": ("U8", (4,), b"abcx")})
    assert other.unmeasured == "NF4 and U8 cannot be compared element by element"


def torch_file(array: Array, strides: tuple[int, ...], shape: tuple[int, ...], start: int = 0) -> bytes:
    storage = Storage("0", array.astype("f4").tobytes())
    return TorchFile({"w": Tensor(storage, shape, strides, start)}, [storage]).to_bytes()


def test_a_transposed_tensor_is_compared_with_a_plain_one(keeper: Keeper) -> None:
    old, new = floats(600, 1).reshape(20, 30), floats(600, 2).reshape(20, 30)
    first = keeper.add({"m.safetensors": f32(old)})
    second = keeper.add({"m.pt": torch_file(new.T.copy(), (1, 20), (20, 30))})
    (pair,) = keeper.diff(first, second).tensors.changed
    assert pair.after.order == "F"
    check(pair.figures, old, new)


def test_views_at_odd_places_of_a_shared_storage_are_compared(keeper: Keeper) -> None:
    names = []
    both = floats(MIB, 1), floats(MIB, 2)
    for array in both:
        storage = Storage("0", array.tobytes())
        root = {
            "a": Tensor(storage, (1000, 500), (500, 1), 3),
            "b": Tensor(storage, (500, 100), (1000, 2), 400_001),
            "c": Tensor(storage, (10, 20), (1, 10), 7),
        }
        names.append(keeper.add({"m.pt": TorchFile(root, [storage]).to_bytes()}))
    found = {pair.name: pair for pair in keeper.diff(*names).tensors.changed}
    for name, shape, strides, start in (
        ("a", (1000, 500), (500, 1), 3),
        ("b", (500, 100), (1000, 2), 400_001),
        ("c", (10, 20), (1, 10), 7),
    ):
        views = [
            np.lib.stride_tricks.as_strided(array[start:], shape, [4 * step for step in strides]) for array in both
        ]
        check(found[name].figures, *views)


def test_a_chunk_that_is_the_same_is_read_once(keeper: Keeper, counted: Callable[[], list[int]]) -> None:
    old = floats(MIB, 1)
    new = old.copy()
    new[0] += 1
    first = keeper.add({"m.safetensors": {**f32(old), "same": ("F32", (10,), bytes(40))}})
    second = keeper.add({"m.safetensors": {**f32(new), "same": ("F32", (10,), bytes(40))}})
    counted()
    (pair,) = keeper.diff(first, second).tensors.changed
    check(pair.figures, old, new)
    assert sum(counted()) == 5 * MIB


def test_what_was_measured_is_not_read_again(keeper: Keeper, counted: Callable[[], list[int]]) -> None:
    first, second = (
        keeper.add({"m.safetensors": f32(floats(MIB, 1))}),
        keeper.add({"m.safetensors": f32(floats(MIB, 2))}),
    )
    found = keeper.diff(first, second, with_ranks=True)
    counted()
    assert keeper.diff(first, second, with_ranks=True) == found
    assert counted() == []


def test_names_only_reads_nothing(keeper: Keeper, counted: Callable[[], list[int]]) -> None:
    first = keeper.add({"m.safetensors": f32(floats(10, 1)), "c.json": "{}"})
    second = keeper.add({"m.safetensors": f32(floats(10, 2)), "c.json": '{"a": 1}'})
    counted()
    found = keeper.diff(first, second, names_only=True)
    assert counted() == []
    assert [pair.name for pair in found.tensors.changed] == ["w"]
    assert [(file.after.path, file.content) for file in found.files.modified] == [
        ("c.json", None),
        ("m.safetensors", None),
    ]
    assert not found.is_measured


def test_tied_weights_are_measured_once_and_told_twice(keeper: Keeper, counted: Callable[[], list[int]]) -> None:
    old, new = floats(MIB, 1), floats(MIB, 2)
    tensors = [
        {"a": ("F32", each.shape, each.tobytes()), "b": ("F32", each.shape, each.tobytes())} for each in (old, new)
    ]
    first, second = (keeper.add({"m.safetensors": each}) for each in tensors)
    counted()
    found = keeper.diff(first, second).tensors.changed
    assert sum(counted()) == 8 * MIB
    assert found[0].figures == found[1].figures
    check(found[1].figures, old, new)


def test_only_tensors_that_were_asked_for_are_read(keeper: Keeper, counted: Callable[[], list[int]]) -> None:
    both = [
        {
            name: ("F32", (MIB // 4,), floats(MIB // 4, seed + n).tobytes())
            for n, name in enumerate(("x.a", "x.b", "y.a"))
        }
        for seed in (1, 10)
    ]
    first, second = (keeper.add({"m.safetensors": each}) for each in both)
    counted()
    found = keeper.diff(first, second, tensor_globs=["*.a"])
    assert sum(counted()) == 4 * MIB
    assert [pair.name for pair in found.tensors.changed] == ["x.a", "y.a"]


def test_a_lora_shows_in_the_rank(keeper: Keeper) -> None:
    random = np.random.default_rng(0)
    old = random.normal(size=(700, 1100)).astype("f4")
    new = (old + random.normal(size=(700, 4)) @ random.normal(size=(4, 1100))).astype("f4")
    first, second = keeper.add({"m.safetensors": f32(old)}), keeper.add({"m.safetensors": f32(new)})
    (pair,) = keeper.diff(first, second, with_ranks=True).tensors.changed
    assert pair.rank == (4, False)
    assert keeper.diff(first, second).tensors.changed[0].rank is None


def test_nan_that_appeared_is_told(keeper: Keeper) -> None:
    old = floats(100_000, 1)
    new = old.copy()
    new[5] = np.nan
    pair = keeper.pair(f32(old), f32(new))
    assert pair.figures is not None
    assert (pair.figures.from_nan, pair.figures.to_nan, pair.relative_change) == (0, 1, 0.0)
    latest = keeper.diff("m")
    assert latest.tensors.broken == (pair,)
    assert latest.summary.startswith("NaN or infinities appeared in w; ")


def test_the_cache_forgets_the_oldest(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlver.ops.diff.measured._MAX_ROWS", 10)
    measured = MeasuredChanges(repository._opened.cache)
    for number in range(25):
        measured.remember({(str(number), "x"): (Figures(elements=number), None)})
    found = measured.find((str(number), "x") for number in range(25))
    assert {pair: figures.elements for pair, (figures, _) in found.items()} == {(str(n), "x"): n for n in range(15, 25)}


def test_figures_are_remembered_to_the_last_bit(repository: Repository) -> None:
    measured = MeasuredChanges(repository._opened.cache)
    figures = Figures(1 << 40, 3, 0.1, math.inf, 1e-300, -0.5, math.pi, 1, 2, 3, 4)
    measured.remember({("a", "b"): (figures, None)})
    assert measured.find([("a", "b"), ("b", "a")]) == {("a", "b"): (figures, None)}


def test_a_folder_is_measured_where_it_lies(keeper: Keeper, tmp_path: Path) -> None:
    old, new = floats(MIB + 1, 1), floats(MIB + 1, 2)
    keeper.add({"m.safetensors": f32(old)})
    packs = sorted((tmp_path / ".mlver" / "packs").iterdir())
    place = keeper.write({"m.safetensors": f32(new)}, "elsewhere")
    (pair,) = keeper.diff("m:v0", str(place)).tensors.changed
    check(pair.figures, old, new)
    (back,) = keeper.diff(str(place), "m:v0").tensors.changed
    check(back.figures, new, old)
    assert sorted((tmp_path / ".mlver" / "packs").iterdir()) == packs
