from __future__ import annotations

from typing import Any

import pytest

from mlver.differences.values import ValueChange, compare_values


def changed(before: Any, after: Any) -> list[tuple[str, str, Any, Any]]:
    return [tuple(change) for change in compare_values(before, after)]


def test_tables_are_compared_key_by_key() -> None:
    before = {"lr": 0.1, "model": {"layers": 12, "name": "a"}, "old": {"x": 1, "y": {}}}
    after = {"lr": 0.01, "model": {"layers": 12, "name": "b"}, "new": [1]}
    assert changed(before, after) == [
        ("lr", "changed", 0.1, 0.01),
        ("model.name", "changed", "a", "b"),
        ("new", "added", None, [1]),
        ("old.x", "removed", 1, None),
        ("old.y", "removed", {}, None),
    ]


def test_lists_of_tables_are_compared_item_by_item() -> None:
    before = {"layers": [{"size": 1}, {"size": 2}]}
    after = {"layers": [{"size": 1}, {"size": 3}, {"size": 4}]}
    assert changed(before, after) == [
        ("layers[1].size", "changed", 2, 3),
        ("layers[2].size", "added", None, 4),
    ]


def test_a_short_list_is_one_value_and_a_long_one_is_not() -> None:
    assert changed({"betas": [0.9, 0.99]}, {"betas": [0.9, 0.95]}) == [("betas", "changed", [0.9, 0.99], [0.9, 0.95])]
    assert changed({"c": list(range(9))}, {"c": [*range(8), 9]}) == [("c[8]", "changed", 8, 9)]
    assert changed({"c": list(range(9))}, {"c": list(range(8))})[0][0] == "c"


@pytest.mark.parametrize(("before", "after"), [(1, True), (0, False), ([1], [True]), (None, False), ("1", 1), ({}, [])])
def test_values_of_other_types_are_not_equal(before: Any, after: Any) -> None:
    assert compare_values({"x": before}, {"x": after}) == [ValueChange("x", "changed", before, after)]


@pytest.mark.parametrize("value", [1, 1.5, "x", None, True, [1, [2]], {"a": {"b": []}}])
def test_equal_values_are_no_change(value: Any) -> None:
    assert compare_values({"x": value}, {"x": value}) == []
    assert compare_values({"x": 1}, {"x": 1.0}) == []


def test_null_is_not_absence() -> None:
    assert changed({}, {"x": None}) == [("x", "added", None, None)]
    assert changed({"x": None}, {}) == [("x", "removed", None, None)]
