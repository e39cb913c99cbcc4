"""Asking the cache: what all indexes of logs have in common."""

from __future__ import annotations

import sqlite3
from typing import Any

from mlver.errors import UsageError
from mlver.store.sqlite import CacheConnection, CacheDamaged


class Queries:
    """Queries that raise `CacheDamaged` where the cache cannot be used.

    Args:
        connection: The cache.
    """

    def __init__(self, connection: CacheConnection) -> None:
        self._connection = connection

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._connection.reading():
            return self._execute(sql, values).fetchall()

    def _first(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        with self._connection.reading():
            row: tuple[Any, ...] | None = self._execute(sql, values).fetchone()
        return row

    def _execute(self, sql: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, values)
        except UnicodeEncodeError as error:  # a name from a command line in another encoding
            raise UsageError(f"{error.object!r} is not valid UTF-8.") from error

    def _one(self, sql: str, *values: Any) -> tuple[Any, ...]:
        row = self._first(sql, *values)
        if row is None:
            raise CacheDamaged(sqlite3.DatabaseError("the index lost a row"))
        return row
