"""Tables: what is said of rows agrees with a comparison of dictionaries, whatever the order and the format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlver.differences.rows.change import Match, TableChange, Wanted
from mlver.differences.rows.compare import compare_tables
from mlver.differences.rows.readers import NotATable, read_table

Rows = list[tuple[str, str]]
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=4)
TABLES = st.lists(st.tuples(TEXTS, TEXTS), unique_by=lambda row: row[0], max_size=12)


def as_csv(rows: Rows) -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows([("id", "v"), *rows])
    return file.getvalue().encode()


def as_jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps({"id": key, "v": value}) + "\n" for key, value in rows).encode()


def compare(before: bytes, after: bytes, suffix: str, **wanted: Any) -> TableChange:
    return compare_tables(f"t{suffix}", lambda: io.BytesIO(before), lambda: io.BytesIO(after), Wanted(**wanted))


@given(TABLES, TABLES, st.randoms(), st.sampled_from([(".csv", as_csv), (".jsonl", as_jsonl)]))
def test_rows_by_key(before: Rows, after: Rows, random: Any, kind: tuple[str, Callable[[Rows], bytes]]) -> None:
    suffix, make = kind
    after = [*after, *((key, value) for key, value in before if key not in dict(after) and random.random() < 0.7)]
    random.shuffle(after)
    found = compare(make(before), make(after), suffix, key=("id",), examples=100)
    old, new = dict(before), dict(after)
    if before and after:
        assert (found.match, found.repeated_count) == (Match.KEY, 0)
    assert (found.before_count, found.after_count) == (len(old), len(new))
    if found.match is Match.KEY:
        assert {key for (key,) in found.added} == new.keys() - old.keys()
        assert {key for (key,) in found.removed} == old.keys() - new.keys()
        assert {row.key[0] for row in found.changed} == {key for key in old.keys() & new if old[key] != new[key]}
    turned = compare(make(after), make(before), suffix, key=("id",), examples=100)
    assert (turned.added_count, turned.removed_count) == (found.removed_count, found.added_count)
    assert turned.changed_count == found.changed_count


@given(TABLES)
def test_a_table_is_equal_to_itself(rows: Rows) -> None:
    for suffix, make in ((".csv", as_csv), (".jsonl", as_jsonl)):
        found = compare(make(rows), make(rows), suffix)
        assert (found.added_count, found.removed_count, found.changed_count) == (0, 0, 0)


@given(st.binary(max_size=200), st.sampled_from(["a.csv", "a.tsv", "a.jsonl"]))
def test_any_bytes_are_a_table_or_none(raw: bytes, path: str) -> None:
    try:
        rows = list(read_table(path, io.BytesIO(raw)))
    except NotATable:
        return
    assert all(json.loads(json.dumps(row, allow_nan=False)) == row for row in rows)
