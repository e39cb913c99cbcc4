"""`mlver gc`: parse → `mlver.ops.repack` → say what it saved."""

from __future__ import annotations

from typing import Annotated, Any

import click
import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Output
from mlver.cli.text import count, size
from mlver.config import check_compression
from mlver.ops.repack import RepackResult, repack

EXAMPLES = (
    Example("mlver gc --repack", "store everything as small as it gets"),
    Example("mlver gc --repack --level balanced", "the same in a fraction of the time"),
)

_Repack = Annotated[bool, typer.Option("--repack", help="Write all packs anew, smaller.")]
_Level = Annotated[str, typer.Option("--level", metavar="LEVEL", help="What it is worth: fast, balanced or max.")]


def command(call: Call, repack_packs: _Repack = False, level: _Level = "max") -> None:
    """Make a repository smaller.

    With --repack, everything that is stored is encoded anew, against what it resembles most. No version changes, and
    other commands may run meanwhile. Interrupted at any instant, it loses nothing; run it again. It needs room for
    some of the new packs beside the old ones.
    """
    if not repack_packs:
        raise click.UsageError("Say what to do: mlver gc --repack.", ctx=call)
    with call.repository() as repository, call.progress() as progress:
        result = repack(repository, check_compression(level), progress)
    for damaged in result.damaged:
        call.out.warn(damaged)
    call.out.result(result, document=_document, brief=_brief, human=_human)


def _document(result: RepackResult) -> dict[str, Any]:
    return {
        "repacked_chunks": result.chunks,
        "packs_before": result.packs_before,
        "packs_after": result.packs_after,
        "bytes_before": result.bytes_before,
        "bytes_after": result.bytes_after,
        "damaged": list(result.damaged),
    }


def _brief(result: RepackResult) -> str:
    return str(result.bytes_after)


def _human(out: Output, result: RepackResult) -> None:
    before = f"{size(result.bytes_before)} in {count(result.packs_before, 'pack')}"
    after = f"{size(result.bytes_after)} in {count(result.packs_after, 'pack')}"
    out.line(f"Repacked {count(result.chunks, 'chunk')}: {before}, now {after}")
