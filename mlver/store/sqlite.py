"""The cache file: one SQLite database for everything that can be rebuilt from packs, manifests and events.

Nothing in it is the truth, so nothing that goes wrong with it may stop a command: a damaged file is thrown away, one
that cannot be used (no locks, no space, read-only media) is replaced by memory for this run. Each room brings its own
tables. The journal is a rollback journal: WAL needs shared memory, which network file systems do not have.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_BUSY_SECONDS = 10.0
_DAMAGE = frozenset(
    {None, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH}
)
"""Codes that tell of a bad file: `no such table` has `SQLITE_ERROR`, and text that is not UTF-8 has none."""

_FAILURES = (sqlite3.Error, UnicodeDecodeError)
"""A damaged file may have letters in its tables' names that are none, and SQLite quotes them."""


class CacheDamaged(Exception):
    """The cache cannot be used any more: call `reopen_cache`, rebuild what is needed, and go on. Once.

    Attributes:
        by_content: The file itself is bad, rather than the disk or file system it is on.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.by_content = _is_damage(error)


class CacheConnection(sqlite3.Connection):
    """A connection in autocommit mode that threads and rooms may share, one transaction at a time.

    Attributes:
        lock: Held during each transaction; hold it around statements that must not fall into another one's.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.lock = threading.RLock()

    def __del__(self) -> None:
        """Close a cache that was dropped open: scripts and notebooks seldom close what they opened."""
        with suppress(sqlite3.Error):
            self.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Run queries by themselves.

        Raises:
            CacheDamaged: SQLite failed.
        """
        with self.lock, _damage_told():
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run statements as one: all of them hold, or none. Other processes are waited for at the start.

        Raises:
            CacheDamaged: SQLite failed; nothing was changed.
        """
        with self.lock, _damage_told():
            self.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self.execute("ROLLBACK")
                raise


def open_cache(path: Path | None, schemas: Sequence[str]) -> CacheConnection:
    """Open the cache, new and empty where there is none, it is damaged, or it has other tables than these.

    Args:
        path: The database file; None for one in memory.
        schemas: `CREATE` statements of each room. Every caller of one file passes the same ones in the same order.

    Returns:
        A connection to the file, or to memory when the file cannot be used. It never fails.
    """
    if path is not None:
        if path.is_symlink():  # which leads to a database of someone else's, whose tables would be dropped
            return _replace(path, schemas, OSError("it is a link"))
        try:
            return _open_file(path, schemas)
        except _FAILURES as error:
            if not _is_damage(error):
                return _in_memory(path, schemas, error)
            return _replace(path, schemas, error)
    return _connect(":memory:", schemas, _BUSY_SECONDS)


def reopen_cache(
    connection: CacheConnection, damage: CacheDamaged, path: Path | None, schemas: Sequence[str]
) -> CacheConnection:
    """Close a cache that met `CacheDamaged` and open one that works and may be empty; see `open_cache`."""
    with suppress(sqlite3.Error):
        connection.close()
    if path is not None and damage.by_content:
        return _replace(path, schemas, damage)
    return _connect(":memory:", schemas, _BUSY_SECONDS)


def cached_json(text: str) -> Any:
    """Return a value that a row of the cache holds as JSON.

    Raises:
        CacheDamaged: It is none.
    """
    import json

    try:
        return json.loads(text)
    except (ValueError, TypeError) as error:
        raise CacheDamaged(sqlite3.DatabaseError(f"a row holds no JSON: {error}")) from error


def _open_file(path: Path, schemas: Sequence[str]) -> CacheConnection:
    """Open the file, waiting for other processes only where waiting can help.

    SQLite calls a file busy both when someone else has the lock and when the file system has no locks at all.
    """
    try:
        return _connect(str(path), schemas, 0)
    except sqlite3.Error as error:
        if _code(error) != sqlite3.SQLITE_BUSY or not _has_locks(path.parent):
            raise
        return _connect(str(path), schemas, _BUSY_SECONDS)


def _has_locks(folder: Path) -> bool:
    """Try a lock on a file of our own; closing another descriptor of the database would drop SQLite's locks."""
    import fcntl
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _connect(database: str, schemas: Sequence[str], patience_seconds: float) -> CacheConnection:
    connection = sqlite3.connect(
        database, timeout=patience_seconds, isolation_level=None, check_same_thread=False, factory=CacheConnection
    )
    try:
        connection.execute("PRAGMA trusted_schema=OFF")  # the file may have come with a repository from others
        # Each transaction has a journal file of its own. One that is emptied and used again (TRUNCATE) may come back
        # after a power cut with what was written last in the midst of what it held before, and be played back so.
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA temp_store=MEMORY")
        _ensure_tables(connection, schemas)
        connection.execute(f"PRAGMA busy_timeout={round(_BUSY_SECONDS * 1000)}")
    except BaseException:
        connection.close()
        raise
    return connection


def _ensure_tables(connection: CacheConnection, schemas: Sequence[str]) -> None:
    """Make the tables if they are not exactly the ones wanted; the texts' checksum is the version."""
    wanted = zlib.crc32("\0".join(schemas).encode()) & 0x7FFFFFFF
    if _version(connection) == wanted:
        return
    connection.execute("BEGIN IMMEDIATE")
    # Dropped in a transaction, not deleted with the file: another process may have it open.
    if _version(connection) != wanted:
        _drop_all(connection)
        for schema in schemas:
            _execute_all(connection, schema)
        connection.execute(f"PRAGMA user_version={wanted}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _drop_all(connection: sqlite3.Connection) -> None:
    query = "SELECT type, name FROM sqlite_master WHERE type IN ('table', 'view')"
    for kind, name in connection.execute(query).fetchall():
        if not name.startswith("sqlite_"):
            quoted = name.replace('"', '""')
            connection.execute(f'DROP {kind} "{quoted}"')


def _execute_all(connection: sqlite3.Connection, schema: str) -> None:
    """Run each statement of `schema`; `executescript` would end the transaction."""
    statement = ""
    for piece in schema.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def remove_cache(path: Path) -> None:
    """Remove a cache file, which costs what it takes to fill a new one.

    Raises:
        OSError: It cannot be removed.
    """
    # The journal first: left alone, it would be played into the new file.
    path.with_name(path.name + "-journal").unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _replace(path: Path, schemas: Sequence[str], error: Exception) -> CacheConnection:
    """Throw a damaged file away and start a new one, or go on in memory if that fails too."""
    _note("The cache %s is damaged and will be rebuilt: %s", path, error)
    try:
        remove_cache(path)
        return _connect(str(path), schemas, _BUSY_SECONDS)
    except (sqlite3.Error, OSError) as second:
        return _in_memory(path, schemas, second)


def _in_memory(path: Path, schemas: Sequence[str], error: Exception) -> CacheConnection:
    _note("The cache %s cannot be used, so this run keeps it in memory: %s", path, error)
    return _connect(":memory:", schemas, _BUSY_SECONDS)


def _note(message: str, path: Path, error: Exception) -> None:
    import logging  # costs start-up time, and is needed on bad days only

    logging.getLogger(__name__).debug(message, path, error)


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.InterfaceError):
        raise  # a bug of ours, not the file's fault
    except _FAILURES as error:
        raise CacheDamaged(error) from error


def _is_damage(error: Exception) -> bool:
    """Tell a bad file from a bad place for a file."""
    return _code(error) in _DAMAGE


def _code(error: Exception) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
