"""`mlver query`: SQL over what the logs say."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Column, Mode, Output
from mlver.cli.style import Styled
from mlver.cli.text import escape, number
from mlver.errors import UsageError
from mlver.ops.query.query import DEFAULT_SECONDS, Answer, query
from mlver.ops.query.views import VIEWS, View

EXAMPLES = (
    Example("mlver query --schema", "list the views and their columns"),
    Example("mlver query \"SELECT version, value FROM metrics WHERE metric = 'val_acc' ORDER BY value DESC\"", "rank"),
    Example("mlver query --csv 'SELECT * FROM runs' > runs.csv", "take it elsewhere"),
    Example("mlver query - < question.sql", "read the question from a file"),
)

_Sql = Annotated[
    str | None, typer.Argument(metavar="SQL", help="One SELECT; - reads it from stdin.", show_default=False)
]
_Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
_Schema = Annotated[bool, typer.Option("--schema", help="List the views and their columns.")]
_Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long it may take.")]


def command(
    call: Call, sql: _Sql = None, csv: _Csv = False, schema: _Schema = False, timeout: _Timeout = DEFAULT_SECONDS
) -> None:
    """Ask in SQL: versions, metrics, aliases, tags, runs.

    It is SQLite's SQL over views of what the logs say, and can only read. -q prints values separated by tabs.
    """
    if schema == (sql is not None):
        raise UsageError("Give one query, or --schema.", "Such as: mlver query 'SELECT * FROM versions'")
    if schema:
        call.out.result(VIEWS, document=_schema_document, brief=list, human=_schema_shown)
        return
    text = sys.stdin.read() if sql == "-" else sql
    with call.repository() as repository:
        answer = query(repository, text or "", timeout)
    if call.out.mode is Mode.QUIET or (csv and call.out.is_human):
        (_write_csv if csv else _write_tabs)(call.out, answer)
        return
    call.out.result(answer, document=_document, brief=lambda _: (), human=_table)


def _document(answer: Answer) -> dict[str, Any]:
    return {"columns": list(answer.columns), "rows": [list(row) for row in answer.rows]}


def _table(out: Output, answer: Answer) -> None:
    if not answer.rows:
        out.note("No rows.")
    rows = [["" if value is None else _shown(value) for value in row] for row in answer.rows]
    out.table([Column(column) for column in answer.columns], rows)


def _shown(value: str | float) -> str:
    return value if isinstance(value, str) else number(value)


def _write_tabs(out: Output, answer: Answer) -> None:
    """Write rows with tabs between their values, which have none themselves."""
    lines = ("\t".join("" if value is None else escape(str(value)) for value in row) for row in answer.rows)
    out.binary.write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))


def _write_csv(out: Output, answer: Answer) -> None:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(answer.columns)
    writer.writerows(answer.rows)
    out.binary.write(text.getvalue().encode("utf-8", "backslashreplace"))


def _schema_document(views: Mapping[str, View]) -> dict[str, Any]:
    return {
        "views": [
            {
                "name": name,
                "meaning": view.meaning,
                "columns": [
                    {"name": column, "type": kind, "meaning": meaning} for column, kind, meaning in view.columns
                ],
            }
            for name, view in views.items()
        ]
    }


def _schema_shown(out: Output, views: Mapping[str, View]) -> None:
    for name, view in views.items():
        out.line(Styled(name, "heading"), f": {view.meaning}")
        out.fields((f"  {column}", f"{kind}: {meaning}") for column, kind, meaning in view.columns)
