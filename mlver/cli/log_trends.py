"""`mlver log --metrics`: a line for each metric, with its course over the versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from mlver.cli.documents import log_document
from mlver.cli.output import Column, Output, Piece
from mlver.cli.style import Styled
from mlver.cli.text import number
from mlver.ops.log import LogResult
from mlver.ops.trends import Trend, metric_trends

_BARS = "▁▂▃▄▅▆▇█"
_MOST = 40
"""Bars of a line; with more versions each stands for the mean of several."""


def show_trends(out: Output, results: Sequence[LogResult], *, every: bool) -> None:
    """Show how the metrics of one artifact went, or of `every` one."""
    trends = [(result, metric_trends(result.versions)) for result in results]
    out.result(
        trends,
        document=lambda found: _document_all(found) if every else _document(*found[0]),
        brief=lambda found: [trend.name for _, some in found for trend in some],
        human=_show,
    )


def sparkline(values: Sequence[float]) -> str:
    """Return the course of values as a row of bars, the lowest and highest of which are theirs."""
    if len(values) > _MOST:
        edges = [len(values) * position // _MOST for position in range(_MOST + 1)]
        values = [sum(value / (end - start) for value in values[start:end]) for start, end in pairwise(edges)]
    halves = [value / 2 for value in values]  # the distance between two huge values may be infinite
    low, span = min(halves), max(halves) - min(halves)
    if not span:
        return _BARS[len(_BARS) // 2] * len(values)
    return "".join(_BARS[round((half - low) / span * (len(_BARS) - 1))] for half in halves)


def _show(out: Output, trends: Sequence[tuple[LogResult, list[Trend]]]) -> None:
    with out.paged():
        for position, (result, found) in enumerate(trends, 1):
            if len(trends) > 1:
                out.heading(f"{result.artifact.name} ({result.artifact.type})")
            out.table(_COLUMNS, [_row(trend) for trend in found])
            if position < len(trends):
                out.line()
    if not any(found for _, found in trends):
        out.note("No version has a metric; mlver meta --metric records one.")


_COLUMNS = (
    Column("METRIC"),
    Column("VERSIONS"),
    Column("COURSE"),
    Column("FIRST", align="right"),
    Column("LAST", align="right"),
    Column("BEST", align="right"),
)


def _row(trend: Trend) -> list[Piece]:
    first, last = trend.versions[0], trend.versions[-1]
    is_better = None if trend.better is None else (trend.values[-1] > trend.values[0]) == (trend.better == "higher")
    moved = trend.values[0] != trend.values[-1]
    style = {True: "good", False: "bad", None: "muted"}[is_better if moved else None]
    return [
        Styled(trend.name, "name"),
        f"v{first.number}" if len(trend.versions) == 1 else f"v{first.number}–v{last.number}",
        sparkline(trend.values),
        number(trend.values[0]),
        Styled(number(trend.values[-1]), style),
        "" if trend.best is None else f"{number(trend.best.metrics[trend.name])} v{trend.best.number}",
    ]


def _document_all(trends: Sequence[tuple[LogResult, list[Trend]]]) -> Mapping[str, Any]:
    return {"artifacts": [_document(*each) for each in trends]}


def _document(result: LogResult, trends: Sequence[Trend]) -> dict[str, Any]:
    return {
        **log_document(result),
        "metrics": [
            {
                "name": trend.name,
                "points": [
                    {"version": f"v{version.number}", "value": value}
                    for version, value in zip(trend.versions, trend.values, strict=True)
                ],
                "better": trend.better,
                "best": None if trend.best is None else f"v{trend.best.number}",
            }
            for trend in trends
        ],
    }
