"""`export --parquet`: each view as a file, for DuckDB, Spark, Polars or pandas."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlver.errors import MlverError
from mlver.ops.opening import OpenRepository
from mlver.ops.query.snapshot import open_views
from mlver.ops.query.views import VIEWS, View
from mlver.store.failures import storage_error

_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class ExportedTable:
    """A file that was written.

    Attributes:
        view: Which view.
        path: The file.
        row_count: Its rows.
    """

    view: str
    path: str
    row_count: int


def export_parquet(repository: OpenRepository, folder: Path) -> tuple[ExportedTable, ...]:
    """Write every view to a Parquet file in a folder, replacing files of these names.

    Raises:
        MlverError: pyarrow is not installed, or the folder cannot be written.
    """
    try:
        import pyarrow as pa  # type: ignore[import-untyped]  # noqa: F401 - before anything is made
    except ImportError as error:
        raise MlverError(
            "Parquet needs pyarrow, which is not installed.", "Install it: pip install 'mlver[tables]'"
        ) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with closing(open_views(repository)) as connection:
            return tuple(_write(connection, folder, name, view) for name, view in VIEWS.items())
    except OSError as error:
        raise storage_error(error, "write", str(folder)) from error


def _write(connection: sqlite3.Connection, folder: Path, name: str, view: View) -> ExportedTable:
    from pyarrow import parquet

    path, temporary = folder / f"{name}.parquet", folder / f".{name}.parquet.part"
    schema = _schema(view)
    rows = connection.execute(f"SELECT * FROM {name}")
    row_count = 0
    try:
        with parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
            while batch := rows.fetchmany(_ROWS_AT_ONCE):
                writer.write_table(_table(view, schema, batch))
                row_count += len(batch)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return ExportedTable(name, str(path), row_count)


def _schema(view: View) -> Any:
    import pyarrow as pa

    kinds = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "any": pa.string()}
    return pa.schema([pa.field(column, kinds[kind]) for column, kind, _ in view.columns])


def _table(view: View, schema: Any, rows: Sequence[tuple[Any, ...]]) -> Any:
    import pyarrow as pa

    columns = zip(*rows, strict=True)
    converted = [
        [_converted(value, kind) for value in column]
        for column, (_, kind, _) in zip(columns, view.columns, strict=True)
    ]
    return pa.table(converted, schema=schema)


def _converted(value: Any, kind: str) -> Any:
    """Return a value as its column has it: JSON may hold anything where a person put it."""
    if value is None:
        return None
    if kind in ("text", "any"):
        return str(value)
    try:
        return int(value) if kind == "integer" else float(value)
    except (ValueError, OverflowError):
        return None
