r"""The journal of a live run: each `log` call is appended to a file at once, so that a killed process loses nothing.

    run.log → **journal** → series → blob → event

Each process that logs has a file of its own, `<16 hex>.metrics` in the run's live folder, so that none waits for
another. It never leaves the machine, and is gone once its run is over. Appending costs one write of some dozens of
bytes, and no memory. All integers are little-endian::

    "\x89MLJ1\0\0\0"
    u16 1, u16 shape, u32 length, text      from here on, rows of this shape have these metrics: a JSON array of names
    u16 shape, i64 step, i64 time, f64 …    a row: the time in microseconds since 1970, and a value for each metric

Shapes are numbered from 2. A row that was cut short ends the file, and so does a shape 0: after a power cut a file may
end in zeros. `mlver.lineage.journal_reader` reads it.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, SupportsFloat

from mlver.errors import MlverError, UsageError
from mlver.store.failures import storage_error

MAGIC = b"\x89MLJ1\0\0\0"
SUFFIX = ".metrics"
DEFINITION = 1
FIRST_SHAPE = 2
ROW_HEAD = struct.Struct("<Hqq")
DEFINITION_HEAD = struct.Struct("<HHI")
MAX_METRICS = 10_000
"""Names of metrics in one run: more are made by a mistake, such as a number in the name."""
_MAX_SHAPES = 4096
"""Metrics that are logged together in still another way are then written one by one."""
MAX_NAME_BYTES = 512
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_STEPS = range(-(1 << 63), 1 << 63)
_Pack = Callable[..., bytes]


def has_journals(folder: Path) -> bool:
    """Tell whether anything was logged into a live folder; nothing was into one that is gone."""
    try:
        return any(name.endswith(SUFFIX) for name in os.listdir(folder))
    except FileNotFoundError:
        return False


class Journal:
    """Where one process logs metrics of one run; any number of its threads may.

    In a process that was forked it begins a file of its own. Nothing is created before the first call.

    Args:
        folder: The run's live folder, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()  # another thread of the parent may have held it when this process was forked
        self._descriptor = -1
        self._size_bytes = 0
        self._shapes: dict[tuple[str, ...], tuple[_Pack, int]] = {}
        self._names: set[str] = set()
        self._step = -1
        self._time = 0

    def log(self, metrics: Mapping[str, SupportsFloat], step: int | None = None) -> None:
        """Append values that belong together.

        Args:
            metrics: Numbers by name; NaN and infinities too.
            step: Such as the number of batches so far; None: one more than the last.

        Raises:
            UsageError: A value or the step is no number, or there are too many names.
            MlverError: The file cannot be written.
        """
        if os.getpid() != self._process:
            self._begin()
        names = tuple(metrics)
        with self._lock:
            pack, shape = self._shapes.get(names) or self._define(names, metrics)
            at = time.time_ns() // 1000
            if at <= self._time:
                at = self._time + 1  # rows keep their order, whatever the clock does
            position = self._step + 1 if step is None else step
            try:
                row = pack(shape, position, at, *metrics.values())
            except (struct.error, TypeError, ValueError, OverflowError) as error:
                raise _refusal(metrics, position) from error
            self._append(row)
            self._step, self._time = int(position), at

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            self._shapes.clear()  # whoever logs after all begins another file
            if descriptor >= 0 and os.getpid() == self._process:
                os.close(descriptor)

    def _define(self, names: tuple[str, ...], metrics: Mapping[str, SupportsFloat]) -> tuple[_Pack, int]:
        """Begin to write rows of a new shape."""
        self._check(names)
        if len(self._shapes) >= _MAX_SHAPES and len(names) > 1:
            return self._one_by_one(names), 0
        _check_values(metrics)
        shape = FIRST_SHAPE + len(self._shapes)
        text = json.dumps(names).encode()
        self._open()
        self._append(DEFINITION_HEAD.pack(DEFINITION, shape, len(text)) + text)
        self._shapes[names] = struct.Struct(f"{ROW_HEAD.format}{len(names)}d").pack, shape
        return self._shapes[names]

    def _one_by_one(self, names: tuple[str, ...]) -> _Pack:
        """Return what packs a row as one row for each metric."""
        shapes = [self._shapes.get((name,)) or self._define((name,), {name: 0.0}) for name in names]

        def pack(_: int, step: int, at: int, *values: float) -> bytes:
            rows = zip(shapes, values, strict=True)
            return b"".join(pack_one(shape, step, at, value) for (pack_one, shape), value in rows)

        return pack

    def _check(self, names: tuple[str, ...]) -> None:
        if not names:
            raise UsageError("There is nothing to log: no metric was given.")
        for name in names:
            _check_name(name)
        if len(self._names.union(names)) > MAX_METRICS:
            raise UsageError(
                f"Metric {names[0]!r} is not logged: the run has more than {MAX_METRICS:,} already.",
                "Is there a number in their names? Log it as the step, or as a metric of its own.",
            )
        self._names.update(names)

    def _open(self) -> None:
        if self._descriptor >= 0:
            return
        path = self._folder / (os.urandom(8).hex() + SUFFIX)
        try:
            self._descriptor = os.open(path, _FLAGS, 0o644)
        except OSError as error:
            raise storage_error(error, "write", str(path)) from error
        self._size_bytes = 0
        self._append(MAGIC)

    def _append(self, data: bytes) -> None:
        """Append bytes, all or none of them: what follows must stay readable."""
        try:
            if os.write(self._descriptor, data) != len(data):
                os.ftruncate(self._descriptor, self._size_bytes)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise storage_error(error, "write", str(self._folder)) from error
        self._size_bytes += len(data)


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise UsageError(f"A metric has the name {name!r}, which is not a text.")
    try:
        too_long = len(name.encode("utf-8", "strict")) > MAX_NAME_BYTES
    except UnicodeEncodeError as error:
        raise UsageError(f"The name of metric {name!r} is not valid Unicode.") from error
    if too_long:
        raise UsageError(f"The name of metric {name[:40]!r}… is longer than {MAX_NAME_BYTES} bytes.")


def _check_values(metrics: Mapping[str, SupportsFloat]) -> None:
    """Refuse what is no number before anything is written of it."""
    for name, value in metrics.items():
        if not _is_number(value):
            raise _no_number(name, value)


def _refusal(metrics: Mapping[str, SupportsFloat], step: Any) -> MlverError:
    """Return the error that names what cannot be logged."""
    for name, value in metrics.items():
        if not _is_number(value):
            return _no_number(name, value)
    if not hasattr(step, "__index__") or int(step) not in _STEPS:
        return UsageError(f"The step is {step!r}, which is not a whole number.")
    return MlverError(f"Metrics {', '.join(metrics)} cannot be logged.")


def _is_number(value: Any) -> bool:
    try:
        struct.pack("<d", value)
    except (struct.error, TypeError, ValueError, OverflowError):
        return False
    return True


def _no_number(name: str, value: Any) -> UsageError:
    shown = repr(value)
    return UsageError(
        f"Metric {name!r} is {shown if len(shown) <= 80 else shown[:80] + '…'}, which is not a number.",
        "Texts and settings belong into the run's config.",
    )
