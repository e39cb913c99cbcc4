"""Starts mlver as a person does, but for one thing: a tracer can tell its threads apart, and reach each call of each.

strace counts calls by thread and process, and its `when=3` hits the third call of each. So where a call is to be hit,
the first thread begins with so many failing calls of that name that no child process makes as many, the second thread
with twice as many, and so on. Then every call of every thread has a number of its own.

Calls that only pad are hit too, on the way to their number. An error makes no difference to them. A signal would, so
it is one that can be blocked meanwhile: `KILLING`, which ends a process as SIGKILL does, since nobody handles it, nor
hands it on to what `mlver run` has started.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import sys
import threading
from typing import Any

MARK = -1000
"""The thread that was started as the nth begins with `ftruncate(MARK - n, 0)`, which fails and changes nothing."""
PAD = "MLVER_TEST_PAD"
"""The variable that names the call to pad, and how often: `fsync:256`."""
MODULES = "MLVER_TEST_MODULES"
"""The variable that names the file to write the names of all modules to that were imported."""
KILLING = signal.SIGVTALRM


def number_threads(padded: str, count: int) -> None:
    """Let this thread, and every one that is started from now on, pad its calls of this name; those say who they are.

    Args:
        padded: A system call; empty to pad none.
        count: How many calls the first thread makes; the second makes twice as many, and so on.
    """
    library = ctypes.CDLL(None)
    numbers = itertools.count(1)
    start, run = threading.Thread.start, threading.Thread.run
    given: dict[threading.Thread, int] = {}

    def pad(number: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {KILLING})
        for _ in range(count * (number + 1)):
            getattr(library, padded)(-1, -1, -1, -1, -1)
        signal.sigtimedwait({KILLING}, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {KILLING})

    def numbered_start(self: threading.Thread) -> None:
        given[self] = next(numbers)
        start(self)

    def numbered_run(self: threading.Thread, *arguments: Any) -> None:
        number = given.pop(self)
        library.ftruncate(MARK - number, 0)
        pad(number)
        run(self)

    threading.Thread.start = numbered_start  # type: ignore[method-assign]
    threading.Thread.run = numbered_run  # type: ignore[method-assign]
    pad(0)


def _run() -> int:
    from mlver.cli.main import main

    return main()


if __name__ == "__main__":
    name, _, times = os.environ.pop(PAD, "").partition(":")
    noted = os.open(os.environ.pop(MODULES, os.devnull), os.O_WRONLY | os.O_CREAT)  # before anything else is opened
    number_threads(name, int(times or 0))
    code = _run()
    os.write(noted, "\n".join(sys.modules).encode())
    sys.exit(code)
