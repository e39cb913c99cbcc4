"""`mlver fetch`: parse → `mlver.ops.remotes.fetch` → say what is new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.cli.text import count
from mlver.ops.remotes.fetch import ArtifactNews, FetchResult, fetch

EXAMPLES = (
    Example("mlver fetch", "learn what the others pushed"),
    Example("mlver fetch --dry-run", "see what is new, and change nothing here"),
)

_Remote = Annotated[str | None, typer.Argument(metavar="REMOTE", help="Where from; default: origin.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what is new.")]


def command(call: Call, remote: _Remote = None, dry_run: _DryRun = False) -> None:
    """Learn what is new at a remote: versions, aliases, tags, notes; no weights.

    `mlver pull` gets the weights of a version. Versions of yours that were not pushed come after those that are new,
    under new numbers if need be.
    """
    with call.repository() as repository:
        result = fetch(repository, remote, dry_run)
    for notice in notices_of(result):
        call.out.warn(notice)
    call.out.result(result, document=_document, brief=_brief, human=_human)


def notices_of(result: FetchResult) -> list[str]:
    """Return all that was left out, and why."""
    return [*result.notices, *(notice for news in result.artifacts for notice in news.notices)]


def _document(result: FetchResult) -> dict[str, Any]:
    return {
        "remote": result.remote,
        "url": result.url,
        "dry_run": result.dry_run,
        "requests": result.requests,
        "artifacts": _artifact_documents(result.artifacts),
        "runs": result.run_count,
        "notices": list(result.notices),
    }


def _artifact_documents(artifacts: Sequence[ArtifactNews]) -> list[dict[str, Any]]:
    return [
        {
            "artifact": news.artifact,
            "event_count": news.event_count,
            "versions": [f"v{number}" for number in news.versions],
            "renumbered": [{"from": f"v{old}", "to": f"v{new}"} for old, new in news.renumbered],
            "notices": list(news.notices),
        }
        for news in artifacts
    ]


def _brief(result: FetchResult) -> list[str]:
    return [f"{news.artifact}:v{number}" for news in result.artifacts for number in news.versions]


def _human(out: Output, result: FetchResult) -> None:
    if not result.artifacts and not result.run_count:
        out.line(f"There is nothing new at {result.remote}.")
    for news in result.artifacts:
        what = _range(news.versions) if news.versions else count(news.event_count, "change")
        out.line(Styled(news.artifact, "name"), f": {what}")
        for old, new in news.renumbered:
            out.line(f"  your v{old} is now ", Styled(f"v{new}", "name"), ": someone else's version was first")
    if result.run_count:
        out.line(f"News of {count(result.run_count, 'run')}")


def _range(versions: Sequence[int]) -> str:
    named = f"v{versions[0]}" if len(versions) == 1 else f"v{min(versions)} to v{max(versions)}"
    return f"{count(len(versions), 'new version')}, {named}"
