"""`mlver rm`: mark versions removed."""

from __future__ import annotations

from typing import Annotated, Any

import click
import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.cli.text import count, size
from mlver.ops.removal import RemoveResult, WholeArtifact, remove, whole_artifact, would_remove

EXAMPLES = (
    Example("mlver rm v3", "remove a version; mlver undo takes it back"),
    Example("mlver rm v4 --force", "also one that bears an alias"),
    Example("mlver rm resnet50_attn --all", "all versions of an artifact"),
    Example("mlver rm resnet50_attn --all --dry-run", "see before what they take"),
)

_Revisions = Annotated[list[str], typer.Argument(metavar="REF...", help="Versions.", show_default=False)]
_Force = Annotated[bool, typer.Option("--force", "-f", help="Drop the aliases that protect them, too.")]
_All = Annotated[bool, typer.Option("--all", help="All versions of the artifact that REF names.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")]


def command(
    call: Call, revisions: _Revisions, force: _Force = False, every: _All = False, dry_run: _DryRun = False
) -> None:
    """Remove versions; their numbers are never used again.

    They leave the log, but nothing is deleted: mlver restore and mlver undo bring them back until mlver gc deletes
    their content. A version that bears an alias is protected. --all says first how many versions they are, and what
    they take.
    """
    if every and len(revisions) > 1:
        raise click.UsageError("--all is for one artifact at a time.", ctx=call)
    whole: WholeArtifact | None = None
    with call.repository() as repository:
        if every:
            whole = whole_artifact(repository, revisions[0])
            call.out.note(_announcement(whole))
        wanted = whole.revisions if whole else tuple(revisions)
        result = (would_remove if dry_run else remove)(repository, wanted, force)
    for alias in result.dropped_aliases:
        call.out.warn(
            f"The alias {alias} {'would go' if dry_run else 'is gone'}: the version that it named is removed."
        )

    def human(out: Output, done: RemoveResult) -> None:
        _human(out, done, whole, dry_run)

    def document(done: RemoveResult) -> dict[str, Any]:
        return _document(done, whole, dry_run)

    call.out.result(result, document=document, brief=lambda done: list(done.removed), human=human)


def _announcement(whole: WholeArtifact) -> str:
    return (
        f"{whole.artifact} has {count(len(whole.revisions), 'version')}: {size(whole.usage.logical_bytes)} of files, "
        f"stored in {size(whole.usage.stored_bytes)}, of which nothing else uses {size(whole.usage.exclusive_bytes)}."
    )


def _document(result: RemoveResult, whole: WholeArtifact | None, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "removed": list(result.removed),
        "dropped_aliases": list(result.dropped_aliases),
        "version_count": len(result.removed),
        "logical_bytes": whole.usage.logical_bytes if whole else None,
        "exclusive_bytes": whole.usage.exclusive_bytes if whole else None,
    }


def _human(out: Output, result: RemoveResult, whole: WholeArtifact | None, dry_run: bool) -> None:
    for name in result.removed:
        out.line("Would remove " if dry_run else "Removed ", Styled(name, "name"))
    if dry_run or not result.removed:
        return
    if result.dropped_aliases or whole is not None:
        artifact = result.removed[0].partition(":")[0]
        out.hint(f"Take it back, with its aliases, with: mlver undo --artifact {artifact}")
    else:
        out.hint(f"Take it back with: mlver restore {' '.join(result.removed)}")
