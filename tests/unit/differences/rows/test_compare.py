from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

import pytest

from mlver.differences.rows.change import CellChange, Match, RowChange, TableChange, Wanted
from mlver.differences.rows.compare import compare_tables
from mlver.differences.rows.readers import NotATable, is_table, read_table

Make = Callable[[list[dict[str, Any]]], bytes]


def csv_of(rows: list[dict[str, Any]]) -> bytes:
    lines = [",".join(rows[0])] if rows else []
    return "\n".join([*lines, *(",".join(map(str, row.values())) for row in rows), ""]).encode()


def jsonl_of(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet_of(rows: list[dict[str, Any]]) -> bytes:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


FORMATS = [(".csv", csv_of), (".jsonl", jsonl_of), (".parquet", parquet_of)]


def opener(raw: bytes) -> Callable[[], BinaryIO]:
    return partial(io.BytesIO, raw)


def compare(before: bytes, after: bytes, *key: str, path: str = "t.csv", **wanted: Any) -> TableChange:
    return compare_tables(path, opener(before), opener(after), Wanted(key, **wanted))


def as_text(value: Any) -> str:
    return str(value)


@pytest.mark.parametrize(("suffix", "make"), FORMATS)
def test_rows_come_go_and_change(suffix: str, make: Make) -> None:
    before: list[dict[str, Any]] = [{"id": f"r{n}", "a": n, "b": 2 * n} for n in range(10)]
    after = [{**row, "b": row["b"] + (row["id"] == "r4")} for row in before if row["id"] != "r2"]
    after.append({"id": "new", "a": 1, "b": 1})
    found = compare(make(before), make(after), path=f"t{suffix}")
    assert (found.match, found.key, found.columns) == (Match.KEY, ("id",), ("id", "a", "b"))
    assert (found.before_count, found.after_count, found.repeated_count) == (10, 10, 0)
    assert (found.added, found.removed, found.added_count, found.removed_count) == ((("new",),), (("r2",),), 1, 1)
    (changed,) = found.changed
    assert changed.key == ("r4",)
    assert [(cell.column, as_text(cell.before), as_text(cell.after)) for cell in changed.cells] == [("b", "8", "9")]
    assert (found.changed_count, found.cells_changed) == (1, {"b": 1})
    assert found.predictions is None


def test_rows_in_another_order_are_the_same() -> None:
    rows = [{"id": n, "a": n % 3} for n in range(5000)]
    shuffled = rows.copy()
    random.Random(1).shuffle(shuffled)
    found = compare(csv_of(rows), csv_of(shuffled))
    assert (found.match, found.added_count, found.removed_count, found.changed_count) == (Match.KEY, 0, 0, 0)


def test_several_columns_are_one_key() -> None:
    before = [{"user": u, "item": i, "stars": 1} for u in "ab" for i in "xy"]
    after = [{**row, "stars": 5} if (row["user"], row["item"]) == ("b", "x") else row for row in before[::-1]]
    found = compare(csv_of(before), csv_of(after), "user", "item")
    assert found.changed == (RowChange(("b", "x"), (CellChange("stars", "1", "5"),)),)
    assert (found.added_count, found.removed_count) == (0, 0)


def test_a_key_that_was_asked_for_is_used_though_it_is_none() -> None:
    before = [{"kind": "ab"[n % 2], "n": n} for n in range(6)]
    found = compare(csv_of(before), csv_of([*before, {"kind": "a", "n": 9}]), "kind")
    assert (found.match, found.key, found.repeated_count) == (Match.KEY, ("kind",), 9)
    assert (found.added_count, found.changed_count) == (1, 0)


@pytest.mark.parametrize("size", [6, 6000])
def test_a_guess_is_given_up_if_keys_repeat(size: int) -> None:
    before = [{"id": n // 2, "v": n} for n in range(size)]
    after = [{**row, "v": -1} if row["v"] == 3 else row for row in before]
    found = compare(csv_of(before), csv_of(after))
    assert (found.match, found.key) == (Match.POSITION, ())
    assert found.changed == (RowChange(("4",), (CellChange("v", "3", "-1"),)),)


def test_the_surest_name_is_the_key() -> None:
    rows = [{"name": n, "Sample_ID": n, "x": 1} for n in range(3)]
    assert compare(csv_of(rows), csv_of(rows[1:])).key == ("Sample_ID",)
    rows = [{"trial_id": n, "x": 1} for n in range(3)]
    assert compare(csv_of(rows), csv_of(rows[1:])).key == ("trial_id",)


def test_ids_made_anew_are_no_key() -> None:
    before, after = ([{"uuid": f"{run}{n}", "x": n, "y": n} for n in range(5)] for run in "ab")
    found = compare(csv_of(before), csv_of(after))
    assert (found.match, found.cells_changed) == (Match.POSITION, {"uuid": 5})


def test_other_rows_at_the_same_places_are_matched_by_content() -> None:
    rows = [{"x": n, "y": n + 1} for n in range(6)]
    found = compare(csv_of(rows[:5]), csv_of(rows[1:]))
    assert (found.match, found.added, found.removed) == (Match.CONTENT, (("5", "6"),), (("0", "1"),))
    found = compare(csv_of(rows), csv_of(rows[1:]))
    assert (found.match, found.added_count, found.removed) == (Match.CONTENT, 0, (("0", "1"),))


@pytest.mark.parametrize(("suffix", "make"), FORMATS)
def test_a_new_column_changes_no_row(suffix: str, make: Make) -> None:
    before = [{"id": n, "old": 1} for n in range(4)]
    found = compare(make(before), make([{"id": n, "new": 2} for n in range(4)]), path=f"t{suffix}")
    assert (found.columns_added, found.columns_removed, found.changed_count) == (("new",), ("old",), 0)


def test_a_value_that_some_rows_lack_is_a_change() -> None:
    before = [{"id": 1, "a": 1}, {"id": 2}]
    found = compare(jsonl_of(before), jsonl_of([{"id": 1, "a": 1}, {"id": 2, "a": None}]), path="t.jsonl")
    assert found.changed == (RowChange(("2",), (CellChange("a", None, None),)),)


def test_json_knows_types_and_csv_text_only() -> None:
    found = compare(jsonl_of([{"id": 1, "a": 1}]), jsonl_of([{"id": 1, "a": True}]), path="t.jsonl")
    assert found.changed_count == 1
    assert compare(jsonl_of([{"id": 1, "a": 1}]), jsonl_of([{"id": 1, "a": 1.0}]), path="t.jsonl").changed_count == 0
    assert compare(b"id,a\n1,0.5\n", b"id,a\n1,0.50\n").changed_count == 1


def test_examples_are_bounded_and_counts_are_not() -> None:
    before = [{"id": n, "v": 1} for n in range(100)]
    after = [{"id": n, "v": 2} for n in range(50, 200)]
    found = compare(csv_of(before), csv_of(after), examples=3)
    assert (len(found.added), len(found.removed), len(found.changed)) == (3, 3, 3)
    assert (found.added_count, found.removed_count, found.changed_count) == (100, 50, 50)


def test_an_empty_table() -> None:
    found = compare(b"", b"id,a\n1,2\n")
    assert (found.before_count, found.after_count, found.added_count) == (0, 1, 1)
    assert compare(b"id,a\n", b"id,b\n").columns_added == ("b",)


# Readers


@pytest.mark.parametrize(
    ("path", "raw", "rows"),
    [
        ("a.csv", b'a,b\n1,"x,\n y"\n\n3,4\n', [{"a": "1", "b": "x,\n y"}, {"a": "3", "b": "4"}]),
        ("a.csv", b"\xef\xbb\xbfa;b\r\n1;2,5\r\n", [{"a": "1", "b": "2,5"}]),
        ("a.tsv", b"a\tb\n1\t2", [{"a": "1", "b": "2"}]),
        ("a.csv", b"1,x\n2,y\n", [{"column 1": "1", "column 2": "x"}, {"column 1": "2", "column 2": "y"}]),
        ("a.csv", b",x\n0,y\n", [{"": "0", "x": "y"}]),
        ("A.JSONL", b'{"a": [1]}\n\n{"b": 1e999}', [{"a": [1]}, {"b": "1e999"}]),
        ("a.ndjson", b'{"a": NaN}\r\n', [{"a": "NaN"}]),
    ],
)
def test_reading(path: str, raw: bytes, rows: list[dict[str, Any]]) -> None:
    assert is_table(path)
    assert list(read_table(path, io.BytesIO(raw))) == rows


@pytest.mark.parametrize(
    ("path", "raw", "message"),
    [
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "line 3 has 3 cells instead of 2"),
        ("a.csv", b"a,b\n1,\xff\n", "no UTF-8"),
        ("a.csv", b"\xff\n", "no UTF-8"),
        ("a.csv", b'a,b\n1,"' + b"x" * 200_000 + b"\n", "field limit"),
        ("a.csv", b'a,b\n1,"x" y\n', "expected after"),
        ("a.jsonl", b'{"a": 1}\n{"a"\n', "line 2 is no JSON"),
        ("a.jsonl", b"[1]\n", "line 1 is no JSON object"),
        ("a.jsonl", b"[" * 100_000, "line 1 is no JSON"),
        ("a.jsonl", b'{"a": "\xff"}\n', "line 1 is no JSON"),
        ("a.jsonl", b"".join(b'{"%d": 1}\n' % n for n in range(10_001)), "10,000 columns"),
        ("a.parquet", b"PAR1 and nothing else PAR1", "no Parquet"),
        ("a.parquet", b"", "no Parquet"),
    ],
)
def test_what_is_no_table(path: str, raw: bytes, message: str) -> None:
    if path.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    with pytest.raises(NotATable, match=message):
        list(read_table(path, io.BytesIO(raw)))


def test_tables_without_a_common_column_are_not_compared() -> None:
    with pytest.raises(NotATable, match="no column is in both"):
        compare(b"a\nx\n", b"b\nx\n")


def test_damaged_parquet_is_told() -> None:
    raw = bytearray(parquet_of([{"id": n, "text": str(n) * 50} for n in range(1000)]))
    raw[10:200] = bytes(190)
    with pytest.raises(NotATable, match="damaged"):
        list(read_table("t.parquet", io.BytesIO(raw)))


def test_parquet_values_are_json() -> None:
    import datetime as dt
    import decimal

    row = {
        "id": 1,
        "at": dt.datetime(2024, 1, 2, tzinfo=dt.UTC),
        "nan": float("nan"),
        "bytes": b"image",
        "list": [1.5, float("inf")],
        "struct": {"x": None},
        "money": decimal.Decimal("1.50"),
        "long": dt.timedelta(seconds=90),
    }
    (found,) = read_table("t.parquet", io.BytesIO(parquet_of([row])))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["nan"], found["list"], found["money"]) == ("nan", [1.5, "inf"], "1.50")
    assert found["at"].startswith("2024-01-02T00:00:00")
    assert found["bytes"].startswith("5 bytes, blake3 ")
    assert compare(parquet_of([row]), parquet_of([row]), path="t.parquet").changed_count == 0
