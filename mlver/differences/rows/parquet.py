"""Rows of a Parquet file, through pyarrow: the one format here that the standard library does not know."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import import_module
from typing import Any, BinaryIO

from mlver.differences.rows.change import Row
from mlver.differences.rows.readers import NotATable, Table
from mlver.digests import blake3_hex

_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 8192


def read_parquet(file: BinaryIO) -> Table:
    """Return the table in a Parquet file; times are ISO 8601 text, bytes a digest, NaN and infinities text.

    Args:
        file: Opened for reading, seekable.

    Raises:
        NotATable: It is none, or pyarrow is not installed.
    """
    try:
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise NotATable("it needs the package pyarrow: pip install 'mlver[tables]'") from error
    failures = (import_module("pyarrow").ArrowException, OSError)
    try:
        # Reading ahead would keep what was read of every row group: memory would grow with the file.
        opened = parquet.ParquetFile(file, pre_buffer=False)
        columns = list(opened.schema_arrow.names)
    except failures as error:
        raise NotATable("it is no Parquet") from error
    return Table(columns, _rows(opened, failures))


def _rows(opened: Any, failures: tuple[type[Exception], ...]) -> Iterator[Row]:
    batches = opened.iter_batches(batch_size=_batch_rows(opened.metadata))
    while True:
        try:
            rows = next(batches).to_pylist()
        except StopIteration:
            return
        except failures as error:
            raise NotATable("its Parquet is damaged") from error
        for row in rows:
            yield {name: _plain(value) for name, value in row.items()}


def _batch_rows(metadata: Any) -> int:
    """Return how many rows are some MiB: those of images are few."""
    whole: int = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    rows: int = metadata.num_rows
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES * rows // max(1, whole)))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return _leaf(value)


def _leaf(value: Any) -> float | str:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return f"{len(value)} bytes, blake3 {blake3_hex(value)[:16]}"
    return str(value.isoformat() if hasattr(value, "isoformat") else value)
