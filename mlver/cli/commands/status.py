"""`mlver status`: how a folder compares with the version it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import path_of
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.cli.text import count
from mlver.ops.status import StatusResult, status

EXAMPLES = (Example("mlver status model/", "what changed in a folder since it was added or pulled"),)

_Place = Annotated[Path, typer.Argument(metavar="DIR", help="A folder or file.", show_default=False, parser=path_of)]


def command(call: Call, place: _Place = Path()) -> None:
    """Show what differs between a folder and the version it came from."""
    with call.repository() as repository:
        result = status(repository, place)
    call.out.result(result, document=_document, brief=lambda found: found.version.name, human=_human)


def _document(result: StatusResult) -> dict[str, Any]:
    return {
        "path": result.place,
        "artifact": result.version.artifact,
        "version": f"v{result.version.number}",
        "latest": result.latest,
        "clean": result.is_clean,
        "added": list(result.added),
        "removed": list(result.removed),
        "modified": list(result.modified),
        "unchanged_count": result.unchanged_count,
        "absent_references": list(result.absent_references),
        "unknown_references": list(result.unknown_references),
    }


def _human(out: Output, result: StatusResult) -> None:
    out.line(result.place, " came from ", Styled(result.version.name, "name"))
    if result.latest not in (None, result.version.name):
        out.note(f"The latest version is {result.latest}.")
    for word, style, paths in (
        ("modified", "warning", result.modified),
        ("added", "good", result.added),
        ("removed", "bad", result.removed),
    ):
        for path in paths:
            out.line("  ", Styled(f"{word:<9}", style), path)
    if result.absent_references:
        out.note(f"{count(len(result.absent_references), 'reference')} not here, but where they were.")
    if result.unknown_references:
        out.note(
            f"{count(len(result.unknown_references), 'reference')} of the right size; nothing tells their content."
        )
    if result.is_clean:
        out.line(f"Nothing differs: {count(result.unchanged_count, 'file')} as they were.")
    else:
        out.hint("Record it with: mlver add " + result.place)
