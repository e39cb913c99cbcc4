"""Unified diffs of text: signs in the colours of a diff, the text between them in those of its language.

Only the eight colours of every terminal are used, and none of those that cannot be read on white or on black.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mlver.cli.output import Piece
from mlver.cli.style import Styled
from mlver.cli.text import escape

if TYPE_CHECKING:
    from rich.syntax import Syntax

_SIGNS = {"+": "good", "-": "bad", "@": "name"}
_BLOCKS = {"+": "added", "-": "removed"}
_CODE_CHARACTERS = 200_000
"""Longer hunks are shown without the colours of their language, which take time."""
_TOKENS = (
    ("Comment", "muted"),
    ("Keyword", "keyword"),
    ("Name.Tag", "keyword"),
    ("Literal.String", "string"),
    ("Literal.Number", "number"),
)
"""Kinds of tokens, as pygments names them, and our styles."""


def unified_lines(path: str, lines: Sequence[str], *, colour: bool) -> Iterator[list[Piece]]:
    """Yield the lines of a unified diff as pieces.

    Args:
        path: Of the file; its name tells the language.
        lines: The diff without its header.
        colour: Colours can be shown: without them no language is looked at.
    """
    texts = [escape(line.expandtabs(4)) for line in lines]
    inner = _highlighted(path, texts) if colour else {}
    for number, line in enumerate(texts):
        style = _SIGNS.get(line[:1])
        if number in inner:
            # A sign that is a block of colour is seen beside text that has colours of its own.
            block = _BLOCKS.get(line[:1])
            yield [Styled(line[0], block) if block else line[:1], *inner[number]]
        else:
            yield [Styled(line, style) if style else line]


def _highlighted(path: str, lines: Sequence[str]) -> dict[int, list[Piece]]:
    """Return the pieces of each line that has some, without its sign; none if the language is not known.

    Before and after are looked at by themselves, hunk by hunk: a string of many lines that was changed is one string
    in each of them.
    """
    from rich.syntax import Syntax

    lexer = Syntax.guess_lexer(path)
    if lexer == "default":
        return {}
    syntax = Syntax("", lexer)
    found: dict[int, list[Piece]] = {}
    for hunk in _hunks(lines):
        for leave_out in "+-":
            numbers = [number for number in hunk if lines[number][:1] != leave_out]
            if numbers:
                code = "\n".join(lines[number][1:] for number in numbers)
                found.update(zip(numbers, _pieces(syntax, code), strict=True))
    return found


def _hunks(lines: Sequence[str]) -> Iterator[list[int]]:
    """Yield the numbers of the lines of each hunk, without the one that says where it is."""
    hunk: list[int] = []
    for number, line in enumerate(lines):
        if line.startswith("@@"):
            yield hunk
            hunk = []
        else:
            hunk.append(number)
    yield hunk


def _pieces(syntax: Syntax, code: str) -> list[list[Piece]]:
    """Return the pieces of each line of code."""
    found: list[list[Piece]] = [[]]
    if syntax.lexer is None or len(code) > _CODE_CHARACTERS:
        return [[line] for line in code.split("\n")]
    for _, kind, text in syntax.lexer.get_tokens_unprocessed(code):
        style = _style(str(kind))
        for position, part in enumerate(text.split("\n")):
            if position:
                found.append([])
            if part:
                found[-1].append(Styled(part, style) if style else part)
    return found


def _style(kind: str) -> str | None:
    """Return the style of a token such as `Token.Literal.String.Single`."""
    return next((style for name, style in _TOKENS if kind.startswith(f"Token.{name}")), None)
