"""`query`: one question in SQL, answered from the views and nothing else, without a way to change anything.

The connection is one of its own that the file system itself lets read only; what a statement may do is decided by
SQLite's authorizer while it is prepared, and how long it may take by a clock.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from mlver.errors import MlverError, UsageError
from mlver.ops.opening import INDEX_NAME, OpenRepository
from mlver.ops.query.views import VIEWS

DEFAULT_SECONDS = 60.0
_STEPS_BETWEEN_LOOKS = 20_000
_MAX_VALUE_BYTES = 64 << 20
_FORBIDDEN_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer"})
_FUNCTION_TABLES = ("json_each", "json_tree")
Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query found.

    Attributes:
        columns: Their names, in order.
        rows: Their values; what SQLite keeps as bytes is hex text.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]


def query(repository: OpenRepository, sql: str, timeout_seconds: float = DEFAULT_SECONDS) -> Answer:
    """Answer a question.

    Args:
        repository: The repository.
        sql: One `SELECT`.
        timeout_seconds: How long it may take.

    Raises:
        UsageError: It is not SQL, or does something else than to read the views.
        MlverError: It takes longer.
    """
    with views(repository, timeout_seconds) as connection:
        return ask(connection, sql, timeout_seconds)


@contextmanager
def views(repository: OpenRepository, timeout_seconds: float = DEFAULT_SECONDS) -> Iterator[sqlite3.Connection]:
    """Open the views, up to date, for `ask`."""
    repository.index.refresh()
    with closing(_connect(repository)) as connection:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
        for name, view in VIEWS.items():
            connection.execute(f"CREATE TEMP VIEW {name} AS {view.sql}")
        connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')")  # made now: it is not allowed later
        connection.set_authorizer(_authorize)
        deadline = time.monotonic() + timeout_seconds
        connection.set_progress_handler(lambda: int(time.monotonic() > deadline), _STEPS_BETWEEN_LOOKS)
        yield connection


def ask(connection: sqlite3.Connection, sql: str, timeout_seconds: float = DEFAULT_SECONDS) -> Answer:
    """Answer a question on open views; see `query`."""
    try:
        cursor = connection.execute(sql)
        rows = tuple(tuple(_plain(value) for value in row) for row in cursor)
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        raise _explained(error, timeout_seconds) from error
    return Answer(tuple(str(column[0]) for column in cursor.description or ()), rows)


def _connect(repository: OpenRepository) -> sqlite3.Connection:
    """Open the cache to read only; where it is in memory, since the file cannot be used, a copy of it."""
    file = repository.cache.execute("PRAGMA database_list").fetchone()[2]
    if file:
        address = f"file:{quote(str(repository.root / INDEX_NAME))}?mode=ro"
        return sqlite3.connect(address, uri=True, isolation_level=None, timeout=10)
    copy = sqlite3.connect(":memory:", isolation_level=None)
    repository.cache.backup(copy)
    return copy


def _authorize(action: int, first: str | None, second: str | None, schema: str | None, source: str | None) -> int:
    """Say whether a statement may do something: read a view, or (within a view) what it is made of."""
    if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if second in _FORBIDDEN_FUNCTIONS else sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_READ:
        if not second:  # no column of it: only how many rows it has
            return sqlite3.SQLITE_OK
        is_ours = source in VIEWS or (first in VIEWS and schema == "temp")
        is_table = schema in ("main", "temp") and first not in _FUNCTION_TABLES
        return sqlite3.SQLITE_OK if is_ours or not is_table else sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_DENY


def _plain(value: Any) -> Value:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value  # type: ignore[no-any-return]


def _explained(error: Exception, timeout_seconds: float) -> MlverError:
    text = str(error)
    if "interrupted" in text:
        return MlverError(f"The query took more than {timeout_seconds:g} s.", "Ask for less, or give it --timeout.")
    if "prohibited" in text or "not authorized" in text:
        return UsageError(f"A query may only read the views: {text}.", f"They are {', '.join(VIEWS)}.")
    hint = f"The views are {', '.join(VIEWS)}." if "no such table" in text else None
    if "no such column" in text:
        hint = "See: mlver query --schema"
    return UsageError(f"The query is no SQL that can be answered: {text}.", hint)
