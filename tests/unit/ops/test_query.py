"""Queries: the views hold what the logs say, docs/query.md says what they are, and nothing but them can be reached."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlver.errors import MlverError, UsageError
from mlver.ops.query.query import query
from mlver.ops.query.snapshot import open_views
from mlver.ops.query.views import VIEWS
from mlver.ops.runs.begin import begin_run
from mlver.ops.runs.end import RunOutcome, end_run
from mlver.ops.runs.use import use_version
from mlver.repository import Repository
from tests.support.process import PROJECT


@pytest.fixture
def told(repository: Repository, model: Path) -> Repository:
    """Two versions of `net`, one of `data`, and a run."""
    repository.add(model, name="data", type="dataset")
    (model / "w").write_bytes(b"net")
    repository.add(
        model, name="net", type="t", metrics={"acc": 0.5}, metadata={"lr": 0.1, "l": [1]}, tags=["x"], aliases=["prod"]
    )
    (model / "w").write_bytes(b"net 1")
    repository.add(model, name="net", metrics={"acc": 0.75})
    repository.track("best", "max(acc)")
    repository.protect("prod")
    opened = repository._opened
    run = begin_run(opened, name="first", job_type="train", config={"lr": 0.5, "net": {"depth": 3}})
    use_version(opened, run, "data:v0", "train")
    end_run(opened, run, RunOutcome("finished", 0, 1.5, {}, None, None))
    return repository


def rows(repository: Repository, sql: str) -> list[tuple[Any, ...]]:
    return list(repository.query(sql).rows)


def test_what_the_views_hold(told: Repository) -> None:
    assert rows(told, "SELECT artifact, version_count, latest FROM artifacts ORDER BY 1") == [
        ("data", 1, 0),
        ("net", 2, 1),
    ]
    assert rows(told, "SELECT version, alias, tracks, protected FROM aliases ORDER BY 1, 2") == [
        ("data:v0", "latest", None, 0),
        ("net:v0", "prod", None, 1),
        ("net:v1", "best", "max(acc)", 0),
        ("net:v1", "latest", None, 0),
    ]
    assert rows(told, "SELECT version, metric, value FROM metrics ORDER BY value") == [
        ("net:v0", "acc", 0.5),
        ("net:v1", "acc", 0.75),
    ]
    assert rows(told, "SELECT key, value FROM metadata ORDER BY key") == [("l", "[1]"), ("lr", 0.1)]
    assert rows(told, "SELECT version, tag FROM tags") == [("net:v0", "x")]
    assert rows(told, "SELECT json_extract(metrics, '$.acc'), removed FROM versions WHERE version = 'net:v1'") == [
        (0.75, 0)
    ]
    assert rows(told, "SELECT name, job_type, status, duration_seconds FROM runs") == [
        ("first", "train", "finished", 1.5)
    ]
    assert rows(told, "SELECT key, value FROM run_config ORDER BY 1") == [("lr", 0.5), ("net", '{"depth":3}')]
    assert rows(told, "SELECT version, role FROM run_inputs") == [("data:v0", "train")]


def test_removed_versions(told: Repository) -> None:
    told.remove("net:v0", force=True)
    assert rows(told, "SELECT removed FROM versions WHERE version = 'net:v0'") == [(1,)]
    for view in ("metrics", "tags", "metadata", "aliases"):
        assert rows(told, f"SELECT * FROM {view} WHERE version = 'net:v0'") == [], view


def test_the_page_and_the_program_agree(told: Repository) -> None:
    page = (PROJECT / "docs" / "query.md").read_text("utf-8")
    documented = {
        part.partition("\n")[0]: re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", part, re.MULTILINE)
        for part in page.split("\n## ")[1:]
    }
    assert documented == {name: list(view.columns) for name, view in VIEWS.items()}
    for name, view in VIEWS.items():
        answer = told.query(f"SELECT * FROM {name}")
        assert answer.columns == tuple(column for column, _, _ in view.columns), name
        kinds = {"text": str, "integer": int, "number": int | float, "any": str | int | float}
        for row in answer.rows:
            for value, (column, kind, _) in zip(row, view.columns, strict=True):
                assert value is None or isinstance(value, kinds[kind]), (name, column, value)
    for sql in re.findall(r'mlver query (?:--csv )?"([^"]+)"', page):
        told.query(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM versions",
        "UPDATE main.versions SET removed = 1",
        "INSERT INTO main.tracked VALUES (1, 'a', 'max(x)')",
        "DROP TABLE main.versions",
        "CREATE TABLE x (y)",
        "CREATE TEMP TABLE x (y)",
        "ATTACH 'x.sqlite' AS x",
        "PRAGMA user_version",
        "PRAGMA main.journal_mode = WAL",
        "SELECT * FROM main.versions",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM main.events",
        "SELECT * FROM pragma_table_info('versions')",
        "SELECT load_extension('x')",
        "SELECT 1; SELECT 2",
        "BEGIN IMMEDIATE",
        "VACUUM",
        "VACUUM INTO 'x.sqlite'",
        "nonsense",
        "SELECT * FROM nothing",
        "SELECT nothing FROM versions",
        "SELECT 'a\0b",
    ],
)
def test_nothing_else_can_be_done(told: Repository, sql: str, tmp_path: Path) -> None:
    index = told.path / "index.sqlite"
    told.query("SELECT 1")
    before = index.read_bytes()
    with pytest.raises(UsageError):
        told.query(sql)
    assert index.read_bytes() == before
    assert not list(Path.cwd().glob("x.sqlite"))


def test_one_that_never_ends(told: Repository) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    with pytest.raises(MlverError, match=r"took more than 0.2 s"):
        told.query(endless, timeout_seconds=0.2)
    assert rows(told, "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 3) SELECT * FROM n") == [
        (1,),
        (2,),
        (3,),
    ]


def test_one_that_takes_too_much_memory(told: Repository) -> None:
    numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
    endless = f"{numbers} SELECT hex(zeroblob(4096)) || x FROM n ORDER BY 1"
    with pytest.raises(MlverError, match=r"took more than 64 MiB of memory"):
        query(told._opened, endless, memory_bytes=64 << 20)


def test_nobody_waits_for_a_query(told: Repository) -> None:
    """A lock on the cache as long as a question would hold everybody else up."""
    with closing(open_views(told._opened)) as connection:
        rows = iter(connection.execute("SELECT version FROM versions"))
        next(rows)
        with closing(sqlite3.connect(told.path / "index.sqlite", timeout=0)) as other, other:
            other.execute("BEGIN EXCLUSIVE")
            other.rollback()


def test_hints(told: Repository) -> None:
    for sql, hint in (
        ("SELECT versoin FROM versions", "Did you mean 'version'"),
        ("SELECT * FROM metric", "Did you mean 'metrics'"),
        ("SELECT * FROM q", "See: mlver query --schema"),
        ("SELEC 1", "See: mlver query --schema"),
        (" -- nothing", "Such as: mlver query"),
        ("", "Such as: mlver query"),
    ):
        with pytest.raises(UsageError) as caught:
            told.query(sql)
        assert (caught.value.hint or "").startswith(hint), (sql, caught.value.hint)
        assert ".." not in caught.value.message


def test_values_that_json_has_not(told: Repository) -> None:
    assert rows(told, "SELECT x'00ff', 9e999, -9e999, NULL, 1") == [("00ff", "inf", "-inf", None, 1)]
    with pytest.raises(UsageError):
        told.query("SELECT CAST(x'ff' AS TEXT)")
    with pytest.raises(UsageError):
        told.query("SELECT zeroblob(100000000)")


def test_a_cache_in_memory(told: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlver.ops.opening import open_repository

    opened = open_repository(told.path, cache_in_memory=True)
    assert query(opened, "SELECT count(*) FROM versions").rows == ((3,),)
    opened.close()


def test_parquet(told: Repository, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    told.meta("net:v0", {"text": "x"})
    told.export_parquet(tmp_path / "tables")
    written = told.export_parquet(tmp_path / "tables")
    assert [each.view for each in written] == list(VIEWS)
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {f"{name}.parquet" for name in VIEWS}
    table = parquet.read_table(tmp_path / "tables" / "metrics.parquet")
    assert table.to_pylist()[0] == {"artifact": "net", "number": 0, "version": "net:v0", "metric": "acc", "value": 0.5}
    assert str(table.schema.field("number").type) == "int64"
    values = parquet.read_table(tmp_path / "tables" / "metadata.parquet").column("value").to_pylist()
    assert sorted(values) == ["0.1", "[1]", "x"]
    for view in VIEWS.values():
        assert len(view.columns) == len({column for column, _, _ in view.columns})


def test_a_file_that_others_wrote_runs_nothing(told: Repository) -> None:
    """A view of another name in the cache file must not come to life; it is rebuilt, or left alone."""
    told.query("SELECT 1")
    with closing(sqlite3.connect(told.path / "index.sqlite")) as db, db:
        db.execute("CREATE VIEW evil AS SELECT load_extension('/tmp/evil')")
    with pytest.raises(UsageError):
        told.query("SELECT * FROM evil")
