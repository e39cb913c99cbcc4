"""Changed tensors as a page: modules with their changes as bars, then what came, went and got another name."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from shutil import get_terminal_size
from typing import NamedTuple

from mlver.cli.diff_groups import grouped_names, grouped_tensors, recasts, shape_text
from mlver.cli.diff_text import shorten
from mlver.cli.output import Output, Piece
from mlver.cli.style import Styled
from mlver.cli.text import escape, percent, width
from mlver.differences.element_kinds import Kind
from mlver.differences.rank import Rank
from mlver.ops.diff.result import TensorChanges
from mlver.ops.diff.tree import Line, Module, Sort, module_tree, page, single_tensors, to_depth

_ROWS = 24
_LISTED = 8
_BAR = 10
_EIGHTHS = " ▏▎▍▌▋▊▉"
_WIDE = 100
"""Columns of a terminal from which all measures fit beside readable names."""
_LEAST_NAME = 24
_HOT, _WARM = 0.1, 0.01


class TensorView(NamedTuple):
    """How much of the tree is shown.

    Attributes:
        depth: Modules down to this depth; None is as many as fit a page.
        every: Show every changed tensor, without modules.
        sort: What comes first.
    """

    depth: int | None = None
    every: bool = False
    sort: Sort = "change"


class _Column(NamedTuple):
    title: str
    cells: list[Piece]
    align_right: bool = True


def tensor_lines(root: Module, view: TensorView) -> list[Line]:
    """Return the modules or tensors of a tree that are shown."""
    if view.every:
        return single_tensors(root, view.sort)
    if view.depth is not None:
        return to_depth(root, view.depth, view.sort)
    return page(root, _ROWS, view.sort)


def counts_text(tensors: TensorChanges, root: Module) -> str:
    """Return how many tensors changed, came, went and got another name; `root` is their tree."""
    parts = [f"{len(tensors.changed):,} of {tensors.total:,} changed"]
    relative = root.relative_change
    if relative is not None:
        parts[0] += f" by {percent(relative)}" if math.isfinite(relative) else ""
    for verb, amount in (
        ("added", len(tensors.added)),
        ("removed", len(tensors.removed)),
        ("renamed", len(tensors.renamed)),
        ("reshaped", sum(pair.is_reshaped for pair in tensors.changed)),
        ("recast", sum(pair.is_recast for pair in tensors.changed)),
    ):
        if amount:
            parts.append(f"{amount:,} {verb}")
    return ", ".join(parts)


def show_tensors(out: Output, tensors: TensorChanges, view: TensorView, *, is_measured: bool) -> None:
    """Write the section on tensors, if there is something to say."""
    if tensors.is_empty:
        return
    root = module_tree(tensors)
    out.line()
    out.line(Styled("Tensors", "heading"), Styled(f"  {counts_text(tensors, root)}", "muted"))
    lines = tensor_lines(root, view)
    if lines:
        _table(out, lines, is_measured=is_measured)
    for word, style, texts in listings(tensors, every=view.every):
        for text in texts:
            out.line("  ", Styled(f"{word:<9}", style), text)


def listings(tensors: TensorChanges, *, every: bool) -> Iterator[tuple[str, str, list[str]]]:
    """Yield what is listed below the table: a word, its style, and the lines; none of them empty."""
    limit = sys.maxsize if every else _LISTED
    reshaped = [pair for pair in tensors.changed if pair.is_reshaped]
    shapes = (f"{pair.name}  {shape_text(pair.before)} → {shape_text(pair.after)}" for pair in reshaped)
    unmeasured = (f"{pair.name}: {pair.unmeasured}" for pair in tensors.changed if pair.unmeasured)
    for word, style, texts in (
        ("added", "good", grouped_tensors(tensors.added, limit)),
        ("removed", "bad", grouped_tensors(tensors.removed, limit)),
        ("renamed", "name", grouped_names(tensors.renamed, limit)),
        ("reshaped", "warning", _limited(shapes, limit)),
        ("recast", "warning", recasts(tensors.changed)),
        ("unknown", "muted", _limited(unmeasured, limit)),
    ):
        if found := list(texts):
            yield word, style, found


def _limited(texts: Iterable[str], limit: int) -> Iterator[str]:
    found = list(texts)
    yield from found[:limit]
    if len(found) > limit:
        yield f"… and {len(found) - limit:,} more (--all)"


def _table(out: Output, lines: Sequence[Line], *, is_measured: bool) -> None:
    terminal = get_terminal_size().columns if out.terminal.interactive else None
    columns = _columns(lines, is_measured=is_measured, is_wide=terminal is None or terminal >= _WIDE)
    widths = [max(width(column.title), *(width(_text(cell)) for cell in column.cells)) for column in columns]
    names = [f"{'  ' * line.depth}{escape(line.label)}" for line in lines]
    wanted = max(map(width, names))
    room = wanted if terminal is None else max(_LEAST_NAME, terminal - sum(widths) - 2 * len(columns) - 2)
    wide = min(wanted, room)
    _row(
        out,
        Styled("MODULE".ljust(wide), "muted"),
        [Styled(column.title, "muted") for column in columns],
        columns,
        widths,
    )
    for number, (name, line) in enumerate(zip(names, lines, strict=True)):
        shown = shorten(name, wide)
        label: Piece = shown + " " * (wide - width(shown))
        _row(
            out,
            label if line.module.pair else Styled(str(label), "name"),
            [column.cells[number] for column in columns],
            columns,
            widths,
        )


def _row(out: Output, name: Piece, cells: Sequence[Piece], columns: Sequence[_Column], widths: Sequence[int]) -> None:
    pieces: list[Piece] = ["  ", name]
    for cell, column, wide in zip(cells, columns, widths, strict=True):
        blanks = " " * (wide - width(_text(cell)))
        pieces += ["  ", blanks, cell] if column.align_right else ["  ", cell, blanks]
    out.line(*pieces)


def _text(cell: Piece) -> str:
    return cell if isinstance(cell, str) else cell.text


def _columns(lines: Sequence[Line], *, is_measured: bool, is_wide: bool) -> list[_Column]:
    modules = [line.module for line in lines]
    columns = [_Column("TENSORS", [f"{module.changed:,}/{module.total:,}" for module in modules])]
    if not is_measured:
        return columns
    changes = [module.relative_change for module in modules]
    top = max((change for change in changes if change is not None and math.isfinite(change)), default=None)
    columns += [
        _Column("CHANGE", [change_cell(module) for module in modules]),
        _Column("", [_bar(module.relative_change, top) for module in modules], align_right=False),
        _Column("MAX |Δ|", [_number(figure(module, "max_abs")) for module in modules]),
    ]
    if is_wide:
        columns += [
            _Column("COSINE", [_cosine(figure(module, "cosine")) for module in modules]),
            _Column("ELEMENTS", [percent(figure(module, "changed_fraction")) for module in modules]),
        ]
    ranks = [rank_text(module.rank) for module in modules]
    if any(ranks):
        columns.append(_Column("RANK", list(ranks)))
    return columns


def rank_text(rank: Rank | None) -> str:
    """Return a rank such as `16` or `128+`."""
    return "" if rank is None else f"{rank.value}+" if rank.is_least else str(rank.value)


def figure(module: Module, name: str) -> float | None:
    """Return a figure of a module, or of a single tensor of whatever type.

    Args:
        module: The module.
        name: `relative_change`, `max_abs`, `cosine` or `changed_fraction`.
    """
    if module.pair is not None and module.pair.kind is not Kind.FLOAT:
        value: float | None = getattr(module.pair, name)
    else:
        value = getattr(module.figures, name) if module.figures is not None else None
    return value


def change_cell(module: Module) -> Piece:
    """Return the relative change of a module, or what there is to say of a tensor that has none."""
    if module.pair is not None and module.figures is not None and module.figures.appeared:
        # The rest of it may not have changed at all.
        return Styled("NaN" if module.figures.to_nan > module.figures.from_nan else "Inf", "bad")
    if module.pair is not None and module.pair.kind is not Kind.FLOAT:
        return module.pair.after.dtype
    return percent(module.relative_change)


def _bar(change: float | None, top: float | None) -> Piece:
    """Return a bar that grows with the root of a change, the largest one shown being full; hot as it is by itself."""
    if change is None or not top or not change:
        return ""
    eighths = max(1, round(_BAR * 8 * math.sqrt(min(1.0, change / top))))
    text = "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
    return Styled(text, "bad" if change >= _HOT else "warning" if change >= _WARM else "good")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _cosine(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
