from __future__ import annotations

from typing import Any

import pytest

from mlver.errors import UsageError
from mlver.expressions import Expression, ExpressionError, Name

VALUES: dict[str, Any] = {
    "x": 0.25,
    "n": 3,
    "name": "encoder.0",
    "a.b": 1.0,
    "val/acc": -0.02,
    "gone": None,
    "on": True,
}


def value(text: str) -> Any:
    return Expression(text).evaluate(VALUES.__getitem__)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x > 0.2", True),
        ("x > 0.25", False),
        ("x >= .25", True),
        ("x < 2.5e-1", False),
        ("x <= 1E3", True),
        ("n == 3", True),
        ("n = 3", True),
        ("n != 3", False),
        ("x > -0.01", True),
        ("-x < --x", True),
        ("---x == -x", True),
        ("name == 'encoder.0'", True),
        ('name == "encoder" or name < "f"', True),
        ("a.b == 1", True),
        ("`val/acc` < -0.01", True),
        ("not x > 1 and not n > 5", True),
        ("not not x > 1", False),
        ("x > 1 or n > 1 and x > 1", False),
        ("(x > 1 or n > 1) and x < 1", True),
        ("0 < x < 1", True),
        ("0 < x < 0.1", False),
        ("1 < x < 1", False),
        ("1 + 2 * 3 - 4 / 2", 5.0),
        ("2 - 1 - 1", 0.0),
        ("(1 + 2) * 3", 9.0),
        ("max(x, n, 1)", 3),
        ("min(x, n)", 0.25),
        ("abs(`val/acc`) > 0.01", True),
        ("on", True),
        ("on == true", True),
        ("gone == null", True),
        ("gone != null", False),
        ("gone < 1", False),
        ("gone > 1", False),
        ("gone + 1", None),
        ("max(gone, 1)", None),
        (r"'a\'b' == " + '"a\'b"', True),
        ("'x' != 1", True),
    ],
)
def test_values(text: str, expected: Any) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 0, "Expected a value."),
        ("x >", 3, "Expected a value."),
        ("x >> 1", 3, "Expected a value, not '>'."),
        ("x 1", 2, "Expected an operator, not '1'."),
        ("(x > 1", 6, "Expected ')', not the end."),
        ("x > 1)", 5, "Expected an operator, not ')'."),
        ("x > 'abc", 4, "This ' has no partner."),
        ("``", 0, "There is nothing in it."),
        ("x > 1.2.3", 4, "This is no number."),
        ("3x", 0, "This is no number."),
        ("x ; y", 2, "';' means nothing in an expression."),
        ("x > 1 and", 9, "Expected a value."),
        ("and x", 0, "Expected a value, not 'and'."),
        ("max x", 4, "Expected '(', not 'x'."),
        ("abs(1, 2)", 0, "abs takes one value."),
        ("max()", 4, "Expected a value, not ')'."),
        ("__import__('os')", 10, "Expected an operator, not '('."),
        ("x.__class__()", 11, "Expected an operator, not '('."),
    ],
)
def test_a_wrong_one_points_at_the_place(text: str, position: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression(text)
    assert (caught.value.text, caught.value.position, caught.value.message) == (text, position, message)
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize(
    ("text", "position"), [("x > name", 2), ("1 / 0", 2), ("-name", 0), ("max(1, name)", 0), ("x / (n - 3)", 2)]
)
def test_what_cannot_be_computed_points_at_the_operator(text: str, position: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        value(text)
    assert caught.value.position == position


def test_names_are_known_before_it_is_computed() -> None:
    found = Expression("lr > 1 or max(`a b`, lr) = c.d").names
    assert found == (Name("lr", 0), Name("a b", 14), Name("lr", 21), Name("c.d", 27))


def test_an_unknown_name_gets_the_nearest_ones_as_a_hint() -> None:
    expression = Expression("los > 1")
    error = expression.unknown(expression.names[0], ["loss", "val_acc"])
    assert (error.position, error.hint) == (0, "Did you mean 'loss'?")
    assert expression.unknown(Name("zzz", 3), ["loss", "acc"]).hint == "Known are: acc, loss."


def test_what_is_not_needed_is_not_computed() -> None:
    assert value("x > 0 or 1 / 0 > 1") is True
    assert value("x > 1 and 1 / 0 > 1") is False


def test_depth_and_length_are_bounded() -> None:
    with pytest.raises(ExpressionError, match="too deep"):
        Expression("(" * 200 + "1" + ")" * 200)
    with pytest.raises(ExpressionError, match="at most"):
        Expression("1+" * 10_000 + "1")
    with pytest.raises(ExpressionError, match="too long"):
        Expression("1+" * 1000 + "1")
    assert value("1+" * 240 + "1") == 241
    assert value("not " * 401 + "on") is False
    assert value("-" * 400 + "1") == 1.0
    assert value("(" * 40 + "1" + ")" * 40) == 1.0


def test_a_hint_does_not_name_thousands() -> None:
    expression = Expression("zzz > 1")
    error = expression.unknown(expression.names[0], [f"m{number:04}" for number in range(5000)])
    assert error.hint is not None
    assert error.hint.startswith("Known are: m0000, ")
    assert error.hint.endswith("m0019, ….")
