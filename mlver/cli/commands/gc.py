"""`mlver gc`: parse → `mlver.ops.collect` or `mlver.ops.repack` → say what it saved."""

from __future__ import annotations

from typing import Annotated, Any

import click
import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.cli.text import count, size
from mlver.config import check_compression
from mlver.ops.collect.collect import CollectResult, collect
from mlver.ops.collect.durations import parse_duration
from mlver.ops.repack import RepackResult, repack

EXAMPLES = (
    Example("mlver gc --dry-run", "say what would be deleted"),
    Example("mlver gc", "delete what was removed two weeks ago or before"),
    Example("mlver gc --grace 2d", "the same, of two days ago"),
    Example("mlver gc --repack", "store everything as small as it gets"),
    Example("mlver gc --repack --level balanced", "the same in a fraction of the time"),
)

_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")]
_Grace = Annotated[
    str,
    typer.Option("--grace", metavar="DURATION", help="Keep what was not removed as long ago, such as 12h, 14d, 2w."),
]
_Repack = Annotated[bool, typer.Option("--repack", help="Write all packs anew, smaller.")]
_Level = Annotated[str, typer.Option("--level", metavar="LEVEL", help="What it is worth: fast, balanced or max.")]


def command(
    call: Call,
    dry_run: _DryRun = False,
    grace: _Grace = "2w",
    repack_packs: _Repack = False,
    level: _Level = "max",
) -> None:
    """Delete what no version uses, and make a repository smaller.

    The content of versions that were removed longer ago than the grace period is deleted, and they cannot be restored
    from then on. So is what interrupted commands left behind. Nothing else is, and other commands may run meanwhile;
    with --grace 0, which deletes at once, they may fail and have to be run again. It works on a full disk, too.

    With --repack, everything that is stored is encoded anew, against what it resembles most. No version changes, and
    other commands may run meanwhile. Interrupted at any instant, it loses nothing; run it again. It needs room for
    some of the new packs beside the old ones.
    """
    if not repack_packs:
        _collect(call, parse_duration(grace), dry_run)
        return
    if dry_run:
        raise click.UsageError("--repack and --dry-run exclude each other.", ctx=call)
    with call.repository() as repository, call.progress() as progress:
        result = repack(repository, check_compression(level), progress)
    for damaged in result.damaged:
        call.out.warn(damaged)
    call.out.result(result, document=_repack_document, brief=_repack_brief, human=_repack_human)


def _collect(call: Call, grace_seconds: float, dry_run: bool) -> None:
    with call.repository() as repository, call.progress() as progress:
        result = collect(repository, grace_seconds, progress, dry_run=dry_run)
    for damaged in result.damaged:
        call.out.warn(damaged)
    if result.stopped is not None:
        call.out.warn(result.stopped)
    call.out.result(result, document=_document, brief=lambda done: str(done.freed_bytes), human=_human)


def _document(result: CollectResult) -> dict[str, Any]:
    return {
        "dry_run": result.is_dry_run,
        "versions": list(result.versions),
        "deleted_packs": result.deleted_packs,
        "rewritten_packs": result.rewritten_packs,
        "bytes_before": result.bytes_before,
        "bytes_after": result.bytes_after,
        "freed_bytes": result.freed_bytes,
        "left_bytes": result.left_bytes,
        "held_bytes": result.held_bytes,
        "stopped": result.stopped,
        "damaged": list(result.damaged),
    }


def _human(out: Output, result: CollectResult) -> None:
    gone, freed = ("Would delete", "Would free") if result.is_dry_run else ("Deleted", "Freed")
    for name in result.versions:
        out.line(f"{gone} ", Styled(name, "name"))
    out.line(
        f"{freed} {size(result.freed_bytes)}: "
        f"{count(result.deleted_packs, 'pack')} deleted, {result.rewritten_packs} written anew; "
        f"{size(result.bytes_after)} stay"
    )
    if result.held_bytes:
        out.note(f"{size(result.held_bytes)} belong to no version, but others are stored as differences to them.")
    if result.left_bytes:
        out.note(
            f"{size(result.left_bytes)} more belong to no version: they are new, or not worth rewriting packs for."
        )


def _repack_document(result: RepackResult) -> dict[str, Any]:
    return {
        "repacked_chunks": result.chunks,
        "packs_before": result.packs_before,
        "packs_after": result.packs_after,
        "bytes_before": result.bytes_before,
        "bytes_after": result.bytes_after,
        "damaged": list(result.damaged),
    }


def _repack_brief(result: RepackResult) -> str:
    return str(result.bytes_after)


def _repack_human(out: Output, result: RepackResult) -> None:
    before = f"{size(result.bytes_before)} in {count(result.packs_before, 'pack')}"
    after = f"{size(result.bytes_after)} in {count(result.packs_after, 'pack')}"
    out.line(f"Repacked {count(result.chunks, 'chunk')}: {before}, now {after}")
