"""The pager: long output to a person goes through `less`, as with git."""

from __future__ import annotations

import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TextIO, cast

# Quit if it fits one screen, let colours through, leave the text on the screen.
LESS_OPTIONS = "FRX"


@contextmanager
def paged(command: str, environment: Mapping[str, str]) -> Iterator[TextIO]:
    """Start a pager and yield the stream that it shows; wait for it at the end.

    A person who quits early has seen enough: that is no error.

    Raises:
        OSError: The pager cannot be started.
        ValueError: `command` has unbalanced quotes.
    """
    process = subprocess.Popen(  # noqa: S603 - the person's own PAGER, without a shell
        shlex.split(command),
        stdin=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="backslashreplace",
        env={"LESS": LESS_OPTIONS, "LV": "-c", **environment},
    )
    stream = cast(TextIO, process.stdin)
    try:
        with suppress(BrokenPipeError):
            yield stream
    finally:
        # ^C belongs to the pager now: it must not leave the terminal to us while it still runs.
        former = signal.signal(signal.SIGINT, signal.SIG_IGN)
        with suppress(BrokenPipeError):
            stream.close()
        process.wait()
        signal.signal(signal.SIGINT, former)
