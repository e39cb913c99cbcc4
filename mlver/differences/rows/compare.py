"""The verb: two tables → pairs of rows → what differs.

Rows at the same place with the same key are compared as both files stream by; only those that moved are put aside. So
memory is bounded but for eight bytes a row, which tell whether keys are unique.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any, BinaryIO

from mlver.differences.rows.aside import RowsAside
from mlver.differences.rows.change import CellChange, Key, Match, Row, RowChange, TableChange, Wanted
from mlver.differences.rows.predictions import Judge, find_columns
from mlver.differences.rows.readers import NotATable, Table, read_table
from mlver.differences.values import equal_values

_KEYS = (
    "id", "uid", "uuid", "guid", "key", "index", "idx", "row_id", "sample_id", "example_id", "record_id", "image_id",
    "qid", "question_id", "task_id", "doc_id", "item_id", "hash", "path", "file", "filename", "file_name", "file_path",
    "image", "url", "name", "", "unnamed: 0",
)  # fmt: skip
"""Names that tell of a key, the surest first; the last two are how pandas writes the index of a frame."""
_ABSENT = object()
_EARLY = 4096
"""Rows after which a guess is given up if keys were repeated until then."""

Opener = Callable[[], BinaryIO]
_Keyed = tuple[str | None, Row | None]
"""A row with its key; twice None where there is none."""


def compare_tables(path: str, before: Opener, after: Opener, wanted: Wanted) -> TableChange:
    """Return what differs between two states of a table.

    A guessed key is unique on both sides and has rows in common. Without one, rows are matched by position if there
    are as many, else by their whole content.

    Args:
        path: Its path, whose suffix tells the format.
        before: Opens what was.
        after: Opens what is.
        wanted: What was asked for.

    Raises:
        NotATable: One of both is none.
        MlverError: There is no space to sort rows in, or a file cannot be read.
    """
    for match, key in _guesses(path, before, after, wanted):
        comparison = _Comparison(match, key, wanted)
        with before() as old, after() as new:
            found = comparison.run(read_table(path, old), read_table(path, new))
        if found is not None:
            return found
    raise AssertionError("rows can always be matched by content")


def _guesses(path: str, before: Opener, after: Opener, wanted: Wanted) -> Iterator[tuple[Match, tuple[str, ...]]]:
    with before() as old, after() as new:
        sides = read_table(path, old).columns, read_table(path, new).columns
    common = [column for column in sides[0] if column in sides[1]]
    if all(sides) and not common:
        raise NotATable("no column is in both")
    if wanted.key and all(column in common for column in wanted.key):
        yield Match.KEY, wanted.key
    by_name = {column.lower(): column for column in common}
    names = [name for name in _KEYS if name in by_name]
    names += [name for name in by_name if name.endswith("_id") and name not in names]
    for name in names:
        yield Match.KEY, (by_name[name],)
    yield Match.POSITION, ()
    yield Match.CONTENT, tuple(common or sides[0] or sides[1])


class _Comparison:
    """One attempt to match rows in one way."""

    def __init__(self, match: Match, key: tuple[str, ...], wanted: Wanted) -> None:
        self._match = match
        self._key = key
        self._most = wanted.examples
        self._is_guess = match is Match.KEY and key != wanted.key
        self._roles = wanted.label, wanted.prediction
        self._counts: Counter[str] = Counter()
        self._cells: Counter[str] = Counter()
        self._alone: tuple[list[Key], list[Key]] = ([], [])
        self._changed: list[RowChange] = []
        self._hashes = array("q"), array("q")

    def run(self, before: Table, after: Table) -> TableChange | None:
        """Return what differs; None if rows cannot be matched in this way."""
        self._columns = before.columns, after.columns
        self._is_text = before.plain_text and after.plain_text
        roles = find_columns(before.columns.keys() & after.columns.keys(), *self._roles)
        self._judge = Judge(*roles, self._most) if roles else None
        with RowsAside() as aside:
            for number, keyed in enumerate(self._side_by_side(before, after)):
                self._match_or_put(aside, *keyed)
                if number == _EARLY and self._is_guess and any(map(_repeated, self._hashes)):
                    return None
            for key, old, new in aside.pairs():
                self._take(key, old, new)
        repeated = sum(map(_repeated, self._hashes)) if self._match is Match.KEY else 0
        return self._result(repeated) if self._fits(repeated) else None

    def _side_by_side(self, before: Table, after: Table) -> Iterator[tuple[_Keyed, ...]]:
        """Yield the rows at the same places."""
        key_of = _key_function(self._match, self._key)
        for number, rows in enumerate(zip_longest(before, after)):
            keyed = tuple((None, None) if row is None else (key_of(number, row), row) for row in rows)
            for hashes, (key, _) in zip(self._hashes, keyed, strict=True):
                if key is not None:
                    hashes.append(hash(key))
            yield keyed

    def _match_or_put(self, aside: RowsAside, old: _Keyed, new: _Keyed) -> None:
        if old[0] is not None and old[0] == new[0]:
            self._take(old[0], old[1], new[1])
            return
        for side, (key, row) in enumerate((old, new)):
            if key is not None and row is not None:
                aside.put(side, key, row)

    def _fits(self, repeated: int) -> bool:
        sizes = len(self._hashes[0]), len(self._hashes[1])
        if self._match is Match.POSITION:
            # As many rows, of which most have nothing in common, are other rows.
            return sizes[0] == sizes[1] and 2 * self._counts["nothing in common"] <= sizes[0]
        return not self._is_guess or (not repeated and (self._counts["both"] > 0 or 0 in sizes))

    def _take(self, text: str, old: Row | None, new: Row | None) -> None:
        """Note a row of both tables, or of one."""
        key = tuple(json.loads(text)) if len(self._key) > 1 else (text,)
        if old is not None and new is not None:
            self._compare(key, old, new)
            return
        side, row = (0, old) if new is None else (1, new)
        self._counts["removed" if side == 0 else "added"] += 1
        if len(self._alone[side]) < self._most:
            self._alone[side].append(key)
        if self._judge is not None and row is not None:
            self._judge.one(side, row)

    def _compare(self, key: Key, old: Row, new: Row) -> None:
        self._counts["both"] += 1
        if self._judge is not None:
            self._judge.pair(key, old, new)
        if self._is_text and old == new:
            return
        shared = [column for column in old | new if all(column in columns for columns in self._columns)]
        cells = [
            CellChange(column, old.get(column), new.get(column))
            for column in shared
            if not equal_values(old.get(column, _ABSENT), new.get(column, _ABSENT))
        ]
        if not cells:
            return
        self._counts["changed"] += 1
        self._counts["nothing in common"] += len(cells) == len(shared)
        self._cells.update(cell.column for cell in cells)
        if len(self._changed) < self._most:
            self._changed.append(RowChange(key, tuple(cells)))

    def _result(self, repeated: int) -> TableChange:
        before, after = self._columns
        return TableChange(
            match=self._match,
            key=self._key,
            columns=tuple(column for column in before if column in after),
            before_count=len(self._hashes[0]),
            after_count=len(self._hashes[1]),
            repeated_count=repeated,
            added_count=self._counts["added"],
            removed_count=self._counts["removed"],
            changed_count=self._counts["changed"],
            added=tuple(self._alone[1]),
            removed=tuple(self._alone[0]),
            changed=tuple(self._changed),
            columns_added=tuple(column for column in after if column not in before),
            columns_removed=tuple(column for column in before if column not in after),
            cells_changed=dict(self._cells.most_common()),
            predictions=self._judge.verdict() if self._judge is not None else None,
        )


def _repeated(hashes: array[int]) -> int:
    """Return how many of the keys are not the first of their kind."""
    import numpy as np

    return len(hashes) - len(np.unique(np.frombuffer(hashes, dtype="q")))


def _key_function(match: Match, columns: tuple[str, ...]) -> Callable[[int, Row], str]:
    """Return what makes a text of a row that is equal for rows that belong together."""
    if match is Match.POSITION:
        return lambda number, _: str(number + 1)
    if len(columns) == 1:
        return lambda _, row: _text(row.get(columns[0]))
    return lambda _, row: json.dumps([_text(row.get(column)) for column in columns])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
