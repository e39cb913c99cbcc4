"""`mlver push`: parse → `mlver.ops.remotes.push` → say what travelled."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.cli.text import count, size
from mlver.ops.remotes.push import PushResult, push

EXAMPLES = (
    Example("mlver push", "everything that the remote does not have"),
    Example("mlver push resnet50_attn:v4", "one artifact, up to a version"),
    Example("mlver push --dry-run", "see what would travel"),
)

_Revisions = Annotated[
    list[str] | None, typer.Argument(metavar="[REF]...", help="Versions; default: everything.", show_default=False)
]
_Remote = Annotated[str | None, typer.Option("--remote", metavar="REMOTE", help="Where to; default: origin.")]
_Force = Annotated[bool, typer.Option("--force", "-f", help="Move aliases that someone else moved meanwhile.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would travel.")]


def command(
    call: Call,
    revisions: _Revisions = None,
    remote: _Remote = None,
    force: _Force = False,
    dry_run: _DryRun = False,
) -> None:
    """Send what a remote does not have yet.

    With a version go those before it. If someone else pushed a version of the same number first, yours gets the next
    one, here too. What was sent before an interruption is not sent again.
    """
    with call.repository() as repository, call.progress() as progress:
        result = push(repository, revisions or (), remote, force, dry_run, progress)
    for notice in result.notices:
        call.out.warn(notice)
    for pushed in result.artifacts:
        for notice in pushed.notices:
            call.out.warn(notice)
    call.out.result(result, document=_document, brief=_brief, human=_human)


def _document(result: PushResult) -> dict[str, Any]:
    return {
        "remote": result.remote,
        "url": result.url,
        "dry_run": result.dry_run,
        "sent_bytes": result.sent_bytes,
        "sent_chunks": result.sent_chunks,
        "requests": result.requests,
        "artifacts": [
            {
                "artifact": pushed.artifact,
                "event_count": pushed.event_count,
                "versions": [f"v{number}" for number in pushed.versions],
                "renumbered": [{"from": f"v{old}", "to": f"v{new}"} for old, new in pushed.renumbered],
                "notices": list(pushed.notices),
            }
            for pushed in result.artifacts
        ],
        "runs": result.run_count,
        "notices": list(result.notices),
    }


def _brief(result: PushResult) -> list[str]:
    return [f"{pushed.artifact}:v{number}" for pushed in result.artifacts for number in pushed.versions]


def _human(out: Output, result: PushResult) -> None:
    if not result.artifacts and not result.sent_chunks and not result.run_count:
        out.line(f"There is nothing to push: {result.remote} has everything.")
        return
    for pushed in result.artifacts:
        for old, new in pushed.renumbered:
            out.line(
                Styled(f"{pushed.artifact}:v{old}", "muted"),
                " is now ",
                Styled(f"{pushed.artifact}:v{new}", "name"),
                ": someone else's version was first",
            )
    versions = sum(len(pushed.versions) for pushed in result.artifacts)
    changes = sum(pushed.event_count for pushed in result.artifacts)
    runs = count(result.run_count, "run") if result.run_count else ""
    changed = count(versions, "version") if versions else count(changes, "change") if changes or not runs else ""
    what = " and ".join(filter(None, (changed, runs)))
    verb = "Would push" if result.dry_run else "Pushed"
    out.line(f"{verb} {what} to ", Styled(result.remote, "name"), f": {size(result.sent_bytes)}")
