"""`mlver reflog`: what happened, newest first."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Column, Output
from mlver.cli.style import Styled
from mlver.cli.views import age_since, entry_document, what_happened
from mlver.ops.undo import ReflogEntry, reflog

EXAMPLES = (
    Example("mlver reflog", "what happened to the current artifact"),
    Example("mlver reflog resnet50_attn -n 3", "the three newest events of another"),
)

_Name = Annotated[str | None, typer.Argument(metavar="NAME", help="An artifact.", show_default=False)]
_Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=0, help="At most N events; 0 is all.")]


def command(call: Call, name: _Name = None, limit: _Limit = 0) -> None:
    """List every move of a name, label or note, newest first."""
    with call.repository() as repository:
        entries = reflog(repository, name, limit or None)
    call.out.result(entries, document=_document, brief=lambda found: [entry.id for entry in found], human=_human)


def _document(entries: list[ReflogEntry]) -> dict[str, Any]:
    return {"events": [entry_document(entry) for entry in entries]}


def _human(out: Output, entries: list[ReflogEntry]) -> None:
    with out.paged():
        out.table(
            [Column("EVENT"), Column("AGE"), Column("BY"), Column("WHAT", elastic=True)],
            [
                [
                    entry.id,
                    age_since(entry.event.at),
                    entry.event.by,
                    Styled(f"{what_happened(entry)} (undone)", "muted") if entry.undone else what_happened(entry),
                ]
                for entry in entries
            ],
        )
