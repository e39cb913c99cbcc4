from __future__ import annotations

from collections.abc import Mapping

import pytest

from mlver.differences.figures import Figures
from mlver.history.manifest import TensorEntry
from mlver.ops.diff.result import TensorChanges, TensorPair
from mlver.ops.diff.tree import Line, Sort, main_module, module_tree, page, single_tensors, to_depth


def changes(relative: Mapping[str, float | None], dtype: str = "F32", count: int = 100) -> TensorChanges:
    """Return tensors of `count` elements that changed by so much; None did not."""
    changed = []
    for name, change in relative.items():
        if change is not None:
            before, after = (TensorEntry(name, dtype, (count,), f"{name}{side}", 0, 0, 4) for side in "ab")
            figures = Figures(count, count, count, count, change**2 * count, count, change)
            changed.append(TensorPair(name, name, before, after, figures))
    return TensorChanges({}, {}, tuple(changed), (), tuple(name for name in relative if relative[name] is None))


def shown(lines: list[Line]) -> list[str]:
    return ["  " * line.depth + f"{line.label} {line.module.changed}/{line.module.total}" for line in lines]


def layers(count: int, change: float = 0.01) -> dict[str, float | None]:
    return {f"layers.{n}.{part}": change * (n + 1) for n in range(count) for part in ("q.weight", "q.bias")}


def test_modules_add_up_their_tensors() -> None:
    root = module_tree(changes({"a.x": 3.0, "a.y": 4.0, "a.z": None, "b": 1.0}))
    module = root.children["a"]
    assert (module.changed, module.total) == (2, 3)
    assert module.figures is not None
    assert module.relative_change == pytest.approx(12.5**0.5)
    assert (module.figures.max_abs, module.figures.elements) == (4.0, 200)


def test_integers_and_single_numbers_do_not_drown_a_module() -> None:
    floats, integers = changes({"a.x": 0.5}), changes({"a.code": 50.0}, "I8")
    steps = changes({"a.step": 1000.0}, count=1)
    every = TensorChanges({}, {}, (*floats.changed, *integers.changed, *steps.changed), (), ())
    root = module_tree(every)
    assert root.relative_change == 0.5
    assert (root.changed, root.children["a"].children["step"].relative_change) == (3, 1000.0)


def test_what_broke_comes_first_even_if_the_rest_of_it_is_as_it_was() -> None:
    found = changes({"a.x": 0.5, "b.x": 0.9, "b.y": 0.0, "b.z": 0.0})
    pairs = [
        pair if pair.name != "b.z" else pair._replace(figures=Figures(100, 1, 99, 99, 0, 99, 0, 0, 0, 1, 0))
        for pair in found.changed
    ]
    root = module_tree(TensorChanges({}, {}, tuple(pairs), (), ()))
    assert [line.label for line in single_tensors(root)] == ["b.z", "b.x", "a.x", "b.y"]
    assert [line.module.name for line in to_depth(root, 1)] == ["b", "a.x"]
    assert root.children["b"].weight > root.children["a"].weight


def test_the_page_opens_what_changed_most_and_hides_what_did_not() -> None:
    names = {**dict.fromkeys(("frozen.a", "frozen.b")), **layers(3), "head.weight": 0.5, "head.bias": None}
    assert shown(page(module_tree(changes(names)), 10)) == [
        "head.weight 1/1",
        "layers 6/6",
        "  2.q 2/2",
        "  1.q 2/2",
        "  0.q 2/2",
    ]


def test_a_module_whose_tensors_changed_alike_stays_closed() -> None:
    alike = {**{f"a.{n}.w": 0.1 for n in range(5)}, "b": 0.2}
    assert shown(page(module_tree(changes(alike)), 20)) == ["b 1/1", "a 5/5"]


def test_what_does_not_fit_is_one_line() -> None:
    lines = page(module_tree(changes(layers(100))), 24)
    assert 8 <= len(lines) <= 26
    assert lines[1].label == "99.q"
    assert lines[-1].rest_count
    assert lines[-1].label == f"… {lines[-1].rest_count} more"
    assert sum(line.module.total for line in lines[1:] if line.depth == 1) == 200
    assert lines[-1].module.figures is not None


def test_sorting() -> None:
    names: dict[str, float | None] = {"b10": 0.1, "b2": 0.3, "a": 0.2}
    tree = module_tree(changes(names))
    orders: dict[Sort, list[str]] = {
        "change": ["b2", "a", "b10"],
        "max": ["b2", "a", "b10"],
        "name": ["a", "b2", "b10"],
        "size": ["a", "b2", "b10"],
    }
    for sort, expected in orders.items():
        assert [line.label for line in single_tensors(tree, sort)] == expected
        assert [line.label for line in page(tree, 10, sort)] == expected


def test_depth_and_single_tensors() -> None:
    tree = module_tree(changes(layers(2)))
    assert shown(to_depth(tree, 1)) == ["layers 4/4"]
    assert shown(to_depth(tree, 2)) == ["layers 4/4", "  1.q 2/2", "  0.q 2/2"]
    assert [line.label for line in single_tensors(tree)] == [
        "layers.1.q.bias",
        "layers.1.q.weight",
        "layers.0.q.bias",
        "layers.0.q.weight",
    ]


def test_the_main_module() -> None:
    names: dict[str, float | None] = {f"layers.{n}.{part}": 0.01 for n in range(10) for part in "ab"}
    assert main_module(module_tree(changes(names))) is None
    found = main_module(module_tree(changes(names | {"layers.5.a": 0.5, "layers.5.b": 0.45})))
    assert found is not None
    assert found.name == "layers.5"
    assert main_module(module_tree(changes({"a": None}))) is None


def test_a_name_may_be_a_module_and_a_tensor() -> None:
    tree = module_tree(changes({"a": 0.5, "a.b": 0.1, "a.c": 0.2}))
    assert (tree.children["a"].changed, tree.changed) == (3, 3)
    assert sorted(line.label for line in single_tensors(tree)) == ["a", "a.b", "a.c"]
