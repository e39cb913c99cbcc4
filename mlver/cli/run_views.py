"""Views of runs that several commands share."""

from __future__ import annotations

from mlver.cli.style import Piece, Styled

_STYLES = {"finished": "good", "running": "heading", "failed": "bad", "killed": "bad"}


def status_piece(status: str) -> Piece:
    """Return how a run went, in the colour of that."""
    return Styled(status, _STYLES.get(status, "muted"))
