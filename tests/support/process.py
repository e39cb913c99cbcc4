"""mlver as a person or a script runs it: a process of its own, with pipes or in a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "mlver")
PROJECT = Path(__file__).parents[2]
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True)
class Finished:
    """How a process ended."""

    code: int
    out: str
    err: str


def environment(**changes: str) -> dict[str, str]:
    """Return an environment without the settings of whoever runs the tests."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": str(PROJECT), "TERM": "xterm", **changes}


def run_mlver(*arguments: str, folder: Path, variables: Mapping[str, str] | None = None, **streams: Any) -> Finished:
    """Run mlver with pipes; `streams` replaces them, as for `subprocess.run`."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=environment(**(variables or {})), check=False, timeout=60, **streams
    )
    return Finished(done.returncode, (done.stdout or b"").decode(), (done.stderr or b"").decode())


def run_in_terminal(*command: str, folder: Path, variables: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a command in a terminal of 80 columns; return its exit code and all it wrote to the screen."""
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(COLUMNS="80", LINES="24", **(variables or {})),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    text = bytearray()
    while True:
        try:
            read = os.read(screen, 65536)
        except OSError:  # EIO: the other end is closed
            break
        if not read:
            break
        text += read
    os.close(screen)
    return process.wait(timeout=60), text.decode()
