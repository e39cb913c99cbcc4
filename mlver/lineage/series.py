"""The courses of a run's metrics as one blob: columns of numbers, in blocks, each stored as it is smallest.

    run.log → journal → **series** → blob → event

Metrics that were logged together form a group, which has the columns steps, times and one for each metric. A block is
up to 65,536 rows of a group; each of its columns is encoded by itself, so that neither writing nor reading needs more
memory than a block beside the result.

Source: docs/format.md, *Metric series*.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from mlver.codec import decode, encode
from mlver.digests import canonical_json
from mlver.errors import IntegrityError

MAGIC = b"\x89MLS"
SERIES_FORMAT = 1
BLOCK_ROWS = 65_536
MAX_POINTS = 1 << 28
"""Of one metric: a small blob may claim more rows than memory has room for."""

Numbers = np.ndarray[Any, np.dtype[Any]]


class Rows(NamedTuple):
    """Values that were logged together.

    Attributes:
        metrics: Their names.
        steps: int64 of shape (rows,).
        times: int64 of shape (rows,): microseconds since 1970 in UTC.
        values: float64 of shape (rows, metrics).
    """

    metrics: tuple[str, ...]
    steps: Numbers
    times: Numbers
    values: Numbers


class Series(NamedTuple):
    """The course of one metric, in the order in which it was logged.

    Attributes:
        steps: int64 of shape (points,).
        times: int64 of shape (points,): microseconds since 1970 in UTC.
        values: float64 of shape (points,); NaN and infinities where that was logged.
    """

    steps: Numbers
    times: Numbers
    values: Numbers


class _Column(NamedTuple):
    """How a column is stored: element size in bytes, how often differences were taken, codec's number, and size."""

    width: int
    order: int
    encoding: int
    size_bytes: int


@dataclass(slots=True)
class _Group:
    """The rows of one group that are not in a block yet, and the heads of its blocks with their payloads."""

    waiting: list[tuple[Numbers, Numbers, Numbers]] = field(default_factory=list)
    waiting_rows: int = 0
    blocks: list[list[Any]] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)


class SeriesWriter:
    """Takes rows in the order in which they were logged, and makes them a blob."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, ...], _Group] = {}

    def append(self, rows: Rows) -> None:
        """Take the next rows."""
        order = sorted(range(len(rows.metrics)), key=lambda position: rows.metrics[position])
        group = self._groups.setdefault(tuple(rows.metrics[position] for position in order), _Group())
        for start in range(0, len(rows.steps), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            group.waiting.append((rows.steps[part], rows.times[part], rows.values[part][:, order]))
            group.waiting_rows += len(rows.steps[part])
            while group.waiting_rows >= BLOCK_ROWS:
                _write_block(group)

    def finish(self) -> bytes | None:
        """Return the blob; None if there was no row."""
        groups = []
        payloads: list[bytes] = []
        for metrics, group in sorted(self._groups.items()):
            if group.waiting_rows:
                _write_block(group)
            groups.append({"metrics": list(metrics), "blocks": group.blocks})
            payloads += group.payloads
        if not groups:
            return None
        head = canonical_json({"mlver_series": SERIES_FORMAT, "groups": groups})
        return b"".join([MAGIC, len(head).to_bytes(4, "little"), head, *payloads])


def _write_block(group: _Group) -> None:
    """Move up to `BLOCK_ROWS` rows from those that wait into a block."""
    steps, times, values = (np.concatenate(parts) for parts in zip(*group.waiting, strict=True))
    rest = (steps[BLOCK_ROWS:], times[BLOCK_ROWS:], values[BLOCK_ROWS:])
    group.waiting_rows = len(rest[0])
    group.waiting = [rest] if group.waiting_rows else []
    block: list[Any] = [min(len(steps), BLOCK_ROWS)]
    for column in (steps[:BLOCK_ROWS], times[:BLOCK_ROWS]):
        _write_column(group, block, [_encode(column.view("<u8"), "U64", order) for order in (0, 1, 2)])
    for column in np.ascontiguousarray(values[:BLOCK_ROWS].T):
        bits, dtype = _narrowed(column)
        _write_column(group, block, [_encode(bits, dtype, 0), _encode(bits, f"U{8 * bits.itemsize}", 1)])
    group.blocks.append(block)


def _write_column(group: _Group, block: list[Any], candidates: Sequence[tuple[_Column, bytes]]) -> None:
    column, payload = min(candidates, key=lambda candidate: candidate[0].size_bytes)
    block.append(list(column))
    group.payloads.append(payload)


def _encode(bits: Numbers, dtype: str, order: int) -> tuple[_Column, bytes]:
    for _ in range(order):
        bits = np.concatenate([bits[:1], np.diff(bits)])
    if order:
        bits = bits << bits.dtype.type(1) ^ -(bits >> bits.dtype.type(8 * bits.itemsize - 1))
    encoded = encode(bits.tobytes(), dtype)
    payload = bytes(encoded.payload())
    return _Column(bits.itemsize, order, encoded.encoding, len(payload)), payload


def _narrowed(values: Numbers) -> tuple[Numbers, str]:
    """Return the bits of values, as F32 where that loses nothing, and their type."""
    with np.errstate(over="ignore"):
        narrow = values.astype("<f4")
    if (narrow.astype("<f8").view("<u8") == values.view("<u8")).all():
        return narrow.view("<u4"), "F32"
    return values.view("<u8"), "F64"


def metric_names(blob: bytes) -> list[str]:
    """Return the names of the metrics in a blob.

    Raises:
        IntegrityError: It is no series.
    """
    return sorted({name for metrics, _ in _groups(_read_head(blob)[0]) for name in metrics})


def read_series(blob: bytes, wanted: Collection[str] | None = None) -> dict[str, Series]:
    """Return the courses of metrics.

    Args:
        blob: What `SeriesWriter` made.
        wanted: Names of metrics; None: all. Columns of others are not decoded.

    Raises:
        IntegrityError: It is no series, or more than memory has room for.
    """
    head, offset = _read_head(blob)
    found: dict[str, list[Series]] = {}
    points: dict[str, int] = {}
    view = memoryview(blob)
    for metrics, block in _blocks(head):
        rows, columns = block[0], [_Column(*column) for column in block[1:]]
        starts = [offset]
        for column in columns:
            starts.append(starts[-1] + column.size_bytes)
        offset = starts[-1]
        if offset > len(blob):
            raise IntegrityError("A metric series is cut short.")
        names = [name for name in metrics if wanted is None or name in wanted]
        if not names:
            continue
        steps, times = (_decode(columns[i], view[starts[i] : starts[i + 1]], rows).view("<i8") for i in (0, 1))
        for position, name in enumerate(metrics, 2):
            if name not in names:
                continue
            points[name] = points.get(name, 0) + rows
            if points[name] > MAX_POINTS:
                raise IntegrityError(f"A metric series claims more than {MAX_POINTS} values of {name!r}.")
            bits = _decode(columns[position], view[starts[position] : starts[position + 1]], rows)
            values = bits.view(f"<f{bits.itemsize}").astype("<f8")
            found.setdefault(name, []).append(Series(steps, times, values))
    if offset != len(blob):
        raise IntegrityError("A metric series has bytes that belong to nothing.")
    return {name: _joined(parts) for name, parts in sorted(found.items())}


def _joined(parts: Sequence[Series]) -> Series:
    """Put the blocks of one metric together, in the order of their times."""
    steps, times, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    if (times[1:] >= times[:-1]).all():
        return Series(steps, times, values)
    order = np.argsort(times, kind="stable")
    return Series(steps[order], times[order], values[order])


def _decode(column: _Column, payload: memoryview, rows: int) -> Numbers:
    raw = decode(column.encoding, payload, rows * column.width)
    bits: Numbers = np.frombuffer(raw, f"<u{column.width}")
    one = bits.dtype.type(1)
    if column.order:
        bits = bits >> one ^ -(bits & one)
    for _ in range(column.order):
        bits = np.cumsum(bits, dtype=bits.dtype)
    return bits


def _read_head(blob: bytes) -> tuple[dict[str, Any], int]:
    """Return the head of a blob, and where it ends."""
    size = int.from_bytes(blob[4:8], "little")
    if blob[:4] != MAGIC or len(blob) < 8 + size:
        raise IntegrityError("This is no metric series.")
    line = blob[8 : 8 + size]
    try:
        head = json.loads(line)
        canonical = canonical_json(head) == line
    except (ValueError, RecursionError) as error:
        raise IntegrityError("A metric series has a malformed head.") from error
    if not canonical or not isinstance(head, dict):
        raise IntegrityError("A metric series has a malformed head.")
    if head.get("mlver_series") != SERIES_FORMAT:
        raise IntegrityError(
            "A metric series has an unknown format.",
            "A newer mlver may have written it: upgrade.",
        )
    if head.keys() != {"mlver_series", "groups"} or not _are_groups(head["groups"]):
        raise IntegrityError("A metric series has a malformed head.")
    return head, 8 + size


def _groups(head: dict[str, Any]) -> Iterator[tuple[list[str], list[Any]]]:
    return ((group["metrics"], group["blocks"]) for group in head["groups"])


def _blocks(head: dict[str, Any]) -> Iterator[tuple[list[str], list[Any]]]:
    return ((metrics, block) for metrics, blocks in _groups(head) for block in blocks)


def _are_groups(groups: Any) -> bool:
    """Tell whether the groups of a head have the form that docs/format.md gives them."""
    if not isinstance(groups, list) or not all(map(_is_group, groups)):
        return False
    keys = [group["metrics"] for group in groups]
    return all(one < other for one, other in pairwise(keys))


def _is_group(group: Any) -> bool:
    if not isinstance(group, dict) or group.keys() != {"metrics", "blocks"}:
        return False
    metrics, blocks = group["metrics"], group["blocks"]
    if not isinstance(metrics, list) or not metrics or not all(isinstance(name, str) for name in metrics):
        return False
    if metrics != sorted(set(metrics)) or not isinstance(blocks, list) or not blocks:
        return False
    return all(_is_block(block, len(metrics) + 2) for block in blocks)


def _is_block(block: Any, columns: int) -> bool:
    if not isinstance(block, list) or len(block) != columns + 1 or not _is_integer(block[0], 1, BLOCK_ROWS):
        return False
    return all(_is_column(column, position < 2) for position, column in enumerate(block[1:]))


def _is_column(column: Any, is_integers: bool) -> bool:
    return (
        isinstance(column, list)
        and len(column) == len(_Column._fields)
        and column[0] in ((8,) if is_integers else (4, 8))
        and all(map(_is_integer, column, (4, 0, 0, 0), (8, 2, 15, 1 << 31)))
    )


def _is_integer(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high
