"""`mlver pull`: plan → say what would be overwritten → write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import Revision, path_of
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.cli.text import count, size
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress
from mlver.ops.pull import PullPlan, PullResult, plan_pull, pull

EXAMPLES = (
    Example("mlver pull resnet50_attn:best -o ./serve", "write a version into a folder"),
    Example("mlver pull v4 --path '*.json'", "only some of its files"),
    Example("mlver pull best -o ./serve --dry-run", "see what would be written"),
)

_Target = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Where to; default: ./NAME.", parser=path_of),
]
_Paths = Annotated[list[str], typer.Option("--path", metavar="GLOB", help="Only files that match (gitignore syntax).")]
_Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite files that differ.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


def command(
    call: Call,
    revision: Revision,
    target: _Target = None,
    path: _Paths = [],  # noqa: B006 - typer makes the list anew
    force: _Force = False,
    dry_run: _DryRun = False,
) -> None:
    """Write the files of a version into a folder.

    An absent or empty folder appears whole or not at all, but for the one you are in. In any other, files that differ
    are named and left alone unless --force is given; files that the version does not have are never touched. What is
    missing here comes from a remote.
    """
    with call.repository() as repository, call.progress() as progress:
        elsewhere = _Elsewhere(call, repository, revision)
        plan = plan_pull(repository, revision, target, path)
        if dry_run:
            elsewhere.obtain(plan, progress, dry_run=True)
            call.out.result(plan, document=_plan_document, brief=lambda p: str(p.target), human=_plan)
            return
        if plan.overwrite:
            for entry in plan.overwrite:
                call.out.note(f"{'overwriting' if force else 'would overwrite'} {plan.target / entry.path}")
        if force or not plan.overwrite:
            elsewhere.obtain(plan, progress)
        result = pull(repository, plan, force, progress)
    call.out.result(result, document=_document, brief=lambda done: done.target, human=_human)


class _Elsewhere:
    """What is missing here and comes from a remote; costs nothing in a repository that has none."""

    def __init__(self, call: Call, repository: OpenRepository, revision: str) -> None:
        self._call = call
        self._repository = repository
        self._has_remotes = bool(repository.config.remotes)
        if self._has_remotes:
            from mlver.ops.remotes.receiving import obtain_manifest

            obtain_manifest(repository, repository.resolve(revision).version.id)

    def obtain(self, plan: PullPlan, progress: Progress, *, dry_run: bool = False) -> None:
        """Get the chunks that a plan needs, or only say how much that is."""
        if not self._has_remotes:
            return
        from mlver.ops.remotes.receiving import obtain_files

        received = obtain_files(self._repository, plan, progress, dry_run=dry_run)
        if received.remote is not None:
            verb = "would fetch" if dry_run else "fetched"
            self._call.out.note(f"{verb} {size(received.received_bytes)} from {received.remote}")


def _plan_document(plan: PullPlan) -> dict[str, Any]:
    return {
        "artifact": plan.version.artifact,
        "version": f"v{plan.version.number}",
        "path": str(plan.target),
        "dry_run": True,
        "written": sorted(entry.path for entry in (*plan.write, *plan.overwrite)),
        "overwritten": [entry.path for entry in plan.overwrite],
        "kept": [entry.path for entry in plan.keep],
        "written_bytes": plan.size_bytes,
    }


def _document(result: PullResult) -> dict[str, Any]:
    return {
        "artifact": result.version.artifact,
        "version": f"v{result.version.number}",
        "path": result.target,
        "dry_run": False,
        "written": list(result.written),
        "overwritten": list(result.overwritten),
        "kept": list(result.kept),
        "written_bytes": result.written_bytes,
    }


def _plan(out: Output, plan: PullPlan) -> None:
    for entry in plan.write:
        out.line("write      ", entry.path)
    for entry in plan.overwrite:
        out.line(Styled("overwrite  ", "warning"), entry.path)
    for entry in plan.keep:
        out.line(Styled("keep       ", "muted"), entry.path)


def _human(out: Output, result: PullResult) -> None:
    kept = f", {count(len(result.kept), 'file')} there already" if result.kept else ""
    files = count(len(result.written), "file")
    out.line(
        "Pulled ",
        Styled(result.version.name, "name"),
        f" into {result.target}: {files}, {size(result.written_bytes)}{kept}",
    )
