"""`mlver du`: bytes per artifact and version."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Column, Output, Piece
from mlver.cli.style import Styled
from mlver.cli.text import size
from mlver.ops.usage import Usage, UsageResult, usage

EXAMPLES = (
    Example("mlver du", "every artifact"),
    Example("mlver du resnet50_attn --versions", "one artifact, version by version"),
)

_Name = Annotated[str | None, typer.Argument(metavar="NAME", help="An artifact.", show_default=False)]
_Versions = Annotated[bool, typer.Option("--versions", help="Each version too.")]


def command(call: Call, name: _Name = None, versions: _Versions = False) -> None:
    """Show how many bytes artifacts and versions take.

    LOGICAL is the size of all files. STORED is what they take here, each piece once; EXCLUSIVE is the part of it that
    nothing else uses, SHARED the rest. REFERENCED is the size of references, which take nothing here.
    """
    with call.repository() as repository:
        result = usage(repository, name)

    def human(out: Output, found: UsageResult) -> None:
        _human(out, found, versions or name is not None)

    call.out.result(result, document=_document, brief=lambda found: str(found.total.stored_bytes), human=human)


def _document(result: UsageResult) -> dict[str, Any]:
    return _bytes(result.total) | {
        "pack_bytes": result.pack_bytes,
        "unused_bytes": result.unused_bytes,
        "artifacts": [
            {"artifact": found.artifact.name, "type": found.artifact.type}
            | _bytes(found.usage)
            | {"versions": [{"version": f"v{version.number}"} | _bytes(part) for version, part in found.versions]}
            for found in result.artifacts
        ],
    }


def _bytes(part: Usage) -> dict[str, int]:
    return {
        "logical_bytes": part.logical_bytes,
        "stored_bytes": part.stored_bytes,
        "exclusive_bytes": part.exclusive_bytes,
        "shared_bytes": part.shared_bytes,
        "referenced_bytes": part.referenced_bytes,
    }


def _human(out: Output, result: UsageResult, versions: bool) -> None:
    rows: list[list[Piece]] = []
    for found in result.artifacts:
        rows.append(_row(Styled(found.artifact.name, "name"), found.usage))
        if versions:
            rows += [_row(f"  v{version.number}", part) for version, part in found.versions]
    rows.append(_row("all artifacts", result.total))
    titles = ["LOGICAL", "STORED", "EXCLUSIVE", "SHARED", "REFERENCED"]
    if not result.total.referenced_bytes:
        titles, rows = titles[:-1], [row[:-1] for row in rows]
    out.table([Column("ARTIFACT"), *(Column(title, align="right") for title in titles)], rows)
    out.note(f"All packs together are {size(result.pack_bytes)} of files.")
    if result.unused_bytes:
        out.note(f"{size(result.unused_bytes)} in packs belong to no version (removed ones, interrupted commands).")


def _row(name: Piece, part: Usage) -> list[Piece]:
    return [
        name,
        size(part.logical_bytes),
        size(part.stored_bytes),
        size(part.exclusive_bytes),
        size(part.shared_bytes),
        size(part.referenced_bytes),
    ]
