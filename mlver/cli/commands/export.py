"""`mlver export`: versions and runs in the words of other tools."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import OptionalRevision, path_of
from mlver.cli.output import Column, Output, Piece
from mlver.cli.style import Styled
from mlver.cli.text import count
from mlver.errors import UsageError
from mlver.ops.exchange.exchange import ExportFormat, export
from mlver.ops.query.parquet import ExportedTable, export_parquet
from mlver.store.failures import storage_error

EXAMPLES = (
    Example("mlver export --parquet tables/", "all versions, metrics, aliases and runs, for DuckDB, Spark or pandas"),
    Example("mlver export --format openlineage > events.jsonl", "all runs, an event a line"),
    Example("mlver export data:v3 --format croissant -o data/croissant.json", "a dataset, for loaders"),
    Example("mlver export best --format ro-crate -o out/ro-crate-metadata.json", "a version, and how it was made"),
)

_Format = Annotated[
    ExportFormat | None, typer.Option("--format", metavar="FORMAT", help="openlineage, croissant or ro-crate.")
]
_Parquet = Annotated[
    Path | None, typer.Option("--parquet", metavar="DIR", help="Write the tables of mlver query.", parser=path_of)
]
_Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; default: stdout.", parser=path_of)
]


def command(
    call: Call,
    revision: OptionalRevision = None,
    export_format: _Format = None,
    parquet: _Parquet = None,
    output: _Output = None,
) -> None:
    """Write what is known of versions and runs for other tools.

    Croissant and RO-Crate describe one version, by default the latest, with SHA-256 digests of its files, which are
    read for that. OpenLineage has all runs.
    """
    if (export_format is None) == (parquet is None):
        raise UsageError("Say what to write: --format FORMAT or --parquet DIR.")
    if parquet is not None:
        if revision is not None or output is not None:
            raise UsageError("--parquet writes all tables into its folder; give neither a version nor -o.")
        with call.repository() as repository:
            tables = export_parquet(repository, parquet)
        call.out.result(tables, document=_tables_document, brief=lambda found: [t.path for t in found], human=_tables)
        return
    assert export_format is not None
    with call.repository() as repository, call.progress() as progress:
        documents = export(repository, export_format, revision, progress)
    if output is not None:
        _write(output, _text(documents))
    exported = _Exported(export_format, output, documents)
    call.out.result(exported, document=_document, brief=_brief, human=_human)


class _Exported(NamedTuple):
    format: str
    path: Path | None
    documents: list[dict[str, Any]]


def _text(documents: list[dict[str, Any]]) -> str:
    if len(documents) == 1:
        return json.dumps(documents[0], indent=2, allow_nan=False) + "\n"
    return "".join(json.dumps(document, allow_nan=False) + "\n" for document in documents)


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text, "utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise storage_error(error, "write", str(path)) from error


def _document(exported: _Exported) -> dict[str, Any]:
    path = None if exported.path is None else str(exported.path.absolute())
    return {"format": exported.format, "path": path, "documents": exported.documents}


def _brief(exported: _Exported) -> list[str]:
    return [str(exported.path)] if exported.path is not None else _text(exported.documents).splitlines()


def _human(out: Output, exported: _Exported) -> None:
    if exported.path is None:
        out.binary.write(_text(exported.documents).encode())
        return
    out.line("Wrote ", Styled(str(exported.path), "name"), f": {count(len(exported.documents), 'document')}")


def _tables_document(tables: tuple[ExportedTable, ...]) -> dict[str, Any]:
    return {"tables": [{"view": each.view, "path": each.path, "row_count": each.row_count} for each in tables]}


def _tables(out: Output, tables: tuple[ExportedTable, ...]) -> None:
    rows: list[list[Piece]] = [[each.view, str(each.row_count), Styled(each.path, "name")] for each in tables]
    out.table([Column("TABLE"), Column("ROWS", "right"), Column("FILE")], rows)
