"""Small expressions that people write to ask for something: `relative_change > 0.05 and not name == "head.bias"`.

    expression = both {"or" both}
    both       = not {"and" not}
    not        = "not" not | comparison
    comparison = sum {("<" | "<=" | ">" | ">=" | "==" | "=" | "!=") sum}      0 < x < 1 is both of them
    sum        = product {("+" | "-") product}
    product    = sign {("*" | "/") sign}
    sign       = "-" sign | value
    value      = NUMBER | TEXT | NAME | ("abs" | "min" | "max") "(" expression {"," expression} ")" | "(" expression ")"

TEXT is in single or double quotes. NAME has letters, digits, `_` and dots; one with anything else goes into backquotes.
`true`, `false` and `null` are values. It is parsed here and nowhere else, and nothing is ever handed to Python: an
expression can do nothing but compare what it is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple, NoReturn

from mlver.errors import UsageError

Value = float | int | str | bool | None

_MAX_CHARACTERS = 10_000
_MAX_TOKENS = 500
"""A sum of so many is as many calls deep."""
_MAX_DEPTH = 50
_MAX_SHOWN = 20
"""Names in a hint."""
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<quoted>`[^`]+`)
    | (?P<name>[^\W\d]\w*(?:\.\w+)*)
    | (?P<operator><=|>=|==|!=|[<>=()+\-*/,])""",
    re.VERBOSE,
)
_CONSTANTS: Mapping[str, Value] = {"true": True, "false": False, "null": None}
_WORDS = frozenset({"and", "or", "not", "abs", "min", "max", *_CONSTANTS})
_COMPARISONS = ("<", "<=", ">", ">=", "==", "=", "!=")


class ExpressionError(UsageError):
    """An expression is malformed, or cannot be computed.

    Args:
        message: What is wrong.
        text: The expression.
        position: Where in it, in characters from 0.
        hint: What helps.
    """

    def __init__(self, message: str, text: str, position: int, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.text = text
        self.position = position


class Name(NamedTuple):
    """A name in an expression, and where it stands, in characters from 0."""

    text: str
    position: int


_Look = Callable[[str], Value]
_Node = Callable[[_Look], Value]


class Expression:
    """An expression that was parsed.

    Args:
        text: What a person wrote.

    Attributes:
        text: What a person wrote.
        names: The names in it, in order.

    Raises:
        ExpressionError: It is malformed.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        parser = _Parser(text)
        self._root = parser.whole()
        self.names = tuple(parser.names)

    def evaluate(self, look: _Look) -> Value:
        """Return its value.

        Args:
            look: Returns what a name stands for; None is `null`, which is neither less nor greater than anything.

        Raises:
            ExpressionError: It compares or adds up what cannot be, or divides by zero.
        """
        return self._root(look)

    def holds(self, look: _Look) -> bool:
        """Tell whether its value is neither false, nor zero, nor empty, nor null; see `evaluate`."""
        return bool(self._root(look))

    def unknown(self, name: Name, known: Iterator[str] | list[str]) -> ExpressionError:
        """Return the error that a name means nothing, with the nearest of those that do as the hint."""
        from difflib import get_close_matches

        known = sorted(known)
        close = get_close_matches(name.text, known, n=3, cutoff=0.5)
        more = ", …" if len(known) > _MAX_SHOWN else ""
        hint = f"Known are: {', '.join(known[:_MAX_SHOWN])}{more}."
        if close:
            hint = f"Did you mean {' or '.join(map(repr, close))}?"
        return ExpressionError(f"{name.text!r} means nothing here.", self.text, name.position, hint)


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


class _Parser:
    """A recursive descent over the tokens; every method returns a function that computes what it parsed."""

    def __init__(self, text: str) -> None:
        self.names: list[Name] = []
        self._text = text
        self._depth = 0
        if len(text) > _MAX_CHARACTERS:
            self._fail(f"An expression has at most {_MAX_CHARACTERS:,} characters.", 0)
        self._tokens = list(islice(self._tokenise(), _MAX_TOKENS + 1))
        if len(self._tokens) > _MAX_TOKENS:
            self._fail("An expression of this many parts is too long.", self._tokens[-1].position)
        self._next = 0

    def whole(self) -> _Node:
        node = self._either()
        if self._token.kind != "end":
            self._fail(f"Expected an operator, not {self._token.text!r}.")
        return node

    # Tokens

    def _tokenise(self) -> Iterator[_Token]:
        position = 0
        while position < len(self._text):
            match = _TOKEN.match(self._text, position)
            if match is None:
                self._fail(self._unreadable(position), position)
            kind = str(match.lastgroup)
            if kind != "space":
                is_word = kind == "name" and match[0] in _WORDS
                yield _Token("operator" if is_word else kind, match[0], position)
            position = match.end()
        yield _Token("end", "", position)

    def _unreadable(self, position: int) -> str:
        char = self._text[position]
        if char in "\"'`":
            return (
                f"This {char} has no partner." if self._text.count(char, position) == 1 else "There is nothing in it."
            )
        return "This is no number." if char.isdigit() or char == "." else f"{char!r} means nothing in an expression."

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *operators: str) -> _Token | None:
        """Return the next token and go on, if it is one of these operators."""
        token = self._token
        if token.kind != "operator" or token.text not in operators:
            return None
        self._next += 1
        return token

    def _expect(self, operator: str) -> None:
        if self._take(operator) is None:
            found = "the end" if self._token.kind == "end" else repr(self._token.text)
            self._fail(f"Expected {operator!r}, not {found}.")

    def _fail(self, message: str, position: int | None = None) -> NoReturn:
        raise ExpressionError(message, self._text, self._token.position if position is None else position)

    # The grammar, from the loosest operator to the tightest

    def _either(self) -> _Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self._fail("Parentheses nest too deep.")
        node = self._both()
        while self._take("or"):
            node = _or(node, self._both())
        self._depth -= 1
        return node

    def _both(self) -> _Node:
        node = self._not()
        while self._take("and"):
            node = _and(node, self._not())
        return node

    def _not(self) -> _Node:
        count = 0
        while self._take("not"):
            count += 1
        node = self._comparison()
        return node if count == 0 else _negation(node, odd=count % 2 == 1)

    def _comparison(self) -> _Node:
        left = self._sum()
        node: _Node | None = None
        while token := self._take(*_COMPARISONS):
            right = self._sum()
            link = self._binary(token, left, right)
            node = link if node is None else _and(node, link)
            left = right
        return left if node is None else node

    def _sum(self) -> _Node:
        node = self._product()
        while token := self._take("+", "-"):
            node = self._binary(token, node, self._product())
        return node

    def _product(self) -> _Node:
        node = self._sign()
        while token := self._take("*", "/"):
            node = self._binary(token, node, self._sign())
        return node

    def _sign(self) -> _Node:
        first = self._token
        count = 0
        while self._take("-"):
            count += 1
        node = self._value()
        return self._binary(first, _constant(0), node) if count % 2 else node

    def _value(self) -> _Node:
        token = self._token
        if function := self._take("abs", "min", "max"):
            return self._call(function)
        if self._take("("):
            node = self._either()
            self._expect(")")
            return node
        if constant := self._take(*_CONSTANTS):
            return _constant(_CONSTANTS[constant.text])
        if token.kind in ("operator", "end"):
            self._fail("Expected a value." if token.kind == "end" else f"Expected a value, not {token.text!r}.")
        self._next += 1
        if token.kind == "number":
            return _constant(float(token.text))
        if token.kind == "text":
            return _constant(re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL))
        return self._name(token)

    def _name(self, token: _Token) -> _Node:
        name = token.text.strip("`")
        self.names.append(Name(name, token.position))
        return lambda look: look(name)

    def _call(self, function: _Token) -> _Node:
        self._expect("(")
        arguments = [self._either()]
        while self._take(","):
            arguments.append(self._either())
        self._expect(")")
        if function.text == "abs" and len(arguments) != 1:
            self._fail("abs takes one value.", function.position)
        compute = _FUNCTIONS[function.text]

        def call(look: _Look) -> Value:
            values = [argument(look) for argument in arguments]
            if None in values:
                return None
            self._check_numbers(function, values)
            return compute(values)

        return call

    # Values

    def _binary(self, operator: _Token, left: _Node, right: _Node) -> _Node:
        compute = _OPERATORS[operator.text]

        def binary(look: _Look) -> Value:
            pair = left(look), right(look)
            if operator.text in ("==", "=", "!="):
                return compute(*pair)
            if None in pair:
                return False if operator.text in _COMPARISONS else None
            if not (operator.text in _COMPARISONS and all(isinstance(value, str) for value in pair)):
                self._check_numbers(operator, list(pair))
            try:
                return compute(*pair)
            except (ZeroDivisionError, OverflowError):
                self._fail("This divides by zero.", operator.position)

        return binary

    def _check_numbers(self, operator: _Token, values: list[Value]) -> None:
        for value in values:
            if not isinstance(value, int | float):
                self._fail(f"{operator.text!r} needs numbers, and {value!r} is none.", operator.position)


_OPERATORS: Mapping[str, Callable[..., Value]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "==": lambda left, right: left == right,
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
}


_FUNCTIONS: Mapping[str, Callable[[list[Any]], Value]] = {
    "abs": lambda values: abs(values[0]),
    "min": min,
    "max": max,
}


def _constant(value: Value) -> _Node:
    return lambda _look: value


def _and(left: _Node, right: _Node) -> _Node:
    return lambda look: bool(left(look)) and bool(right(look))


def _or(left: _Node, right: _Node) -> _Node:
    return lambda look: bool(left(look)) or bool(right(look))


def _negation(node: _Node, *, odd: bool) -> _Node:
    return lambda look: bool(node(look)) != odd
