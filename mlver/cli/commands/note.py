"""`mlver note`: show, set, delete."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import Revision
from mlver.cli.output import Output
from mlver.errors import UsageError
from mlver.history.records import VersionRecord
from mlver.ops.labels import set_note

EXAMPLES = (
    Example("mlver note v4", "show the note of a version"),
    Example("mlver note v4 'Diverged after epoch 3.'", "set it"),
    Example("mlver note v4 -d", "delete it"),
)

_Text = Annotated[str | None, typer.Argument(metavar="TEXT", help="The note.", show_default=False)]
_Delete = Annotated[bool, typer.Option("--delete", "-d", help="Delete the note.")]


def command(call: Call, revision: Revision = "latest", text: _Text = None, delete: _Delete = False) -> None:
    """Show, set or delete the note of a version."""
    if delete and text is not None:
        raise UsageError("-d takes no text.", "Leave the text out, or leave -d out to replace the note.")
    with call.repository() as repository:
        if delete or text is not None:
            version = set_note(repository, revision, None if delete else text)
        else:
            version = repository.resolve(revision).version
    call.out.result(version, document=_document, brief=lambda found: found.note or "", human=_human)


def _document(version: VersionRecord) -> dict[str, Any]:
    return {"artifact": version.artifact, "version": f"v{version.number}", "note": version.note}


def _human(out: Output, version: VersionRecord) -> None:
    if version.note:
        out.block(version.note)
    else:
        out.note(f"{version.name} has no note.")
