"""Tables: aligned text for pipes and files, rich's for terminals, where they must fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from mlver.cli.style import Piece, paint, plain
from mlver.cli.text import width

_GAP = "  "

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


def fitted_text(columns: Sequence[Column], rows: Sequence[Row], *, colour: bool) -> str:
    """Return a table that fits the terminal.

    rich is imported here and nowhere earlier: it costs as much as everything else together.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold" if colour else "")
    for column in columns:
        table.add_column(Text(column.title), justify=column.align, no_wrap=not column.elastic, overflow="fold")
    for row in rows:
        table.add_row(*(Text.from_ansi(paint(piece, colour=colour)) for piece in row))
    system: Literal["standard"] | None = "standard" if colour else None
    console = Console(force_terminal=True, color_system=system, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:  # printing it would make rich handle a closed pager in its own way
        console.print(table)
    return captured.get()
