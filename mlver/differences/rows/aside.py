"""Rows that are not at the same place on both sides, put aside and brought together by key.

SQLite sorts them, in memory while they are few and in a file that goes away with the process when they are many.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from mlver.differences.rows.change import Row
from mlver.errors import MlverError

_BATCH = 1000
_CACHE_KIB = 32 << 10


class RowsAside:
    """Two heaps of rows, by key."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._connection.execute("PRAGMA journal_mode = OFF")
        for side in (0, 1):
            self._connection.execute(f"CREATE TABLE side_{side} (key BLOB, content TEXT)")
        self._connection.execute("BEGIN")
        self._pending: tuple[list[tuple[bytes, str]], ...] = ([], [])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def put(self, side: int, key: str, row: Row) -> None:
        """Put a row aside: `side` 0 is before, 1 is after.

        Raises:
            MlverError: There is no space for it.
        """
        # A lone surrogate is in a key as good as any.
        self._pending[side].append((key.encode("utf-8", "surrogatepass"), json.dumps(row)))
        if len(self._pending[side]) >= _BATCH:
            self._flush(side)

    def pairs(self) -> Iterator[tuple[str, Row | None, Row | None]]:
        """Yield rows with the same key, in order of keys, then as they were put; None where one side has no more.

        Raises:
            MlverError: There is no space to sort them.
        """
        with _space_told():
            sides = self._sorted(0), self._sorted(1)
            old, new = (next(side, None) for side in sides)
            while old is not None or new is not None:
                key = min(head[0] for head in (old, new) if head is not None)
                before = after = None
                if old is not None and old[0] == key:
                    before, old = json.loads(old[1]), next(sides[0], None)
                if new is not None and new[0] == key:
                    after, new = json.loads(new[1]), next(sides[1], None)
                yield key.decode("utf-8", "surrogatepass"), before, after

    def _sorted(self, side: int) -> Iterator[tuple[bytes, str]]:
        self._flush(side)
        return self._connection.execute(f"SELECT key, content FROM side_{side} ORDER BY key, rowid")

    def _flush(self, side: int) -> None:
        with _space_told():
            self._connection.executemany(f"INSERT INTO side_{side} VALUES (?, ?)", self._pending[side])
        self._pending[side].clear()


@contextmanager
def _space_told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise MlverError(
            f"Rows cannot be sorted: {error}.", "They need space in the folder for temporary files."
        ) from error
