"""`mlver log`: parse → `mlver.ops.log` → a table of versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.documents import log_document
from mlver.cli.output import Column, Output, Piece
from mlver.cli.style import Styled
from mlver.cli.text import count, size
from mlver.cli.views import age_of, metrics_text
from mlver.history.records import VersionRecord
from mlver.ops.log import LogResult, log, log_all

EXAMPLES = (
    Example("mlver log", "versions of the current artifact"),
    Example("mlver log resnet50_attn -n 5", "the five newest of another"),
    Example("mlver log --metrics", "how each metric went"),
    Example("mlver log --removed", "what mlver restore can bring back"),
    Example("mlver log --all --oneline", "a line for each version of every artifact"),
)

SHOWN = 100
"""Versions shown to people unless they say otherwise; scripts (`--json`, `-q`) get all."""

_Revision = Annotated[
    str | None, typer.Argument(metavar="REF", help="An artifact, or a version to go back from.", show_default=False)
]
_Limit = Annotated[
    int | None, typer.Option("--limit", "-n", metavar="N", min=0, help="At most N versions; 0 is all. People see 100.")
]
_OneLine = Annotated[bool, typer.Option("--oneline", help="A short line for each version.")]
_All = Annotated[bool, typer.Option("--all", help="All artifacts.")]
_Metrics = Annotated[bool, typer.Option("--metrics", help="How each metric went over the versions.")]
_Removed = Annotated[bool, typer.Option("--removed", help="Removed versions too, and which can be restored.")]


def command(
    call: Call,
    revision: _Revision = None,
    limit: _Limit = None,
    oneline: _OneLine = False,
    every: _All = False,
    metrics: _Metrics = False,
    removed: _Removed = False,
) -> None:
    """List the versions of an artifact, newest first."""
    if metrics and oneline:
        raise typer.BadParameter("--metrics and --oneline exclude each other.")
    if every and revision is not None:
        raise typer.BadParameter("--all and REF exclude each other.")
    if limit is None:
        limit = SHOWN if call.out.is_human and not metrics else 0
    with call.repository() as repository:
        if every:
            results = log_all(repository, limit or None, removed=removed)
        else:
            results = [log(repository, revision, limit or None, removed=removed)]
    if metrics:
        from mlver.cli.log_trends import show_trends

        show_trends(call.out, results, every=every)
        return
    call.out.result(
        results,
        document=_document_all if every else lambda found: log_document(found[0]),
        brief=lambda found: [version.name for result in found for version in result.versions],
        human=_oneline if oneline else _tables,
    )


def _document_all(results: Sequence[LogResult]) -> Mapping[str, Any]:
    return {"artifacts": [log_document(result) for result in results]}


def _tables(out: Output, results: Sequence[LogResult]) -> None:
    with out.paged():
        for result in results:
            if len(results) > 1:
                out.heading(f"{result.artifact.name} ({result.artifact.type})")
            _table(out, result)
            if len(results) > 1:
                out.line()
    _say_rest(out, results)


def _table(out: Output, result: LogResult) -> None:
    columns = [
        Column("VERSION"),
        Column("AGE"),
        Column("SIZE", align="right"),
        Column("NEW", align="right"),
        Column("REFERENCES", align="right"),
        Column("ALIASES", elastic=True),
        Column("TAGS", elastic=True),
        Column("METRICS", elastic=True),
        Column("MESSAGE", elastic=True),
    ]
    rows = [_row(version, _removal(result, version)) for version in result.versions]
    used = [position for position in range(len(columns)) if position < 4 or any(row[position] for row in rows)]
    out.table([columns[position] for position in used], [[row[position] for position in used] for row in rows])


def _removal(result: LogResult, version: VersionRecord) -> str | None:
    """Return that a version is removed, and what has become of its content if it is not here."""
    if not version.removed:
        return None
    return {"yes": "removed", "remote": "removed, not here", "no": "removed, gone"}[result.restorable[version.number]]


def _row(version: VersionRecord, removal: str | None) -> list[Piece]:
    name = f"v{version.number}"
    return [
        Styled(f"{name} ({removal})", "muted") if removal else Styled(name, "name"),
        age_of(version),
        size(version.logical_bytes),
        size(version.new_bytes),
        f"{version.reference_count:,} ({size(version.reference_bytes)})" if version.reference_count else "",
        Styled(", ".join(version.aliases), "alias") if version.aliases else "",
        ", ".join(version.tags),
        metrics_text(version.metrics),
        (version.message or "").partition("\n")[0],
    ]


def _oneline(out: Output, results: Sequence[LogResult]) -> None:
    with out.paged():
        for result in results:
            for version in result.versions:
                labels = f" ({', '.join(version.aliases)})" if version.aliases else ""
                message = (version.message or "").partition("\n")[0]
                removal = _removal(result, version)
                pieces: Iterable[Piece] = (
                    Styled(version.name, "name"),
                    Styled(labels, "alias"),
                    f"  {metrics_text(version.metrics)}" if version.metrics else "",
                    f"  {message}" if message else "",
                    f"  [{removal}]" if removal else "",
                )
                out.line(*pieces)
    _say_rest(out, results)


def _say_rest(out: Output, results: Sequence[LogResult]) -> None:
    if not any(result.versions for result in results):
        names = ", ".join(result.artifact.name for result in results)
        out.note(f"{names} has no versions; removed ones are in: mlver log --removed" if names else "No artifacts yet.")
    older = sum(result.older_count for result in results)
    if older:
        out.note(f"{count(older, 'older version')} not shown; -n 0 shows all.")
