"""`query`: one question in SQL, answered from the views and nothing else, without a way to change anything.

It is asked in a thread of its own. SQLite would answer to ^C, or to anything else that ends a command, only when it is
done; so the thread that hears of these waits, and tells it to stop. The same thread sees to time and memory.
"""

from __future__ import annotations

import math
import os
import resource
import sqlite3
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlver.errors import MlverError, UsageError
from mlver.ops.opening import OpenRepository
from mlver.ops.query.snapshot import open_views
from mlver.ops.query.views import VIEWS, close_columns, close_views

DEFAULT_SECONDS = 60.0
MAX_MEMORY_BYTES = 1 << 30
_SECONDS_BETWEEN_LOOKS = 0.02
_SECONDS_TO_STOP = 1.0
_MEMORY = Path("/proc/self/statm")
_MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
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


def query(
    repository: OpenRepository,
    sql: str,
    timeout_seconds: float = DEFAULT_SECONDS,
    memory_bytes: int = MAX_MEMORY_BYTES,
) -> Answer:
    """Answer a question.

    Args:
        repository: The repository.
        sql: One `SELECT`.
        timeout_seconds: How long it may take.
        memory_bytes: How much memory it may take, with its answer.

    Raises:
        UsageError: It is not SQL, or does something else than to read the views.
        MlverError: It takes longer, or more memory.
    """
    asked = _Asked(open_views(repository), sql)
    try:
        asked.start()
        _wait(asked, timeout_seconds, memory_bytes)
    except BaseException:
        asked.stop()
        raise
    return asked.answer()


class _Asked(threading.Thread):
    """A question that is being answered. The connection is closed at its end."""

    def __init__(self, connection: sqlite3.Connection, sql: str) -> None:
        super().__init__(name="mlver-query", daemon=True)  # what cannot be stopped must not keep a process alive
        self._connection = connection
        self._sql = sql
        self._answer: Answer | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        """Ask."""
        try:
            cursor = self._connection.execute(self._sql)
            rows = tuple(tuple(_plain(value) for value in row) for row in cursor)
            self._answer = Answer(tuple(str(column[0]) for column in cursor.description or ()), rows)
        except (sqlite3.Error, sqlite3.Warning, ValueError, MemoryError) as error:
            self._error = error
        finally:
            self._connection.close()

    def stop(self) -> None:
        """Let it end soon: at once, but for a single function that takes long."""
        if self.is_alive():
            try:
                self._connection.interrupt()
            except sqlite3.ProgrammingError:
                return  # it was closed at this very moment
            self.join(_SECONDS_TO_STOP)

    def answer(self) -> Answer:
        """Return what was found.

        Raises:
            UsageError: There is no answer.
        """
        if self._error is not None:
            raise _explained(self._error) from self._error
        assert self._answer is not None
        if not self._answer.columns:
            raise UsageError("There is no query.", "Such as: mlver query 'SELECT * FROM versions'")
        return self._answer


def _wait(asked: _Asked, timeout_seconds: float, memory_bytes: int) -> None:
    deadline = time.monotonic() + timeout_seconds
    limit = _memory_bytes() + memory_bytes
    while True:
        asked.join(_SECONDS_BETWEEN_LOOKS)
        if not asked.is_alive():
            return
        if time.monotonic() > deadline:
            raise MlverError(
                f"The query took more than {timeout_seconds:g} s.", "Ask for less, or give it --timeout SECONDS."
            )
        if _memory_bytes() > limit:
            raise MlverError(
                f"The query took more than {memory_bytes >> 20} MiB of memory.", "Ask for less: LIMIT 1000"
            )


def _memory_bytes() -> int:
    """Return the memory that this process takes; where that is not told, the most that it has taken so far."""
    try:
        return int(_MEMORY.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT_BYTES


def _plain(value: Any) -> Value:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value  # type: ignore[no-any-return]


def _explained(error: Exception) -> MlverError:
    text = str(error).rstrip(".") or "it takes too much memory"
    if "prohibited" in text or "not authorized" in text or "authorization denied" in text:
        return UsageError(f"A query may only read the views: {text}.", f"They are {', '.join(VIEWS)}.")
    kind, _, name = text.rpartition(": ")
    close = close_views(name) if kind == "no such table" else close_columns(name) if kind == "no such column" else ()
    hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else "See: mlver query --schema"
    return UsageError(f"The query is no SQL that can be answered: {text}.", hint)
