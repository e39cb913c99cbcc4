from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from mlver.differences.rows.change import Match, Wanted
from mlver.errors import MlverError, NotFoundError
from tests.unit.ops.diff.conftest import Keeper

BEFORE = "id,label,pred\n1,a,a\n2,b,a\n3,a,b\n"
AFTER = "id,label,pred\n1,a,b\n2,b,b\n3,a,a\n"


def test_tables_are_compared_by_rows(keeper: Keeper) -> None:
    first = keeper.add({"t.csv": BEFORE, "same.csv": "a\n1\n", "x.txt": "a,b\n"})
    second = keeper.add({"t.csv": AFTER, "same.csv": "a\n1\n", "x.txt": "a,c\n"})
    found = keeper.diff(first, second)
    table, text = found.files.modified
    assert table.table is not None
    assert (table.table.changed_count, table.content, table.problem) == (3, None, None)
    assert text.table is None
    assert text.content is not None
    assert found.summary == "accuracy of t.csv 0.33333 → 0.66667 (2 fixed, 1 broken)"


def test_tables_of_two_names_are_compared_if_nothing_else_could_be_meant(keeper: Keeper) -> None:
    first, second = keeper.add({"old/p.csv": BEFORE, "x": "1"}), keeper.add({"new.CSV": AFTER, "y": "2"})
    files = keeper.diff(first, second).files
    assert [(file.before.path, file.after.path) for file in files.modified] == [("old/p.csv", "new.CSV")]
    assert files.modified[0].table is not None
    assert files.modified[0].table.changed_count == 3
    assert (files.added, files.removed, files.unchanged_count) == (("y",), ("x",), 0)
    for others in ({"new.jsonl": AFTER}, {"a.csv": AFTER, "b.csv": AFTER + "4,a,a\n"}, {"n.csv": BEFORE}, {"y": "2"}):
        assert keeper.diff(first, keeper.add(others)).files.modified == ()


def test_a_folder_on_disk(keeper: Keeper) -> None:
    first = keeper.add({"t.csv": BEFORE})
    keeper.write({"t.csv": AFTER})
    (file,) = keeper.diff(first, str(keeper.home / "model")).files.modified
    assert file.table is not None
    assert file.table.predictions is not None
    assert (file.table.predictions.fixed_count, file.table.predictions.broken_count) == (2, 1)


def test_names_only_reads_no_table(keeper: Keeper, counted: Callable[[], list[int]]) -> None:
    first, second = keeper.add({"t.csv": BEFORE}), keeper.add({"t.csv": AFTER})
    counted()
    (file,) = keeper.diff(first, second, names_only=True).files.modified
    assert (file.table, file.problem, counted()) == (None, None, [])


def test_what_is_no_table_is_text(keeper: Keeper) -> None:
    first, second = keeper.add({"t.csv": "a,b\n1\n"}), keeper.add({"t.csv": "a,b\n2\n"})
    (file,) = keeper.diff(first, second).files.modified
    assert file.problem == "line 2 has 1 cells instead of 2"
    assert file.content is not None
    assert "-1" in file.content.lines


def test_columns_that_no_table_has(keeper: Keeper) -> None:
    first, second = keeper.add({"t.csv": BEFORE}), keeper.add({"t.csv": AFTER})
    with pytest.raises(NotFoundError, match="'labl'") as caught:
        keeper.diff(first, second, rows=Wanted(label="labl"))
    assert caught.value.hint == "Did you mean 'label'?"
    with pytest.raises(NotFoundError, match="'xx'"):
        keeper.diff(first, second, rows=Wanted(("id", "xx")))


def test_a_key_that_one_of_two_tables_has(keeper: Keeper) -> None:
    first = keeper.add({"t.csv": BEFORE, "u.csv": "uid,x\n1,2\n"})
    second = keeper.add({"t.csv": AFTER, "u.csv": "uid,x\n1,3\n"})
    tables = [file.table for file in keeper.diff(first, second, rows=Wanted(("label",))).files.modified]
    assert [table and (table.match, table.key) for table in tables] == [
        (Match.KEY, ("label",)),
        (Match.KEY, ("uid",)),
    ]


def test_a_table_that_was_asked_for_and_cannot_be_read(keeper: Keeper) -> None:
    first, second = keeper.add({"t.csv": "a,b\n1\n"}), keeper.add({"t.csv": "a,b\n2\n"})
    with pytest.raises(MlverError, match=r"t\.csv cannot be compared by rows: line 2"):
        keeper.diff(first, second, rows=Wanted(("a",)))


def test_a_key_does_not_matter_where_no_table_changed(keeper: Keeper) -> None:
    first, second = keeper.add({"t.csv": BEFORE}), keeper.add({"t.csv": BEFORE, "x": "1"})
    assert keeper.diff(first, second, rows=Wanted(("absent",))).files.added == ("x",)


def test_parquet_without_its_package(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    first, second = keeper.add({"t.parquet": b"PAR1 one PAR1"}), keeper.add({"t.parquet": b"PAR1 two PAR1"})
    (file,) = keeper.diff(first, second).files.modified
    assert file.problem == "it needs the package pyarrow: pip install 'mlver[tables]'"
