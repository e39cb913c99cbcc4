"""`mlver undo`: take an event back."""

from __future__ import annotations

from typing import Annotated

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Output
from mlver.cli.views import entry_document, what_happened
from mlver.ops.undo import ReflogEntry, undo

EXAMPLES = (
    Example("mlver undo", "take back the last change of the current artifact"),
    Example("mlver undo 42", "take back a given event; mlver reflog lists them"),
)

_Event = Annotated[str | None, typer.Argument(metavar="EVENT", help="Its id in mlver reflog.", show_default=False)]
_Artifact = Annotated[str | None, typer.Option("--artifact", metavar="NAME", help="Of this artifact.")]

_Force = Annotated[bool, typer.Option("--force", "-f", help="Move protected aliases too.")]


def command(call: Call, event: _Event = None, artifact: _Artifact = None, force: _Force = False) -> None:
    """Take the last move back, or a given one.

    Doing it again goes further back. An undo is an event too: undo it by its id. Undoing an add removes the version,
    which mlver restore brings back; nothing is ever lost.
    """
    with call.repository() as repository:
        entry = undo(repository, artifact, event, force)
    call.out.result(
        entry, document=lambda done: {"undone": entry_document(done)}, brief=lambda done: done.id, human=_human
    )


def _human(out: Output, entry: ReflogEntry) -> None:
    out.line(f"Took back event {entry.id} of {entry.artifact}: {what_happened(entry)}")
