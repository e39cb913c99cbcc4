"""Rows of CSV, JSON Lines and Parquet, one after the other: memory does not grow with the table."""

from __future__ import annotations

import csv
import io
import json
import math
import posixpath
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, BinaryIO

from mlver.differences.rows.change import Row

_LINE_BYTES = 16 << 20
"""The longest line of JSON Lines."""
_MAX_COLUMNS = 10_000
_DELIMITERS = ",;\t|"


class NotATable(Exception):
    """The file holds no rows that could be compared; says why."""


class Table:
    """A table that is read once, from its first row to its last.

    Attributes:
        columns: In order; those that appear later in JSON Lines come when their rows do.
        plain_text: All its values are text: equal ones are the same.
    """

    def __init__(self, columns: list[str], rows: Iterator[Row], *, plain_text: bool = False) -> None:
        self.columns = dict.fromkeys(columns)
        self.plain_text = plain_text
        self._rows = rows

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows that were not read yet.

        Raises:
            NotATable: What comes next is no row.
        """
        for row in self._rows:
            if not row.keys() <= self.columns.keys():
                self.columns.update(dict.fromkeys(row))
                if len(self.columns) > _MAX_COLUMNS:
                    raise NotATable(f"it has more than {_MAX_COLUMNS:,} columns")
            yield row


def is_table(path: str) -> bool:
    """Tell whether a file can be compared by rows, as far as its name tells."""
    return _suffix(path) in _READERS


def read_table(path: str, file: BinaryIO) -> Table:
    """Return the table in a file.

    Args:
        path: Its path, whose suffix tells the format.
        file: Opened for reading; a Parquet file must be seekable.

    Raises:
        NotATable: It is none, or its format needs a package that is not installed.
    """
    return _READERS[_suffix(path)](file)


def _suffix(path: str) -> str:
    return posixpath.splitext(path)[1].lower()


# CSV


def _read_csv(file: BinaryIO) -> Table:
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    try:
        head = text.readline(_LINE_BYTES)
    except UnicodeDecodeError as error:
        raise NotATable("it is no UTF-8") from error
    if not head.strip():
        return Table([], iter(()), plain_text=True)
    delimiter = max(_DELIMITERS, key=head.count)
    rows = csv.reader(chain([head], _lines(text)), delimiter=delimiter, strict=True)
    cells = _cells(rows)
    first = next(cells, [])
    if _is_header(first):
        return Table(first, _named(cells, first, rows), plain_text=True)
    columns = [f"column {number}" for number in range(1, len(first) + 1)]
    return Table(columns, _named(chain([first], cells), columns, rows), plain_text=True)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Yield lines, overlong ones in pieces, which `csv` refuses as overlong cells: 128 KiB is the most."""
    return iter(lambda: text.readline(_LINE_BYTES), "")


def _cells(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    try:
        yield from rows
    except csv.Error as error:
        raise NotATable(str(error)) from error
    except UnicodeDecodeError as error:
        raise NotATable("it is no UTF-8") from error


def _is_header(cells: list[str]) -> bool:
    return len(set(cells)) == len(cells) and not any(map(_is_number, cells))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _named(cells: Iterator[list[str]], columns: list[str], rows: Any) -> Iterator[Row]:
    for row in cells:
        if len(row) == len(columns):
            yield dict(zip(columns, row, strict=True))
        elif row:
            raise NotATable(f"line {rows.line_num} has {len(row)} cells instead of {len(columns)}")


# JSON Lines


def _read_json_lines(file: BinaryIO) -> Table:
    rows = _objects(file)
    first = list(islice(rows, 1))
    return Table(list(first[0]) if first else [], chain(first, rows))


def _objects(file: BinaryIO) -> Iterator[Row]:
    decode = json.JSONDecoder(parse_constant=str, parse_float=_finite).decode
    for number, line in enumerate(iter(lambda: file.readline(_LINE_BYTES), b""), 1):
        if line.isspace():
            continue
        try:
            row = decode(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as error:
            raise NotATable(f"line {number} is no JSON") from error
        if not isinstance(row, dict):
            raise NotATable(f"line {number} is no JSON object")
        yield row


def _finite(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def _read_parquet(file: BinaryIO) -> Table:
    from mlver.differences.rows.parquet import read_parquet

    return read_parquet(file)


_READERS: dict[str, Callable[[BinaryIO], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
