"""`mlver gc`: parse → `mlver.ops.retention.plan` or `mlver.ops.repack` → say what it saved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import click
import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import path_of
from mlver.cli.output import Column, Output, Piece
from mlver.cli.style import Styled
from mlver.cli.text import count, size
from mlver.config import check_compression
from mlver.errors import UsageError
from mlver.ops.collect.auto import collect_now_and_then
from mlver.ops.collect.collect import CollectResult
from mlver.ops.collect.durations import parse_duration
from mlver.ops.repack import RepackResult, repack
from mlver.ops.retention.document import MAX_PLAN_BYTES, plan_document, read_plan
from mlver.ops.retention.plan import GcPlan, GcResult, apply_plan, gc, make_plan

EXAMPLES = (
    Example("mlver gc --dry-run", "say what would be deleted"),
    Example("mlver gc", "delete what was removed two weeks ago or before"),
    Example("mlver gc --plan --json > plan.json", "write down what would be done, to be looked at first"),
    Example("mlver gc --apply plan.json", "do exactly that, unless something happened since"),
    Example("mlver gc --remote", "delete from the remote what no version there uses"),
    Example("mlver gc --repack", "store everything as small as it gets"),
    Example("mlver gc --repack --level balanced", "the same in a fraction of the time"),
)

_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")]
_Grace = Annotated[
    str,
    typer.Option("--grace", metavar="DURATION", help="Keep what was removed less long ago, such as 12h, 14d or 2w."),
]
_Plan = Annotated[bool, typer.Option("--plan", help="Say in full what would be done, and why.")]
_Apply = Annotated[
    Path | None,
    typer.Option(
        "--apply", metavar="PLANFILE", help="Do exactly what --plan --json said.", show_default=False, parser=path_of
    ),
]
_Auto = Annotated[bool, typer.Option("--auto", help="Only if a day has passed and it is worth it, as add does it.")]
_Remote = Annotated[bool, typer.Option("--remote", help="Collect at a remote; REMOTE is its name; default: origin.")]
_RemoteName = Annotated[str | None, typer.Argument(metavar="REMOTE", help="The remote to collect at, for --remote.")]
_Repack = Annotated[bool, typer.Option("--repack", help="Write all packs anew, smaller.")]
_Level = Annotated[
    str | None,
    typer.Option("--level", metavar="LEVEL", help="What --repack is worth: fast, balanced or max (the default)."),
]


def command(
    call: Call,
    name: _RemoteName = None,
    remote: _Remote = False,
    dry_run: _DryRun = False,
    grace: _Grace = "2w",
    plan: _Plan = False,
    apply: _Apply = None,
    auto: _Auto = False,
    repack_packs: _Repack = False,
    level: _Level = None,
) -> None:
    """Delete what no version uses, and make a repository smaller.

    First the versions are marked removed that mlver retain does not keep, if it was told to keep some; mlver undo takes
    that back. Then the content of versions that were removed longer ago than the grace period is deleted, and they
    cannot be restored from then on; so is what interrupted commands left behind. Nothing else is, and other commands
    may run meanwhile. With --grace 0 everything goes at once, and commands that run meanwhile may have to be repeated.
    It works on a full disk, too.

    With --remote, the same is done at a remote, by what the versions there use and by the remote's own clock; nothing
    here changes, and others may push and pull meanwhile. What was removed here counts there once it was pushed.

    With --repack, everything that is stored is encoded anew, against what it resembles most. No version changes, and
    other commands may run meanwhile. Interrupted at any instant, it loses nothing; run it again. It needs room for
    some of the new packs beside the old ones.
    """
    if dry_run + plan + (apply is not None) + auto + repack_packs > 1:
        raise click.UsageError("--dry-run, --plan, --apply, --auto and --repack exclude each other.", ctx=call)
    if level is not None and not repack_packs:
        raise click.UsageError("--level is for --repack.", ctx=call)
    if name is not None and not remote:
        raise click.UsageError(f"What is {name!r}? With --remote it would be a remote.", ctx=call)
    if remote and (plan or apply is not None or auto or repack_packs):
        raise click.UsageError("--remote goes with --dry-run and --grace only.", ctx=call)
    if remote:
        _gc_remote(call, name, parse_duration(grace), dry_run)
    elif repack_packs:
        _repack(call, level or "max")
    elif plan:
        _plan(call, parse_duration(grace))
    elif auto:
        _auto(call)
    else:
        _gc(call, parse_duration(grace), dry_run, apply)


def _gc(call: Call, grace_seconds: float, dry_run: bool, plan_file: Path | None) -> None:
    plan = None if plan_file is None else read_plan(_read(plan_file), repr(str(plan_file)))
    with call.repository() as repository, call.progress() as progress:
        if plan is not None:
            result = apply_plan(repository, plan, progress)
        else:
            result = gc(repository, grace_seconds, progress, dry_run=dry_run)
    _show(call, result)


def _gc_remote(call: Call, name: str | None, grace_seconds: float, dry_run: bool) -> None:
    from mlver.ops.remotes.collect.collect import collect_remote

    with call.repository() as repository, call.progress() as progress:
        collected = collect_remote(repository, name, grace_seconds, progress, dry_run=dry_run)
    _show(call, GcResult((), collected))


def _show(call: Call, result: GcResult) -> None:
    for damaged in result.collected.damaged:
        call.out.warn(damaged)
    if result.collected.stopped is not None:
        call.out.warn(result.collected.stopped)
    call.out.result(result, document=_document, brief=lambda done: str(done.collected.freed_bytes), human=_human)


def _auto(call: Call) -> None:
    with call.repository() as repository:
        repository.index.refresh()
        collected = collect_now_and_then(repository)
    if collected is not None:
        result = GcResult((), collected)
        call.out.result(result, document=_document, brief=lambda done: str(done.collected.freed_bytes), human=_human)
        return
    nothing = CollectResult(False, (), 0, 0, 0, 0, 0, 0)
    call.out.result(
        GcResult((), nothing),
        document=_document,
        brief=lambda _: "0",
        human=lambda out, _: out.note("Nothing is due, or worth it."),
    )


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_PLAN_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror}.") from error


def _document(result: GcResult) -> dict[str, Any]:
    collected = result.collected
    return {
        "dry_run": collected.is_dry_run,
        "remote": collected.remote,
        "removed": list(result.removed),
        "versions": list(collected.versions),
        "waiting": list(collected.waiting),
        "deleted_packs": collected.deleted_packs,
        "rewritten_packs": collected.rewritten_packs,
        "bytes_before": collected.bytes_before,
        "bytes_after": collected.bytes_after,
        "freed_bytes": collected.freed_bytes,
        "left_bytes": collected.left_bytes,
        "held_bytes": collected.held_bytes,
        "stopped": collected.stopped,
        "damaged": list(collected.damaged),
    }


def _human(out: Output, result: GcResult) -> None:
    collected = result.collected
    removed, gone, freed = ("Removed", "Deleted", "Freed")
    if collected.is_dry_run:
        removed, gone, freed = ("Would remove", "Would delete", "Would free")
    for name in result.removed:
        out.line(f"{removed} ", Styled(name, "name"))
    for name in collected.versions:
        out.line(f"{gone} ", Styled(name, "name"))
    place = "" if collected.remote is None else f" at {collected.remote}"
    out.line(
        f"{freed} {size(collected.freed_bytes)}{place}: "
        f"{count(collected.deleted_packs, 'pack')} deleted, {collected.rewritten_packs} written anew; "
        f"{size(collected.bytes_after)} stay"
    )
    _notes(out, collected)
    if not collected.is_dry_run and set(result.removed) - set(collected.versions):
        artifacts = dict.fromkeys(name.rpartition(":")[0] for name in result.removed)
        out.hint(f"Take the removal back with: mlver undo --artifact {next(iter(artifacts))}")


def _notes(out: Output, collected: CollectResult) -> None:
    if collected.waiting:
        number = count(len(collected.waiting), "version")
        out.note(f"{number} removed lately can be restored until the grace period is over.")
    if collected.held_bytes:
        out.note(f"{size(collected.held_bytes)} belong to no version, but others are stored as differences to them.")
    if collected.left_bytes:
        out.note(f"{size(collected.left_bytes)} more belong to no version: new, or not worth writing packs anew for.")


def _plan(call: Call, grace_seconds: float) -> None:
    with call.repository() as repository:
        plan = make_plan(repository, grace_seconds)
    names = [*(item.version for item in plan.remove), *plan.delete]
    call.out.result(plan, document=plan_document, brief=lambda _: list(dict.fromkeys(names)), human=_human_plan)


def _human_plan(out: Output, plan: GcPlan) -> None:
    if plan.remove:
        out.heading("To be removed")
        columns = [
            Column("VERSION"),
            Column("EXCLUSIVE", align="right"),
            Column("SHARED", align="right"),
            Column("HELD", align="right"),
            Column("POLICY"),
            Column("KEEPS ONLY", elastic=True),
        ]
        rows: list[list[Piece]] = [
            [
                Styled(item.version, "name"),
                size(item.exclusive_bytes),
                size(item.shared_bytes),
                size(item.held_bytes),
                item.policy,
                "; ".join(item.kept_is),
            ]
            for item in plan.remove
        ]
        out.table(columns, rows)
        out.line()
    if plan.delete:
        out.heading("To be deleted")
        for name in plan.delete:
            out.line(Styled(name, "name"))
        out.line()
    result = plan.result
    packs = f"{count(result.deleted_packs, 'pack')} deleted, {result.rewritten_packs} written anew"
    out.line(f"Frees {size(result.freed_bytes)}: {packs}; {size(result.bytes_after)} stay")
    if plan.later_bytes > 0:
        out.line(f"Another {size(plan.later_bytes)} go once all of that has been removed for the grace period")
    _notes(out, result)


def _repack(call: Call, level: str) -> None:
    with call.repository() as repository, call.progress() as progress:
        result = repack(repository, check_compression(level), progress)
    for damaged in result.damaged:
        call.out.warn(damaged)
    call.out.result(result, document=_repack_document, brief=_repack_brief, human=_repack_human)


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
