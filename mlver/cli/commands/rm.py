"""`mlver rm`: mark versions removed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.ops.removal import RemoveResult, remove

EXAMPLES = (
    Example("mlver rm v3", "remove a version; mlver undo takes it back"),
    Example("mlver rm v4 --force", "also one that bears an alias"),
)

_Revisions = Annotated[list[str], typer.Argument(metavar="REF...", help="Versions.", show_default=False)]
_Force = Annotated[bool, typer.Option("--force", "-f", help="Drop the aliases that protect them, too.")]


def command(call: Call, revisions: _Revisions, force: _Force = False) -> None:
    """Remove versions; their numbers are never used again.

    They leave the log, but nothing is deleted: mlver restore and mlver undo bring them back. A version that bears an
    alias is protected.
    """
    with call.repository() as repository:
        result = remove(repository, revisions, force)
    call.out.result(result, document=_document, brief=lambda done: list(done.removed), human=_human)


def _document(result: RemoveResult) -> dict[str, Any]:
    return {"removed": list(result.removed), "dropped_aliases": list(result.dropped_aliases)}


def _human(out: Output, result: RemoveResult) -> None:
    for alias in result.dropped_aliases:
        out.line(Styled("Dropped alias ", "warning"), alias)
    for name in result.removed:
        out.line("Removed ", Styled(name, "name"))
    if result.dropped_aliases:
        artifact = result.removed[0].partition(":")[0]
        out.hint(f"Take it back, with its aliases, with: mlver undo --artifact {artifact}")
    elif result.removed:
        out.hint(f"Take it back with: mlver restore {' '.join(result.removed)}")
