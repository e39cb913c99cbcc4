"""A diff in Markdown, for a pull request. Whatever comes from outside is escaped, so that it stays text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mlver.cli.diff_rows import (
    accuracy_change,
    accuracy_text,
    answer_text,
    how_matched,
    key_text,
    repeated_text,
    row_text,
    rows_text,
)
from mlver.cli.diff_screen import (
    broken_text,
    change_text,
    files_text,
    path_text,
    reference_text,
    sentence,
    values_text,
)
from mlver.cli.diff_tensors import TensorView, change_cell, counts_text, figure, listings, rank_text, tensor_lines
from mlver.cli.diff_text import value_text
from mlver.cli.output import Output
from mlver.cli.style import plain as unpainted
from mlver.cli.text import escape, percent
from mlver.differences.rows.change import TableChange
from mlver.differences.values import ValueChange
from mlver.ops.diff.gates import GateFailure
from mlver.ops.diff.provenance import settings_and_inputs
from mlver.ops.diff.result import DiffResult, ModifiedFile
from mlver.ops.diff.tree import module_tree

_LISTED = 30
_LINES = 80
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&])")
_ROWS = 5
_FENCE = "````"


def show_markdown(out: Output, result: DiffResult, view: TensorView, failures: Sequence[GateFailure]) -> None:
    """Write the whole diff."""
    out.line(f"### {code(result.before.name)} → {code(result.after.name)}")
    out.line()
    out.line(plain(sentence(result.summary)))
    _bullets(out, [f":x: {plain(failure.message)}" for failure in failures])
    _bullets(out, [f":warning: {plain(broken_text(pair))}" for pair in result.tensors.broken])
    metrics = [
        (code(each.name), values_text(each), change_text(each), _verdict(each.is_better)) for each in result.metrics
    ]
    _table(out, ("metric", "value", "change", ""), metrics)
    _table(out, ("metadata", "before", "after"), map(_value_row, result.metadata))
    first = settings_and_inputs(result.provenance)
    _table(out, ("made with", "before", "after"), map(_value_row, first))
    for file in result.files.modified:
        _content(out, file)
    _tensors(out, result, view)
    _files(out, result)
    rest = [change for change in result.provenance if change not in first]
    if rest:
        _details(out, "Provenance")
        _table(out, ("key", "before", "after"), map(_value_row, rest))
        out.line()
        out.line("</details>")


def plain(text: str) -> str:
    """Return text in which Markdown and HTML find nothing to interpret."""
    return _SPECIAL.sub(r"\\\1", escape(text))


def code(text: str) -> str:
    """Return text as code; a backquote in it would end it, a bar the cell of a table."""
    shown = escape(text).replace("`", "'").replace("|", "\\|")
    return f"`{shown}`" if shown else ""


def _verdict(is_better: bool | None) -> str:
    return {True: "better", False: "worse", None: ""}[is_better]


def _value_row(change: ValueChange) -> tuple[str, str, str]:
    before = "" if change.kind == "added" else code(value_text(change.before))
    after = "" if change.kind == "removed" else code(value_text(change.after))
    return code(change.key), before, after


def _table(out: Output, titles: Sequence[str], rows: Iterable[Sequence[str]], align: str = "") -> None:
    rows = list(rows)
    if not rows:
        return
    out.line()
    out.line(f"| {' | '.join(titles)} |")
    rules = ["---:" if align[position : position + 1] == ">" else "---" for position in range(len(titles))]
    out.line(f"| {' | '.join(rules)} |")
    for row in rows[:_LISTED]:
        out.line(f"| {' | '.join(row)} |")
    if len(rows) > _LISTED:
        out.line(f"| … and {len(rows) - _LISTED:,} more |" + " |" * (len(titles) - 1))


def _bullets(out: Output, items: Sequence[str]) -> None:
    if items:
        out.line()
    for item in items[:_LISTED]:
        out.line(f"- {item}")
    if len(items) > _LISTED:
        out.line(f"- … and {len(items) - _LISTED:,} more")


def _details(out: Output, title: str) -> None:
    out.line()
    out.line(f"<details><summary>{title}</summary>")


def _content(out: Output, file: ModifiedFile) -> None:
    content = file.content
    if file.table is not None:
        _rows(out, file.after.path, file.table)
    if content is None or not (content.values or content.lines):
        return
    if content.values:
        _table(out, (code(file.after.path), "before", "after"), map(_value_row, content.values))
        return
    out.line()
    out.line(code(file.after.path))
    out.line()
    out.line(f"{_FENCE}diff")
    for line in content.lines[:_LINES]:
        # A fence of our own length at the start of a line would end the block.
        out.line(line.expandtabs(4).replace(_FENCE, "'" * len(_FENCE)))
    out.line(_FENCE)
    if len(content.lines) > _LINES:
        out.line(f"… and {len(content.lines) - _LINES:,} more lines")


def _rows(out: Output, path: str, table: TableChange) -> None:
    out.line()
    out.line(f"{code(path)}: {plain(how_matched(table))}")
    found = table.predictions
    items = [f":warning: {plain(repeated_text(table))}"] if table.repeated_count else []
    if found is not None:
        scores = f"{accuracy_text(found.before)} → {accuracy_text(found.after)}"
        items.append(f"accuracy {scores}, **{accuracy_change(found):+.4g}**")
        items.append(f"{found.fixed_count:,} fixed, {found.broken_count:,} broken")
    _bullets(out, [*items, *filter(None, [plain(rows_text(table))])])
    if found is not None:
        answers = [("fixed", answer) for answer in found.fixed[:_ROWS]]
        answers += [("broken", answer) for answer in found.broken[:_ROWS]]
        _table(
            out, ("", "row", "prediction"), [(word, code(key_text(a.key)), code(answer_text(a))) for word, a in answers]
        )
    rows = [("changed", code(key_text(row.key)), code(row_text(row))) for row in table.changed[:_ROWS]]
    rows += [("added", code(key_text(key)), "") for key in table.added[:_ROWS]]
    rows += [("removed", code(key_text(key)), "") for key in table.removed[:_ROWS]]
    _table(out, ("", "row", "what changed"), rows)


def _tensors(out: Output, result: DiffResult, view: TensorView) -> None:
    tensors = result.tensors
    if tensors.is_empty:
        return
    out.line()
    root = module_tree(tensors)
    out.line(f"**Tensors**: {counts_text(tensors, root)}")
    rows = [
        (
            "&nbsp;&nbsp;" * line.depth + (plain(line.label) if line.rest_count else code(line.label)),
            f"{line.module.changed:,}/{line.module.total:,}",
            unpainted(change_cell(line.module)),
            _number(figure(line.module, "max_abs")),
            _cosine(figure(line.module, "cosine")),
            percent(figure(line.module, "changed_fraction")),
            rank_text(line.module.rank),
        )
        for line in tensor_lines(root, view)
    ]
    titles = ("module", "tensors", "change", "max |Δ|".replace("|", "\\|"), "cosine", "elements", "rank")
    shown = 2 if not result.is_measured else len(titles) if any(row[-1] for row in rows) else len(titles) - 1
    _table(out, titles[:shown], [row[:shown] for row in rows], "<>>>>>>")
    _bullets(out, [f"{word}: {code(text)}" for word, _, texts in listings(tensors, every=view.every) for text in texts])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _cosine(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _problem(file: ModifiedFile) -> str:
    return f" (rows not compared: {plain(file.problem)})" if file.problem else ""


def _files(out: Output, result: DiffResult) -> None:
    files = result.files
    if files.is_empty:
        return
    _details(out, f"Files: {files_text(files)}")
    _bullets(
        out,
        [
            *(f"modified {code(path_text(file))}{_problem(file)}" for file in files.modified),
            *(f"added {code(path)}" for path in files.added),
            *(f"removed {code(path)}" for path in files.removed),
            *(f"renamed {code(pair.before)} → {code(pair.after)}" for pair in files.renamed),
            *(f"{change.kind} {code(change.path)}: {plain(reference_text(change))}" for change in files.references),
        ],
    )
    out.line()
    out.line("</details>")
