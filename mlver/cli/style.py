"""The few styles that output may have, by what they mean. Both renderers, rich's and ours, read this one table."""

from __future__ import annotations

from typing import NamedTuple

from mlver.cli.text import escape

# Select Graphic Rendition codes. Source: ECMA-48, 8.3.117.
SGR = {
    "heading": "1",
    "name": "36",
    "alias": "1;32",
    "muted": "2",
    "good": "32",
    "warning": "33",
    "bad": "1;31",
    "added": "1;7;32",
    "removed": "1;7;31",
    "keyword": "35",
    "string": "36",
    "number": "33",
}


class Styled(NamedTuple):
    """A piece of text with one of the styles of `SGR`."""

    text: str
    style: str


Piece = str | Styled
"""Text from anywhere; renderers escape it."""


def paint(piece: Piece, *, colour: bool) -> str:
    """Return a piece escaped, and coloured if wanted."""
    if isinstance(piece, str):
        return escape(piece)
    return colourise(escape(piece.text), piece.style) if colour else escape(piece.text)


def colourise(escaped: str, style: str) -> str:
    """Return text that was escaped already in a style."""
    return f"\x1b[{SGR[style]}m{escaped}\x1b[0m" if escaped else ""


def plain(piece: Piece) -> str:
    """Return a piece escaped, without its style."""
    return escape(piece if isinstance(piece, str) else piece.text)
