"""A diff for people: a summary they can repeat, then a section for everything that has something to say."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from shutil import get_terminal_size
from textwrap import wrap
from typing import Any

from mlver.cli.diff_lines import unified_lines
from mlver.cli.diff_rows import show_rows
from mlver.cli.diff_tensors import TensorView, counts_text, show_tensors
from mlver.cli.diff_text import shorten, value_text
from mlver.cli.output import Output, Piece
from mlver.cli.style import Styled
from mlver.cli.text import count, escape, number, percent, size, width
from mlver.differences.values import ValueChange
from mlver.ops.diff.provenance import settings_and_inputs
from mlver.ops.diff.result import DiffResult, FileChanges, MetricChange, ModifiedFile, ReferenceChange, TensorPair
from mlver.ops.diff.tree import module_tree

_LISTED = 20
_ITEMS = 30
_LINES = 60
_MARKS = {"added": ("+", "good"), "removed": ("-", "bad"), "changed": ("~", "warning")}


def show_diff(out: Output, result: DiffResult, view: TensorView) -> None:
    """Write the whole diff."""
    limit = None if view.every else _LISTED
    with out.paged():
        show_head(out, result)
        _metrics(out, result.metrics)
        _values(out, "Metadata", result.metadata, limit)
        first = settings_and_inputs(result.provenance)
        _values(out, "Settings and inputs", first, limit)
        for file in result.files.modified:
            _content(out, file, limit)
        _files(out, result.files, limit)
        show_tensors(out, result.tensors, view, is_measured=result.is_measured)
        _values(out, "Provenance", [change for change in result.provenance if change not in first], limit)


def show_stat(out: Output, result: DiffResult) -> None:
    """Write the summary and a count for each section."""
    show_head(out, result)
    files = result.files
    rows: list[tuple[str, str]] = []
    if not result.tensors.is_empty:
        rows.append(("tensors", counts_text(result.tensors, module_tree(result.tensors))))
    if not files.is_empty:
        rows.append(("files", files_text(files)))
    for name, changes in (
        ("metrics", result.metrics),
        ("metadata", result.metadata),
        ("provenance", result.provenance),
    ):
        if changes:
            rows.append((name, f"{len(changes):,} changed"))
    out.fields(rows)


def show_head(out: Output, result: DiffResult) -> None:
    """Write what was compared, what happened, and what should never have."""
    out.line(Styled(result.before.name, "name"), " → ", Styled(result.after.name, "name"))
    for line in _wrapped(out, sentence(result.summary)):
        out.line(Styled(line, "heading"))
    for pair in result.tensors.broken[:_LISTED]:
        out.line(Styled(f"! {broken_text(pair)}", "bad"))


def _wrapped(out: Output, text: str) -> list[str]:
    """Return text in lines that end between words on a terminal; elsewhere it is one line, whatever its length."""
    return wrap(escape(text), get_terminal_size().columns) if out.terminal.interactive else [text]


def sentence(summary: str) -> str:
    """Return a summary as a sentence; what it begins with may be a name, which keeps its letters."""
    words = summary.split(" ", 1)
    first = words[0].capitalize() if words[0] in ("the", "all", "nothing") else words[0]
    return " ".join((first, *words[1:])) + "."


def broken_text(pair: TensorPair) -> str:
    """Return how many elements of a tensor are no numbers any more."""
    figures = pair.figures
    assert figures is not None
    parts = [
        f"{after:,} {word} (was {before:,})"
        for word, before, after in (
            ("NaN", figures.from_nan, figures.to_nan),
            ("infinite", figures.from_inf, figures.to_inf),
        )
        if after > before
    ]
    return f"{pair.name}: {', '.join(parts)} of {figures.elements:,} elements"


def files_text(files: FileChanges) -> str:
    """Return how many files changed in which way."""
    counts = (
        (len(files.modified), "modified"),
        (len(files.added), "added"),
        (len(files.removed), "removed"),
        (len(files.renamed), "renamed"),
    )
    references = count(len(files.references), "reference") if files.references else ""
    return ", ".join(filter(None, [*(f"{amount:,} {verb}" for amount, verb in counts if amount), references]))


def _metrics(out: Output, metrics: Sequence[MetricChange]) -> None:
    if not metrics:
        return
    out.line()
    out.heading("Metrics")
    texts = [(metric.name, values_text(metric), change_text(metric)) for metric in metrics]
    wide = [max(width(row[column]) for row in texts) for column in range(3)]
    for metric, (name, values, change) in zip(metrics, texts, strict=True):
        style = {True: "good", False: "bad", None: "muted"}[metric.is_better]
        word = {True: "better", False: "worse", None: ""}[metric.is_better]
        out.line(
            "  ", f"{name:<{wide[0]}}  {values:<{wide[1]}}  ", Styled(f"{change:<{wide[2]}}  {word}".rstrip(), style)
        )


def values_text(metric: MetricChange) -> str:
    """Return a metric before and after."""
    return " → ".join("–" if value is None else number(value) for value in (metric.before, metric.after))


def change_text(metric: MetricChange) -> str:
    """Return by how much a metric changed."""
    if metric.change is None:
        return "new" if metric.before is None else "gone"
    relative = metric.relative_change
    share = (
        ""
        if relative is None or not math.isfinite(relative)
        else f" ({'+' if relative > 0 else '-'}{percent(abs(relative))})"
    )
    return f"{'↑' if metric.change > 0 else '↓'} {metric.change:+.4g}{share}"


def _values(out: Output, title: str, changes: Sequence[ValueChange], limit: int | None) -> None:
    if not changes:
        return
    out.line()
    out.heading(title)
    wide = min(40, max(width(change.key) for change in changes[:limit]))
    for change in changes[:limit]:
        mark, style = _MARKS[change.kind]
        out.line(Styled(f"{mark} ", style), change.key, " " * max(0, wide - width(change.key)), "  ", *_change(change))
    _more(out, len(changes), limit)


def _change(change: ValueChange) -> Iterable[Piece]:
    if change.kind == "added":
        return [value_text(change.after)]
    if change.kind == "removed":
        return [Styled(value_text(change.before), "muted")]
    if isinstance(change.before, list) and isinstance(change.after, list) and _is_long(change.before, change.after):
        return _items(change.before, change.after)
    return [Styled(value_text(change.before), "muted"), " → ", value_text(change.after)]


def _is_long(*values: list[Any]) -> bool:
    return any(len(json.dumps(value, ensure_ascii=False)) > _ITEMS for value in values)


def _items(before: list[Any], after: list[Any]) -> Iterable[Piece]:
    """Return what came and went in a list too long to show."""
    old, new = (Counter(number(item) for item in value) for value in (before, after))
    gone, came = list((old - new).elements()), list((new - old).elements())
    if not gone and not came:
        return ["another order"]
    pieces: list[Piece] = [f"{count(len(before), 'item')} → {len(after):,}"]
    for sign, style, items in (("-", "bad", gone), ("+", "good", came)):
        if items:
            pieces += ["  ", Styled(f"{sign} {shorten(', '.join(items[:_LISTED]), _ITEMS)}", style)]
    return pieces


def _content(out: Output, file: ModifiedFile, limit: int | None) -> None:
    content = file.content
    if file.table is not None:
        show_rows(out, file.after.path, file.table, every=limit is None)
    if content is None:
        return
    if content.values:
        _values(out, file.after.path, content.values, limit)
        return
    out.line()
    out.line(Styled(file.after.path, "heading"), "" if content.lines else "  only spaces or line ends differ")
    shown = content.lines if limit is None else content.lines[:_LINES]
    for pieces in unified_lines(file.after.path, shown, colour=out.terminal.colour):
        out.line(*pieces)
    if len(shown) < len(content.lines):
        out.line(Styled(f"… and {count(len(content.lines) - len(shown), 'more line')} (--all)", "muted"))


def _files(out: Output, files: FileChanges, limit: int | None) -> None:
    if files.is_empty:
        return
    out.line()
    out.line(Styled("Files", "heading"), Styled(f"  {files_text(files)}", "muted"))
    rows: list[tuple[Piece, ...]] = [_modified(file) for file in files.modified]
    rows += [(Styled("added     ", "good"), path) for path in files.added]
    rows += [(Styled("removed   ", "bad"), path) for path in files.removed]
    rows += [(Styled("renamed   ", "name"), f"{pair.before} → {pair.after}") for pair in files.renamed]
    rows += [_reference(change) for change in files.references]
    for row in rows[:limit]:
        out.line("  ", *row)
    _more(out, len(rows), limit)


def _modified(file: ModifiedFile) -> tuple[Piece, ...]:
    before, after = file.before, file.after
    sizes = size(after.size_bytes)
    if before.size_bytes != after.size_bytes:
        sizes = f"{size(before.size_bytes)} → {sizes}"
    if before.executable != after.executable:
        sizes += ", executable now" if after.executable else ", no longer executable"
    if file.problem is not None:
        sizes += f", rows not compared: {file.problem}"
    return Styled("modified  ", "warning"), path_text(file), Styled(f"  {sizes}", "muted")


def path_text(file: ModifiedFile) -> str:
    """Return the path of a file, or both that it has."""
    return file.after.path if file.before.path == file.after.path else f"{file.before.path} → {file.after.path}"


def _reference(change: ReferenceChange) -> tuple[Piece, ...]:
    style = {"added": "good", "removed": "bad", "changed": "warning"}[change.kind]
    return Styled(f"{change.kind:<10}", style), change.path, Styled(f"  {reference_text(change)}", "muted")


def reference_text(change: ReferenceChange) -> str:
    """Return where a reference points, and what became of it."""
    before, after = change.before, change.after
    if before is None or after is None:
        return " ".join(f"reference to {side.uri}" for side in (before, after) if side is not None)
    places = after.uri if before.uri == after.uri else f"{before.uri} → {after.uri}"
    content = {True: "the same content", False: "other content", None: "perhaps other content"}[change.has_same_content]
    sizes = "" if before.size_bytes == after.size_bytes else f", {size(before.size_bytes)} → {size(after.size_bytes)}"
    return f"reference to {places}, {content}{sizes}"


def _more(out: Output, total: int, limit: int | None) -> None:
    if limit is not None and total > limit:
        out.line(Styled(f"  … and {total - limit:,} more (--all)", "muted"))
