"""The progress bar: on stderr, on a terminal, for work that takes more than a second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

from mlver.cli.text import escape

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

SHOWN_AFTER_SECONDS = 1.0


class ProgressBar:
    """A `mlver.ops.progress.Progress` that a person can watch: share done, rate, time left.

    rich is imported when the bar is first shown, so quick work does not pay for it.

    Args:
        stderr: The terminal.
        shown_after_seconds: How long work must take to be worth a bar.
    """

    def __init__(self, stderr: TextIO, shown_after_seconds: float = SHOWN_AFTER_SECONDS) -> None:
        self._stderr = stderr
        self._shown_after_seconds = shown_after_seconds
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._started = 0.0
        self._what = ""
        self._total_bytes = 0
        self._done_bytes = 0

    def start(self, total_bytes: int, what: str) -> None:
        """Work on `total_bytes` begins."""
        self.done()
        self._started = time.monotonic()
        self._what = escape(what)
        self._total_bytes = total_bytes
        self._done_bytes = 0

    def advance(self, size_bytes: int) -> None:
        """So many more bytes are done."""
        self._done_bytes += size_bytes
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done_bytes)
        elif time.monotonic() - self._started >= self._shown_after_seconds:
            self._show()

    def done(self) -> None:
        """The work ended: the bar disappears."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as RateColumn

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            RateColumn(),
            TimeRemainingColumn(),
            console=Console(file=self._stderr, force_terminal=True),
            transient=True,
        )
        self._task = self._bar.add_task(self._what, total=self._total_bytes, completed=self._done_bytes)
        self._bar.start()
