"""`mlver compare`: parse → `mlver.ops.compare` → versions side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shutil import get_terminal_size
from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.diff_text import shorten, value_text
from mlver.cli.documents import version_document
from mlver.cli.output import Column, Output, Piece
from mlver.cli.style import Styled, plain
from mlver.cli.text import count, number, size, width
from mlver.cli.views import age_of
from mlver.history.records import VersionRecord
from mlver.ops.compare import ComparedMetric, ComparedValue, CompareResult, compare

EXAMPLES = (
    Example("mlver compare v3 v4 v6", "three versions side by side"),
    Example("mlver compare v0..v9 --sort val_acc", "all versions from v0 to v9, the most accurate first"),
    Example("mlver compare resnet:best resnet_pruned:best", "the best of two artifacts"),
)

_LISTED = 20
_VALUE = 24
_KEY = 36
_BEST = " ★"

_Revisions = Annotated[
    list[str], typer.Argument(metavar="REF...", help="Versions, or ranges such as v3..v6.", show_default=False)
]
_Sort = Annotated[str | None, typer.Option("--sort", metavar="METRIC", help="The best version by this metric first.")]
_Reverse = Annotated[bool, typer.Option("--reverse", help="Turn the order around.")]
_All = Annotated[bool, typer.Option("--all", help="Show lists in full.")]


def command(
    call: Call,
    revisions: _Revisions,
    sort: _Sort = None,
    reverse: _Reverse = False,
    every: _All = False,
) -> None:
    """Show metrics, configuration and sizes of versions side by side.

    ★ marks the best value of each metric whose name tells what is better (val_acc, loss), unless all are the same. Of
    metadata and configuration files only what differs is shown.
    """
    with call.repository() as repository:
        result = compare(repository, revisions, sort=sort, reverse=reverse)

    def human(out: Output, found: CompareResult) -> None:
        with out.paged():
            _show(out, found, None if every else _LISTED)

    call.out.result(
        result, document=_document, brief=lambda found: [version.name for version in found.versions], human=human
    )


def _document(result: CompareResult) -> dict[str, Any]:
    return {
        "versions": [version_document(version) for version in result.versions],
        "metrics": [
            {"name": metric.name, "values": list(metric.values), "better": metric.better, "best": metric.best}
            for metric in result.metrics
        ],
        "values": [{"source": value.source, "key": value.key, "values": list(value.values)} for value in result.values],
        "same_count": result.same_count,
    }


def _show(out: Output, result: CompareResult, limit: int | None) -> None:
    names = _names(result.versions)
    rows = list(_rows(result, limit))
    for position, columns in enumerate(_groups(out, names, rows)):
        if position:
            out.line()
        titles = [Column(""), *(Column(names[column], align="right") for column in columns)]
        out.table(titles, [[row[0], *(row[column + 1] for column in columns)] for row in rows])
    if result.same_count:
        out.line(Styled(f"{count(result.same_count, 'more value')} in common", "muted"))


def _names(versions: Sequence[VersionRecord]) -> list[str]:
    """Return short names where all are versions of one artifact."""
    if len({version.artifact for version in versions}) == 1:
        return [f"v{version.number}" for version in versions]
    return [version.name for version in versions]


def _groups(out: Output, names: Sequence[str], rows: Sequence[Sequence[Piece]]) -> Iterator[list[int]]:
    """Yield the versions that fit side by side: all of them, but on a terminal that is too narrow."""
    widths = [max(width(plain(row[position])) for row in rows) + 2 for position in range(len(names) + 1)]
    room = get_terminal_size().columns if out.terminal.interactive else None
    group: list[int] = []
    used = widths[0]
    for column, name in enumerate(names):
        wide = max(widths[column + 1], width(name) + 2)
        if group and room is not None and used + wide > room:
            yield group
            group, used = [], widths[0]
        group.append(column)
        used += wide
    yield group


def _rows(result: CompareResult, limit: int | None) -> Iterator[list[Piece]]:
    versions = result.versions
    if any(version.aliases for version in versions):
        yield ["aliases", *(Styled(", ".join(version.aliases), "alias") for version in versions)]
    yield ["age", *(age_of(version) for version in versions)]
    if result.metrics:
        yield from _section("Metrics", [_metric(metric) for metric in result.metrics], len(versions), None)
    for source in dict.fromkeys(value.source for value in result.values):
        title = "Metadata" if source == "metadata" else source
        rows = [_value(value) for value in result.values if value.source == source]
        yield from _section(title, rows, len(versions), limit)
    yield from _section("Sizes", list(_sizes(versions)), len(versions), None)


def _section(title: str, rows: Sequence[list[Piece]], columns: int, limit: int | None) -> Iterator[list[Piece]]:
    blank: list[Piece] = [""] * columns
    yield [Styled(title, "heading"), *blank]
    yield from rows[:limit]
    if limit is not None and len(rows) > limit:
        yield [Styled(f"  … {count(len(rows) - limit, 'more value')} (--all)", "muted"), *blank]


def _metric(metric: ComparedMetric) -> list[Piece]:
    cells: list[Piece] = []
    for value in metric.values:
        if value is None:
            cells.append(Styled("–", "muted"))
        elif value == metric.best:
            cells.append(Styled(f"{number(value)}{_BEST}", "good"))
        else:
            # As wide as with a mark, so that digits stand below digits.
            cells.append(number(value) + (" " * len(_BEST) if metric.best is not None else ""))
    return [f"  {shorten(metric.name, _KEY)}", *cells]


def _value(value: ComparedValue) -> list[Piece]:
    cells: list[Piece] = [
        Styled("–", "muted") if cell is None else shorten(value_text(cell), _VALUE) for cell in value.values
    ]
    return [f"  {shorten(value.key, _KEY)}", *cells]


def _sizes(versions: Sequence[VersionRecord]) -> Iterator[list[Piece]]:
    yield ["  size", *(size(version.logical_bytes) for version in versions)]
    yield ["  new", *(size(version.new_bytes) for version in versions)]
    yield ["  stored", *(size(version.stored_bytes) for version in versions)]
    yield ["  files", *(f"{version.file_count:,}" for version in versions)]
    if any(version.tensor_count for version in versions):
        yield ["  tensors", *(f"{version.tensor_count:,}" for version in versions)]
