"""Tables: aligned text for pipes and files, rich's for terminals, where they must fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from mlver.cli.style import Piece, paint, plain
from mlver.cli.text import width

_GAP = "  "
_WORD = 14
"""Words up to this width are not broken to make a column narrower."""

Row = Sequence[Piece]


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        title: Its heading.
        align: `right` for quantities.
        elastic: On a narrow terminal its text is wrapped first; messages are, names and numbers are not.
    """

    title: str
    align: Literal["left", "right"] = "left"
    elastic: bool = False


def plain_lines(columns: Sequence[Column], rows: Sequence[Row]) -> Iterator[str]:
    """Yield a table's lines, aligned, whole, however wide: for pipes and files."""
    texts = [[column.title for column in columns], *([plain(piece) for piece in row] for row in rows)]
    widths = [max(map(width, cells)) for cells in zip(*texts, strict=True)]
    for line in texts:
        cells = [_pad(text, wide, column.align) for text, wide, column in zip(line, widths, columns, strict=True)]
        yield _GAP.join(cells).rstrip()


def _pad(text: str, wide: int, align: str) -> str:
    blanks = " " * (wide - width(text))
    return blanks + text if align == "right" else text + blanks


def _least_widths(columns: Sequence[Column], rows: Sequence[Row]) -> list[int]:
    """Return how narrow each column may get: an elastic one is wrapped between words, not within short ones."""
    least = []
    for position, column in enumerate(columns):
        texts = [column.title, *(plain(row[position]) for row in rows)]
        words = (word for text in texts for word in (text.split() if column.elastic else [text]))
        wide = max((width(word) for word in words), default=0)
        least.append(min(wide, _WORD) if column.elastic else wide)
    return least


def is_too_wide(columns: Sequence[Column], rows: Sequence[Row], terminal_width: int) -> bool:
    """Tell whether a table cannot be made to fit a terminal of so many columns."""
    return sum(_least_widths(columns, rows)) + len(_GAP) * (len(columns) - 1) > terminal_width


def fitted_text(columns: Sequence[Column], rows: Sequence[Row], *, colour: bool) -> str:
    """Return a table that fits the terminal.

    rich is imported here and nowhere earlier: it costs as much as everything else together.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold" if colour else "")
    for column, wide in zip(columns, _least_widths(columns, rows), strict=True):
        table.add_column(
            Text(column.title), justify=column.align, no_wrap=not column.elastic, overflow="fold", min_width=wide
        )
    for row in rows:
        table.add_row(*(Text.from_ansi(paint(piece, colour=colour)) for piece in row))
    system: Literal["standard"] | None = "standard" if colour else None
    console = Console(force_terminal=True, color_system=system, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:  # printing it would make rich handle a closed pager in its own way
        console.print(table)
    return captured.get()
