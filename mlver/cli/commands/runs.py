"""`mlver runs`: parse → `mlver.ops.runs.listing` → a table of runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Column, Output, Piece
from mlver.cli.run_documents import run_document
from mlver.cli.run_views import status_piece
from mlver.cli.style import Styled
from mlver.cli.text import count, duration, number
from mlver.cli.views import age_since
from mlver.history.records import RunRecord
from mlver.ops.runs.listing import RunList, list_runs

EXAMPLES = (
    Example("mlver runs", "all runs, the newest first"),
    Example("mlver runs --filter 'config.lr < 0.01 and val_acc > 0.9' --sort -val_acc", "find the good ones"),
    Example("mlver runs --columns config.lr,val_acc,metrics.loss.min -n 5", "choose what is shown"),
    Example('mlver runs --filter \'job_type == "train" and status != "finished"\'', "trainings that went wrong"),
)

SHOWN = 100
"""Runs shown to people unless they say otherwise; scripts (`--json`, `-q`) get all."""

_NARROWER = ("MADE", "JOB TYPE", "CONFIG")
"""What is left out first where a terminal has no room for all."""
T = TypeVar("T")

_Filter = Annotated[str | None, typer.Option("--filter", metavar="EXPR", help="Only runs for which this holds.")]
_Sort = Annotated[
    str | None, typer.Option("--sort", metavar="EXPR", help="Least first; with a - before it, greatest first.")
]
_Columns = Annotated[
    str | None,
    typer.Option("--columns", metavar="EXPR,...", help="What is shown of each run beside its id and name."),
]
_Limit = Annotated[
    int | None, typer.Option("--limit", "-n", metavar="N", min=0, help="At most N runs; 0 is all. People see 100.")
]


def command(
    call: Call, condition: _Filter = None, sort: _Sort = None, columns: _Columns = None, limit: _Limit = None
) -> None:
    """List runs, and find some by their settings and metrics.

    In expressions, val_acc is the last value of a metric (metrics.val_acc.max and .min the others), config.lr a
    setting, code.commit what the code was; id, name, job_type, status, started_at, started_by, duration_seconds and
    exit_code are the run's own. What a run does not have is null, which no comparison holds of.
    """
    if limit is None:
        limit = SHOWN if call.out.is_human else 0
    chosen = _split(columns) if columns is not None else []
    with call.repository() as repository:
        found = list_runs(repository, condition=condition, sort=sort, columns=chosen, limit=limit or None)
    call.out.result(found, document=_document, brief=lambda found: [run.id for run in found.runs], human=_human)


def _split(columns: str) -> list[str]:
    """Return the columns of a list; commas within parentheses, quotes and backquotes do not part them."""
    parts, depth, quote = [""], 0, ""
    for char in columns:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"`":
            quote = char
        depth += {"(": 1, ")": -1}.get(char, 0) if not quote else 0
        if char == "," and not quote and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts if part.strip()]


def _document(found: RunList) -> dict[str, Any]:
    return {
        "runs": [run_document(run) for run in found.runs],
        "columns": [
            {"name": shown.title, "values": [_finite(value) for value in shown.values]} for shown in found.shown
        ],
        "left_out_count": found.left_out_count,
    }


def _finite(value: Any) -> Any:
    """Return a value as JSON has it: no infinities."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _human(out: Output, found: RunList) -> None:
    with out.paged():
        if found.shown:
            _chosen_table(out, found)
        else:
            _table(out, found.runs)
    if not found.runs:
        out.note("There are no such runs." if found.left_out_count == 0 else "No runs asked for.")
        out.hint("Record one with: mlver run -- COMMAND")
    elif found.left_out_count:
        out.note(f"{count(found.left_out_count, 'more run')} not shown; -n 0 shows all.")


def _chosen_table(out: Output, found: RunList) -> None:
    columns = [Column("RUN"), Column("NAME", elastic=True)]
    columns += [Column(shown.title, align="right") for shown in found.shown]
    rows: list[list[Piece]] = [
        [Styled(run.id[:8], "name"), run.name or "", *(_cell(shown.values[position]) for shown in found.shown)]
        for position, run in enumerate(found.runs)
    ]
    out.table(columns, rows)


def _cell(value: Any) -> str:
    return "" if value is None else number(value)


def _table(out: Output, runs: Sequence[RunRecord]) -> None:
    columns = [
        Column("RUN"),
        Column("STATUS"),
        Column("AGE"),
        Column("TOOK", align="right"),
        Column("NAME", elastic=True),
        Column("JOB TYPE"),
        Column("CONFIG", elastic=True),
        Column("METRICS", elastic=True),
        Column("MADE", elastic=True),
    ]
    rows = [_row(run) for run in runs]
    used = [position for position in range(len(columns)) if position < 4 or any(row[position] for row in rows)]
    left_out = []
    for title in _NARROWER:
        if not out.is_too_wide(_chosen(columns, used), [_chosen(row, used) for row in rows]):
            break
        left_out += [title for position in used if columns[position].title == title]
        used = [position for position in used if columns[position].title != title]
    out.table(_chosen(columns, used), [_chosen(row, used) for row in rows])
    if left_out:
        out.note(f"The terminal is too narrow for {', '.join(left_out)}: see mlver show RUN, or choose --columns.")


def _chosen(items: Sequence[T], positions: Sequence[int]) -> list[T]:
    return [items[position] for position in positions]


def _row(run: RunRecord) -> list[Piece]:
    last = [(name, summary.last) for name, summary in sorted(run.metrics.items()) if summary.last is not None]
    return [
        Styled(run.id[:8], "name"),
        status_piece(run.status),
        age_since(run.started_at),
        "" if run.duration_seconds is None else duration(run.duration_seconds),
        run.name or "",
        run.job_type or "",
        " ".join(f"{key}={number(value)}" for key, value in sorted(run.config.items())),
        " ".join(f"{name}={number(value)}" for name, value in last),
        " ".join(output.name for output in run.outputs),
    ]
