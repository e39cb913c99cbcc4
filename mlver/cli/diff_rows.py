"""Tables and predictions for people: what was fixed, what was broken, and which rows came, went and changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mlver.cli.diff_text import shorten, value_text
from mlver.cli.output import Output, Piece
from mlver.cli.style import Styled
from mlver.cli.text import count, escape, number, width
from mlver.differences.rows.change import Answer, Key, Match, PredictionChange, RowChange, Score, TableChange

_SHOWN = 5
_COLUMNS = 8
_CELL = 30
_KEY = 24
_ROW = 72


def show_rows(out: Output, path: str, table: TableChange, *, every: bool) -> None:
    """Write what differs in a table."""
    limit = None if every else _SHOWN
    out.line()
    out.line(Styled(path, "heading"), Styled(f"  {how_matched(table)}", "muted"))
    if table.repeated_count:
        out.line("  ", Styled(f"! {repeated_text(table)}", "warning"))
    if table.predictions is not None:
        _predictions(out, table.predictions, limit)
    if counts := rows_text(table):
        out.line("  ", Styled("rows     ", "muted"), counts)
    for row in table.changed[:limit]:
        out.line(Styled("  ~ ", "warning"), Styled(key_text(row.key), "name"), "  ", *_cells(row))
    _more(out, table.changed_count, len(table.changed[:limit]), "changed")
    for mark, style, keys, total, word in (
        ("+", "good", table.added, table.added_count, "added"),
        ("-", "bad", table.removed, table.removed_count, "removed"),
    ):
        for key in keys[:limit]:
            out.line(Styled(f"  {mark} ", style), key_text(key, _ROW if table.match is Match.CONTENT else _KEY))
        _more(out, total, len(keys[:limit]), word)


def how_matched(table: TableChange) -> str:
    """Return how many rows there are, and how they were put together."""
    rows = (
        f"{table.after_count:,}"
        if table.before_count == table.after_count
        else (f"{table.before_count:,} → {table.after_count:,}")
    )
    how = {
        Match.KEY: f"matched by {', '.join(column or 'the first column' for column in table.key)}",
        Match.POSITION: "matched by position",
        Match.CONTENT: "matched by their whole content",
    }[table.match]
    return f"{rows} {'row' if table.after_count == 1 else 'rows'}, {how}"


def repeated_text(table: TableChange) -> str:
    """Return a warning that the key is none."""
    verb = "repeats" if table.repeated_count == 1 else "repeat"
    return f"{count(table.repeated_count, 'row')} {verb} the key of an earlier one: rows of one key are paired in order"


def rows_text(table: TableChange) -> str:
    """Return how many rows changed in which way, in which columns, and which columns came and went."""
    amounts = (table.changed_count, "changed"), (table.added_count, "added"), (table.removed_count, "removed")
    parts = [", ".join(f"{amount:,} {verb}" for amount, verb in amounts if amount)]
    parts.append(", ".join(f"{name} in {amount:,}" for name, amount in list(table.cells_changed.items())[:_COLUMNS]))
    for columns, verb in ((table.columns_added, "added"), (table.columns_removed, "removed")):
        if columns:
            parts.append(f"{'column' if len(columns) == 1 else 'columns'} {', '.join(columns[:_COLUMNS])} {verb}")
    return "; ".join(filter(None, parts)) or ("" if table.predictions else "the same rows, written differently")


def accuracy_text(score: Score) -> str:
    """Return an accuracy such as `0.913 (913 of 1,000)`."""
    return "–" if score.accuracy is None else f"{number(score.accuracy)} ({score.right:,} of {score.total:,})"


def accuracy_change(predictions: PredictionChange) -> float:
    """Return by how much the accuracy changed."""
    return (predictions.after.accuracy or 0.0) - (predictions.before.accuracy or 0.0)


def answer_text(answer: Answer) -> str:
    """Return what was predicted before and after, and what is right."""
    return f"{_cell(answer.before)} → {_cell(answer.after)}, right is {_cell(answer.label)}"


def key_text(key: Key, wide: int = _KEY) -> str:
    """Return the key of a row in so many columns."""
    return shorten(", ".join(escape(part) or "(empty)" for part in key), wide)


def row_text(row: RowChange) -> str:
    """Return what changed in a row, on one line."""
    return "".join(piece if isinstance(piece, str) else piece.text for piece in _cells(row))


def _predictions(out: Output, found: PredictionChange, limit: int | None) -> None:
    change = accuracy_change(found)
    style, arrow = ("good", "↑") if change > 0 else ("bad", "↓") if change < 0 else ("muted", "=")
    scores = f"{accuracy_text(found.before)} → {accuracy_text(found.after)}"
    out.line(
        "  ", Styled("accuracy ", "muted"), scores, "  ", Styled(f"{arrow} {change:+.4g}", style),
        Styled(f"  {found.prediction or 'the first column'} against {found.label or 'the first column'}", "muted"),
    )  # fmt: skip
    for word, style, total, answers in (
        ("fixed", "good", found.fixed_count, found.fixed),
        ("broken", "bad", found.broken_count, found.broken),
    ):
        out.line("  ", Styled(f"{word:<9}", style if total else "muted"), f"{total:,}")
        wide = max((width(key_text(answer.key)) for answer in answers[:limit]), default=0)
        for answer in answers[:limit]:
            key = key_text(answer.key)
            out.line("    ", Styled(key, "name"), " " * (wide - width(key) + 2), answer_text(answer))
        _more(out, total, len(answers[:limit]), word)


def _cells(row: RowChange) -> Iterator[Piece]:
    for position, cell in enumerate(row.cells[:_COLUMNS]):
        yield f"{', ' if position else ''}{cell.column or 'the first column'} "
        yield Styled(_cell(cell.before), "muted")
        yield f" → {_cell(cell.after)}"
    if len(row.cells) > _COLUMNS:
        yield f", and {count(len(row.cells) - _COLUMNS, 'more column')}"


def _cell(value: Any) -> str:
    return shorten(value_text(value), _CELL) if value != "" else "(empty)"


def _more(out: Output, total: int, shown: int, word: str) -> None:
    if total > shown:
        out.line(Styled(f"    … and {total - shown:,} more {word} (--all)", "muted"))


def table_document(table: TableChange) -> dict[str, Any]:
    """Return the JSON document of what differs in a table."""
    return {
        "matched_by": table.match.value,
        "key": list(table.key),
        "columns": list(table.columns),
        "from_count": table.before_count,
        "to_count": table.after_count,
        "repeated_count": table.repeated_count,
        "added_count": table.added_count,
        "removed_count": table.removed_count,
        "changed_count": table.changed_count,
        "added": [list(key) for key in table.added],
        "removed": [list(key) for key in table.removed],
        "changed": [
            {
                "key": list(row.key),
                "cells": [{"column": cell.column, "from": cell.before, "to": cell.after} for cell in row.cells],
            }
            for row in table.changed
        ],
        "columns_added": list(table.columns_added),
        "columns_removed": list(table.columns_removed),
        "cells_changed": [{"column": name, "row_count": amount} for name, amount in table.cells_changed.items()],
        "predictions": None if table.predictions is None else _predictions_document(table.predictions),
    }


def _predictions_document(found: PredictionChange) -> Mapping[str, Any]:
    def answers(some: Iterable[Answer]) -> Sequence[Mapping[str, Any]]:
        return [{"key": list(a.key), "label": a.label, "from": a.before, "to": a.after} for a in some]

    return {
        "label": found.label,
        "prediction": found.prediction,
        "from_right_count": found.before.right,
        "from_total_count": found.before.total,
        "from_accuracy": found.before.accuracy,
        "to_right_count": found.after.right,
        "to_total_count": found.after.total,
        "to_accuracy": found.after.accuracy,
        "fixed_count": found.fixed_count,
        "broken_count": found.broken_count,
        "fixed": answers(found.fixed),
        "broken": answers(found.broken),
    }
