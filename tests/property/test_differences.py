"""Differences of anything: figures agree with float64, expressions fail only as declared, values find every change."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlver.differences.figures import Figures
from mlver.differences.magnitude import measure
from mlver.differences.texts import compare_texts
from mlver.differences.values import compare_values
from mlver.expressions import Expression, ExpressionError

NUMBERS = st.floats(width=32)
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=300)
WORDS = st.sampled_from(
    [
        "and",
        "or",
        "not",
        "(",
        ")",
        "<",
        ">",
        "==",
        "!=",
        "+",
        "-",
        "*",
        "/",
        "1",
        "2.5",
        "0",
        "'a'",
        "x",
        "y.z",
        "min",
        ",",
        "`k`",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(PAIRS, st.integers(1, 200))
def test_figures_of_any_floats(pairs: list[tuple[float, float]], repeats: int) -> None:
    old, new = (np.tile(np.array(side, "f4"), repeats) for side in (zip(*pairs, strict=True) if pairs else ((), ())))
    figures = measure(old.tobytes(), new.tobytes(), "F32", "F32")
    finite = np.isfinite(old) & np.isfinite(new)
    before, after = old[finite].astype("f8"), new[finite].astype("f8")
    assert figures.elements == len(old)
    assert math.isclose(figures.max_abs, np.abs(after - before).max(initial=0), rel_tol=1e-6)
    for found, values in (
        (figures.from_square, before),
        (figures.to_square, after),
        (figures.delta_square, after - before),
    ):
        assert math.isclose(math.sqrt(found), np.linalg.norm(values), rel_tol=1e-6)
    assert figures.changed == np.count_nonzero(old.view("u4") != new.view("u4"))
    assert figures.to_nan == int(np.count_nonzero(np.isnan(new)))
    assert figures.from_inf == int(np.count_nonzero(np.isinf(old)))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=60), st.integers(0, 60))
def test_figures_of_parts_add_up(pairs: list[tuple[float, float]], cut: int) -> None:
    def figures(part: list[tuple[float, float]]) -> Figures:
        old, new = (np.array([pair[side] for pair in part], "f8").tobytes() for side in (0, 1))
        return measure(old, new, "F64", "F64")

    whole, both = figures(pairs), figures(pairs[:cut]).plus(figures(pairs[cut:]))
    assert all(math.isclose(one, other, rel_tol=1e-9) for one, other in zip(whole, both, strict=True))


def failed_at(text: str) -> int:
    """Evaluate an expression and return the place at which it failed; 0 if it did not."""
    values: dict[str, Any] = {"x": 0.5, "y.z": "text", "k": None}
    try:
        expression = Expression(text)
        expression.evaluate(lambda name: values.get(name, 1))
    except ExpressionError as error:
        return error.position
    return 0


@given(st.text(max_size=60))
def test_any_text_as_an_expression(text: str) -> None:
    assert 0 <= failed_at(text) <= len(text)


@settings(max_examples=400)
@given(st.lists(WORDS, max_size=14))
def test_any_words_as_an_expression(words: list[str]) -> None:
    text = " ".join(words)
    assert 0 <= failed_at(text) <= len(text)


@given(JSON, JSON)
def test_values_that_differ_are_found(before: Any, after: Any) -> None:
    found = compare_values(before, after)
    assert compare_values(before, before) == []
    back = compare_values(after, before)
    assert {change.key for change in found} == {change.key for change in back}


@given(st.binary(max_size=80), st.binary(max_size=80), st.sampled_from(["a.json", "a.yaml", "a.toml", "a.txt"]))
def test_any_bytes_as_texts(before: bytes, after: bytes, path: str) -> None:
    compare_texts(path, before, after)
    compare_texts(path, b"a: 1\n", after)
