"""`mlver tag`: list, add, delete labels."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import Revision
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.errors import UsageError
from mlver.history.records import VersionRecord
from mlver.ops.labels import change_tags

EXAMPLES = (
    Example("mlver tag v4", "list the tags of a version"),
    Example("mlver tag v4 baseline int8", "put tags on it"),
    Example("mlver tag v4 -d baseline", "take one off"),
)

_Tags = Annotated[list[str], typer.Argument(metavar="TAG", help="Tags.", show_default=False)]
_Delete = Annotated[bool, typer.Option("--delete", "-d", help="Take these tags off.")]


def command(call: Call, revision: Revision = "latest", tags: _Tags = [], delete: _Delete = False) -> None:  # noqa: B006
    """List, add or delete labels of a version."""
    if delete and not tags:
        raise UsageError("Which tag is to go?", "Name it: mlver tag v4 -d baseline")
    with call.repository() as repository:
        if tags:
            version = change_tags(repository, revision, [] if delete else tags, tags if delete else [])
        else:
            version = repository.resolve(revision).version
    call.out.result(version, document=_document, brief=lambda found: list(found.tags), human=_human)


def _document(version: VersionRecord) -> dict[str, Any]:
    return {"artifact": version.artifact, "version": f"v{version.number}", "tags": list(version.tags)}


def _human(out: Output, version: VersionRecord) -> None:
    out.line(
        Styled(version.name, "name"), " has ", f"the tags {', '.join(version.tags)}" if version.tags else "no tags"
    )
