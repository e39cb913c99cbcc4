"""What queries read: a copy of the tables behind the views, in memory.

Nobody waits for a query because of it: a lock on the cache that lasts as long as somebody's question would keep every
other process from writing what it folds. And whatever a query might do, it would do it to the copy.
"""

from __future__ import annotations

import sqlite3

from mlver.history.tables import SCHEMA
from mlver.ops.opening import OpenRepository
from mlver.ops.query.views import TABLES, VIEWS

_MAX_VALUE_BYTES = 64 << 20
_FORBIDDEN_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer"})
_FUNCTION_TABLES = ("json_each", "json_tree")


def open_views(repository: OpenRepository) -> sqlite3.Connection:
    """Return a connection that can read the views as of now, and do nothing else. Any thread may use it.

    Raises:
        CacheDamaged: The cache failed.
    """
    repository.index.refresh()
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
        connection.executescript(SCHEMA)
        _copy(repository, connection)
        for name, view in VIEWS.items():
            connection.execute(f"CREATE TEMP VIEW {name} AS {view.sql}")
        connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')")  # made now: it is not allowed later
        connection.set_authorizer(_authorize)
    except BaseException:
        connection.close()
        raise
    return connection


def _copy(repository: OpenRepository, connection: sqlite3.Connection) -> None:
    """Copy the tables as they are at one moment."""
    cache = repository.cache
    connection.execute("BEGIN")
    with cache.reading():
        cache.execute("BEGIN")
        try:
            for name in TABLES:
                connection.execute(f"DELETE FROM {name}")
                rows = cache.execute(f"SELECT * FROM {name}")
                places = ", ".join("?" * len(rows.description))
                connection.executemany(f"INSERT INTO {name} VALUES ({places})", rows)
        finally:
            cache.execute("ROLLBACK")
    connection.execute("COMMIT")


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
