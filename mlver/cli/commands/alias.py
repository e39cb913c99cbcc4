"""`mlver alias`: list, set, delete."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Column, Output
from mlver.cli.style import Styled
from mlver.errors import UsageError
from mlver.ops.labels import delete_alias, set_alias
from mlver.ops.opening import OpenRepository

EXAMPLES = (
    Example("mlver alias", "list those of the current artifact"),
    Example("mlver alias best", "call the current artifact's latest version best"),
    Example("mlver alias production resnet50_attn:v4", "move it to a given version"),
    Example("mlver alias -d best", "delete it"),
)

_Alias = Annotated[str | None, typer.Argument(metavar="ALIAS", help="The name.", show_default=False)]
_Revision = Annotated[str | None, typer.Argument(metavar="REF", help="The version; default: latest.")]
_Delete = Annotated[bool, typer.Option("--delete", "-d", help="Delete the alias.")]
_Artifact = Annotated[str | None, typer.Option("--artifact", metavar="NAME", help="List those of this artifact.")]


def command(
    call: Call,
    alias: _Alias = None,
    revision: _Revision = None,
    delete: _Delete = False,
    artifact: _Artifact = None,
) -> None:
    """List, set or delete movable names of versions.

    `latest` moves by itself and cannot be set; neither can names like v4.
    """
    if alias is None and delete:
        raise UsageError("Which alias is to be deleted?", "Name it: mlver alias -d best")
    if delete and revision is not None:
        raise UsageError("-d takes an alias only.", "Of another artifact than the current one, write NAME:best.")
    with call.repository() as repository:
        if alias is None:
            listing = _list(repository, artifact)
            call.out.result(listing, document=_list_document, brief=_names, human=_table)
        elif delete:
            bearer = delete_alias(repository, alias)
            call.out.result(
                (alias.rpartition(":")[2], bearer),
                document=lambda gone: {"alias": gone[0], "version": None, "was": gone[1]},
                brief=lambda gone: gone[1],
                human=lambda out, gone: out.line(f"Deleted alias {gone[0]}, which named ", Styled(gone[1], "name")),
            )
        else:
            version, was = set_alias(repository, alias, revision)
            call.out.result(
                (alias, version.name, was),
                document=lambda moved: {"alias": moved[0], "version": moved[1], "was": moved[2]},
                brief=lambda moved: moved[1],
                human=_moved,
            )


_Listing = tuple[str, dict[str, int]]


def _list(repository: OpenRepository, name: str | None) -> _Listing:
    artifact = repository.artifact(name)
    return artifact.name, repository.index.aliases(artifact)


def _list_document(listing: _Listing) -> dict[str, Any]:
    name, aliases = listing
    return {"artifact": name, "aliases": {alias: f"v{number}" for alias, number in aliases.items()}}


def _names(listing: _Listing) -> list[str]:
    return list(listing[1])


def _table(out: Output, listing: _Listing) -> None:
    name, aliases = listing
    rows = [[Styled(alias, "alias"), Styled(f"{name}:v{number}", "name")] for alias, number in aliases.items()]
    out.table([Column("ALIAS"), Column("VERSION")], rows)


def _moved(out: Output, moved: tuple[str, str, str | None]) -> None:
    alias, version, was = moved
    out.line(Styled(alias, "alias"), " is ", Styled(version, "name"), f" now; it was {was}" if was else "")
