"""`export --parquet`: each view as a file, for DuckDB, Spark, Polars or pandas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlver.errors import MlverError
from mlver.ops.opening import OpenRepository
from mlver.ops.query.query import Answer, ask, views
from mlver.ops.query.views import VIEWS, View
from mlver.store.failures import storage_error

_SECONDS = 600.0


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
        from pyarrow import parquet  # type: ignore[import-untyped]
    except ImportError as error:
        raise MlverError(
            "Parquet needs pyarrow, which is not installed.", "Install it: pip install 'mlver[tables]'"
        ) from error
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with views(repository, _SECONDS) as connection:
            for name, view in VIEWS.items():
                path = folder / f"{name}.parquet"
                temporary = folder / f".{name}.parquet.part"
                answer = ask(connection, f"SELECT * FROM {name}", _SECONDS)
                parquet.write_table(_table(view, answer), temporary, compression="zstd")
                temporary.replace(path)
                written.append(ExportedTable(name, str(path), len(answer.rows)))
    except OSError as error:
        raise storage_error(error, "write", str(folder)) from error
    return tuple(written)


def _table(view: View, answer: Answer) -> Any:
    import pyarrow as pa

    kinds = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "any": pa.string()}
    columns: list[Any] = []
    for position, (_, kind, _) in enumerate(view.columns):
        values = [row[position] for row in answer.rows]
        columns.append(pa.array([_converted(value, kind) for value in values], kinds[kind]))
    return pa.table(columns, names=list(answer.columns))


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
