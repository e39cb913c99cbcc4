from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlver.store import sqlite
from mlver.store.sqlite import CacheConnection, CacheDamaged, _ensure_tables, cached_json, open_cache, reopen_cache

SCHEMAS = (
    "CREATE TABLE words (word TEXT PRIMARY KEY); CREATE INDEX w ON words (word);",
    "CREATE TABLE b (x TEXT DEFAULT ';')",
)


def words(connection: CacheConnection) -> list[str]:
    with connection.reading():
        return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY word").fetchall()]


def write(connection: CacheConnection, word: str) -> None:
    with connection.transaction():
        connection.execute("INSERT INTO words VALUES (?)", (word,))


def filled(path: Path) -> Path:
    connection = open_cache(path, SCHEMAS)
    for number in range(2000):
        if number == 0:
            connection.execute("BEGIN")
        connection.execute("INSERT INTO words VALUES (?)", (f"{number:05d}" * 10,))
    connection.execute("COMMIT")
    connection.close()
    return path


def test_what_was_written_is_there_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    write(open_cache(path, SCHEMAS), "kept")
    assert words(open_cache(path, SCHEMAS)) == ["kept"]


def test_other_schemas_start_afresh_even_beside_an_open_connection(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    old = open_cache(path, SCHEMAS)
    write(old, "old")
    new = open_cache(path, (*SCHEMAS, "CREATE TABLE c (x)"))
    assert words(new) == []
    assert new.execute("SELECT * FROM c").fetchall() == []
    write(new, "new")
    assert words(old) == ["new"]


def test_a_failed_transaction_changes_nothing() -> None:
    connection = open_cache(None, SCHEMAS)

    def fail() -> None:
        with connection.transaction():
            connection.execute("INSERT INTO words VALUES ('x')")
            raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        fail()
    assert words(connection) == []
    write(connection, "works")


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000, b"x"])
def test_a_file_that_is_no_database_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "index.sqlite"
    path.write_bytes(content)
    write(open_cache(path, SCHEMAS), "new")
    assert words(open_cache(path, SCHEMAS)) == ["new"]


def test_damage_that_is_met_later_is_told_and_mended(tmp_path: Path) -> None:
    path = filled(tmp_path / "index.sqlite")
    content = path.read_bytes()
    path.write_bytes(content[:8192] + bytes(len(content) - 8192))
    connection = open_cache(path, SCHEMAS)
    with pytest.raises(CacheDamaged) as caught:
        words(connection)
    assert caught.value.by_content
    connection = reopen_cache(connection, caught.value, path, SCHEMAS)
    assert words(connection) == []
    write(connection, "new")
    assert words(open_cache(path, SCHEMAS)) == ["new"]


def test_tables_that_were_dropped_by_someone_are_damage(tmp_path: Path) -> None:
    path = filled(tmp_path / "index.sqlite")
    with closing(sqlite3.connect(path)) as stranger, stranger:
        stranger.execute("DROP TABLE words")
    connection = open_cache(path, SCHEMAS)
    with pytest.raises(CacheDamaged) as caught:
        words(connection)
    assert words(reopen_cache(connection, caught.value, path, SCHEMAS)) == []


def test_a_locked_cache_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlver.store.sqlite._BUSY_SECONDS", 0.05)
    path = tmp_path / "index.sqlite"
    holder, other = open_cache(path, SCHEMAS), open_cache(path, SCHEMAS)
    with holder.transaction():
        holder.execute("INSERT INTO words VALUES ('held')")
        with pytest.raises(CacheDamaged) as caught:
            write(other, "lost")
        assert not caught.value.by_content
        replacement = reopen_cache(other, caught.value, path, SCHEMAS)
        write(replacement, "in memory")
        assert words(open_cache(path, ("CREATE TABLE words (word TEXT)",))) == []
    assert words(open_cache(path, SCHEMAS)) == ["held"]
    assert words(replacement) == ["in memory"]


def test_whoever_waited_for_the_tables_to_be_made_takes_them_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"

    class Slower(CacheConnection):
        """Another process is faster, at the worst of times."""

        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE":
                write(open_cache(path, SCHEMAS), "of the faster one")
            return super().execute(sql, *values)

    with closing(sqlite3.connect(path, factory=Slower, isolation_level=None)) as connection:
        _ensure_tables(connection, SCHEMAS)
        assert words(connection) == ["of the faster one"]


def test_what_sqlite_keeps_for_itself_does_not_hinder_new_tables(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    numbered = "CREATE TABLE old (number INTEGER PRIMARY KEY AUTOINCREMENT);"  # SQLite makes a table to count with
    open_cache(path, (numbered,)).execute("INSERT INTO old DEFAULT VALUES")
    write(open_cache(path, SCHEMAS), "new")
    assert words(open_cache(path, SCHEMAS)) == ["new"]


def test_a_damaged_file_that_cannot_be_removed_is_left_and_memory_used(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    path.write_bytes(b"garbage" * 1000)
    (tmp_path / "index.sqlite-journal").mkdir()
    damage = CacheDamaged(sqlite3.DatabaseError("malformed"))
    connection = reopen_cache(open_cache(None, SCHEMAS), damage, path, SCHEMAS)
    write(connection, "in memory")
    assert words(connection) == ["in memory"]
    assert path.read_bytes() == b"garbage" * 1000


def test_a_bug_of_ours_is_no_damage() -> None:
    connection = open_cache(None, SCHEMAS)
    with pytest.raises(sqlite3.ProgrammingError), connection.reading():
        connection.execute("SELECT ?", ())


def test_a_path_that_cannot_be_a_file_falls_back_to_memory(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").mkdir()
    for path in (tmp_path / "index.sqlite", tmp_path / "absent/index.sqlite"):
        connection = open_cache(path, SCHEMAS)
        write(connection, "x")
        assert words(connection) == ["x"]
    assert (tmp_path / "index.sqlite").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become someone else")
def test_a_cache_of_someone_else_is_read_and_never_written(tmp_path: Path) -> None:
    path = filled(tmp_path / "index.sqlite")
    for folder in (*tmp_path.parents, tmp_path):
        if folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        connection = open_cache(path, SCHEMAS)
        assert len(words(connection)) == 2000
        with pytest.raises(CacheDamaged) as caught:
            write(connection, "x")
        connection = reopen_cache(connection, caught.value, path, SCHEMAS)
        write(connection, "x")
        assert words(connection) == ["x"]
        connection = open_cache(path, ("CREATE TABLE words (word TEXT)",))
        write(connection, "y")
    finally:
        os.seteuid(0)
    assert len(words(open_cache(path, SCHEMAS))) == 2000


def test_threads_share_a_connection(tmp_path: Path) -> None:
    connection = open_cache(tmp_path / "index.sqlite", SCHEMAS)

    def work(name: str) -> None:
        for number in range(30):
            write(connection, f"{name}{number}")
            words(connection)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, "abcd")) == [None] * 4
    assert len(words(connection)) == 120


def test_processes_share_a_file_and_may_start_it_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from mlver.store.sqlite import open_cache\n"
        "c = open_cache(pathlib.Path(sys.argv[1]), ['CREATE TABLE words (word TEXT PRIMARY KEY)'])\n"
        "for n in range(20):\n"
        "    with c.transaction(): c.execute('INSERT INTO words VALUES (?)', (f'{sys.argv[2]}{n}',))\n"
        "print(c.execute('PRAGMA database_list').fetchone()[2])"
    )
    path = tmp_path / "index.sqlite"
    command = [sys.executable, "-c", code, str(path)]
    processes = [
        subprocess.Popen([*command, name], cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True)
        for name in "abcd"
    ]
    assert [process.communicate()[0].strip() for process in processes] == [str(path)] * 4
    assert len(words(open_cache(path, ["CREATE TABLE words (word TEXT PRIMARY KEY)"]))) == 80


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("inject", ["fcntl:error=ENOLCK:when=7+", "pwrite64:error=ENOSPC", "fdatasync:error=EIO"])
def test_on_a_poor_or_failing_disk_the_cache_goes_on_in_memory(tmp_path: Path, inject: str) -> None:
    code = (
        "import sys, pathlib; from mlver.store import sqlite; from mlver.store.sqlite import *\n"
        "sqlite._BUSY_SECONDS = 3600.0\n"  # whoever waits for a lock that can never be had does not end in time
        "path, schemas = pathlib.Path(sys.argv[1]), ['CREATE TABLE words (word TEXT)']\n"
        "c = open_cache(path, schemas)\n"
        "with c.transaction(): c.execute('INSERT INTO words VALUES (1)')\n"
        "print(c.execute('SELECT count(*) FROM words').fetchone(), c.execute('PRAGMA database_list').fetchone()[2])"
    )
    path = tmp_path / "index.sqlite"
    call = inject.split(":", maxsplit=1)[0]
    command = ["strace", "-qq", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={inject}"]
    done = subprocess.run(
        [*command, sys.executable, "-c", code, str(path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=300,
    )
    assert done.stdout.strip() == "(1,)"
    write(open_cache(path, SCHEMAS), "later")
    assert words(open_cache(path, SCHEMAS)) == ["later"]


def test_letters_that_are_none_in_a_tables_name_are_damage(tmp_path: Path) -> None:
    """SQLite quotes the name, and Python cannot read what it says."""
    path = tmp_path / "index.sqlite"
    open_cache(path, ["CREATE TABLE some_long_name (x)"]).close()
    good = path.read_bytes()
    at = good.index(b"CREATE TABLE some_long")
    path.write_bytes(good[:at] + b"CREATE TAB\xad\xad" + good[at + 12 :])
    connection = open_cache(path, ["CREATE TABLE some_long_name (x)"])
    assert connection.execute("SELECT count(*) FROM some_long_name").fetchone() == (0,)
    connection.close()


@pytest.mark.parametrize("text", ["{", "", None])
def test_a_row_that_holds_no_json_is_damage(text: str | None) -> None:
    with pytest.raises(CacheDamaged):
        cached_json(text)  # type: ignore[arg-type]
    assert cached_json('{"a":[1]}') == {"a": [1]}


def test_a_busy_cache_is_waited_for_where_there_are_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index.sqlite"
    open_cache(path, ["CREATE TABLE t (x)"]).close()
    waited: list[float] = []

    def busy(database: str, schemas: Sequence[str], patience_seconds: float) -> sqlite.CacheConnection:
        waited.append(patience_seconds)
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        if patience_seconds == 0:
            raise error
        return real(database, schemas, patience_seconds)

    real = sqlite._connect
    monkeypatch.setattr(sqlite, "_connect", busy)
    open_cache(path, ["CREATE TABLE t (x)"]).close()
    assert waited == [0, sqlite._BUSY_SECONDS]
    monkeypatch.setattr(sqlite, "_has_locks", lambda folder: False)
    open_cache(path, ["CREATE TABLE t (x)"]).close()
    assert waited[2] == 0


def test_where_there_are_no_locks_that_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    assert sqlite._has_locks(tmp_path)

    def none(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "lockf", none)
    assert not sqlite._has_locks(tmp_path)
