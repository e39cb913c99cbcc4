"""Reading the journals of a live run: rows by shape, piece by piece, and what became of each metric.

A journal may end anywhere: what is whole is read, and the rest is left. See `mlver.lineage.journal` for the bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mlver.history.records import MetricSummary
from mlver.lineage.journal import (
    DEFINITION,
    DEFINITION_HEAD,
    FIRST_SHAPE,
    MAGIC,
    MAX_METRICS,
    MAX_NAME_BYTES,
    ROW_HEAD,
    SUFFIX,
)
from mlver.lineage.series import Rows, SeriesWriter
from mlver.store.failures import storage_error

_PIECE_BYTES = 4 << 20
_MAX_DEFINITION_BYTES = 6 * MAX_METRICS * MAX_NAME_BYTES


@dataclass(frozen=True, slots=True)
class Course:
    """What a run logged.

    Attributes:
        series: Blob of all values; None if there are none.
        metrics: What became of each metric.
    """

    series: bytes | None
    metrics: dict[str, MetricSummary]


def read_course(folder: Path, max_bytes: int) -> Course:
    """Return what was logged into a live folder so far, by all processes.

    Args:
        folder: The live folder.
        max_bytes: If the series would be larger, only every second, fourth, … value is in it.

    Raises:
        MlverError: A journal cannot be read.
    """
    for stride in (1 << doubling for doubling in range(64)):
        writer, summaries = SeriesWriter(), Summaries()
        for rows in JournalReader(folder).rows():
            writer.append(_every(rows, stride))
            summaries.append(rows)
        series = writer.finish()
        if series is None or len(series) <= max_bytes:
            return Course(series, summaries.finish())
    raise AssertionError("a series of nothing is small")


def _every(rows: Rows, stride: int) -> Rows:
    return rows if stride == 1 else Rows(rows.metrics, *(column[::stride] for column in rows[1:]))


def read_summaries(folder: Path) -> dict[str, MetricSummary]:
    """Return what became so far of each metric that was logged into a live folder.

    Raises:
        MlverError: A journal cannot be read.
    """
    summaries = Summaries()
    for rows in JournalReader(folder).rows():
        summaries.append(rows)
    return summaries.finish()


@dataclass(slots=True)
class _Shape:
    """Rows of one shape: their metrics and size, and where those of the present piece begin."""

    metrics: tuple[str, ...]
    size_bytes: int
    starts: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Progress:
    """How far a journal was read, and which shapes it has defined; `is_sound` until something in it means nothing."""

    position: int = 0
    shapes: dict[int, _Shape] = field(default_factory=dict)
    is_sound: bool = True


class JournalReader:
    """Reads the journals of a live folder, each row once.

    Args:
        folder: The live folder; one that is gone has no journals.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, _Progress] = {}

    def rows(self) -> Iterator[Rows]:
        """Yield what was logged since the last call, in pieces: in order for each process and shape.

        Raises:
            MlverError: A journal cannot be read.
        """
        try:
            names = sorted(name for name in os.listdir(self._folder) if name.endswith(SUFFIX))
        except FileNotFoundError:
            return
        for name in names:
            progress = self._files.setdefault(name, _Progress())
            file = _opened(self._folder / name) if progress.is_sound else None
            if file is not None:
                with file:
                    yield from _read(file, progress)


def _opened(path: Path) -> BinaryIO | None:
    """Open a journal; None if it is gone, since somebody else ended the run."""
    try:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, "read", str(path)) from error


def _read(file: BinaryIO, progress: _Progress) -> Iterator[Rows]:
    if progress.position == 0:
        progress.is_sound = file.read(len(MAGIC)) == MAGIC
        progress.position = len(MAGIC)
    file.seek(progress.position)
    rest = b""
    while progress.is_sound and (piece := file.read(_PIECE_BYTES)):
        data = rest + piece
        end, progress.is_sound = _scan(data, progress.shapes)
        for shape in progress.shapes.values():
            if shape.starts:
                yield _rows(data, shape)
                shape.starts.clear()
        progress.position += end
        rest = data[end:]


def _scan(data: bytes, shapes: dict[int, _Shape]) -> tuple[int, bool]:
    """Find the rows in a piece; return where what is whole of it ends, and whether more of it may follow."""
    position, size = 0, len(data)
    while position + 2 <= size:
        kind = data[position] | data[position + 1] << 8
        shape = shapes.get(kind)
        if shape is not None:
            following = position + shape.size_bytes
            if following > size:
                break
            shape.starts.append(position)
            position = following
        elif kind == DEFINITION:
            length = _definition_bytes(data, position)
            if length is None or position + length > size:
                break
            if not _define(data[position : position + length], shapes):
                return position, False
            position += length
        else:
            return position, False
    return position, True


def _definition_bytes(data: bytes, position: int) -> int | None:
    """Return the size of a definition; None if not even that is there."""
    if position + DEFINITION_HEAD.size > len(data):
        return None
    return DEFINITION_HEAD.size + min(int(DEFINITION_HEAD.unpack_from(data, position)[2]), _MAX_DEFINITION_BYTES)


def _define(definition: bytes, shapes: dict[int, _Shape]) -> bool:
    """Take in a definition; False if it is none."""
    try:
        names = json.loads(definition[DEFINITION_HEAD.size :])
    except (ValueError, RecursionError):
        return False
    number = DEFINITION_HEAD.unpack_from(definition)[1]
    if number < FIRST_SHAPE or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return False
    shapes[number] = _Shape(tuple(names), ROW_HEAD.size + 8 * len(names))
    return True


def _rows(data: bytes, shape: _Shape) -> Rows:
    """Take the rows of one shape out of a piece."""
    kinds: Any = [("kind", "<u2"), ("step", "<i8"), ("time", "<i8"), ("values", "<f8", (len(shape.metrics),))]
    places = np.array(shape.starts)[:, None] + np.arange(shape.size_bytes)
    table = np.frombuffer(data, np.uint8)[places].view(np.dtype(kinds))[:, 0]
    return Rows(shape.metrics, *(np.ascontiguousarray(table[name]) for name in ("step", "time", "values")))


class Summaries:
    """What became of each metric, from rows in any order."""

    def __init__(self) -> None:
        self._found: dict[str, MetricSummary] = {}
        self._newest: dict[str, int] = {}

    def append(self, rows: Rows) -> None:
        """Take in rows."""
        for position, name in enumerate(rows.metrics):
            self._take(name, rows.times, rows.values[:, position])

    def finish(self) -> dict[str, MetricSummary]:
        """Return what became of each metric, by name."""
        return dict(sorted(self._found.items()))

    def _take(self, name: str, times: Any, values: Any) -> None:
        before = self._found.get(name, MetricSummary(None, None, None, 0, 0))
        finite = np.isfinite(values)
        numbers = values[finite]
        value_count = before.value_count + len(values)
        nan_count = before.nan_count + len(values) - len(numbers)
        last, low, high = before.last, before.min, before.max
        if len(numbers):
            newest = int(times[finite][-1])
            if last is None or newest >= self._newest[name]:
                last, self._newest[name] = float(numbers[-1]), newest
            low = min(float(numbers.min()), float("inf") if low is None else low)
            high = max(float(numbers.max()), float("-inf") if high is None else high)
        self._found[name] = MetricSummary(last, low, high, value_count, nan_count)
