"""Running one program of a person's own: told by JSON on its stdin, ended with all it started when it hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlver.lineage.live import Owner, is_surely_running

_LOOK_SECONDS = 0.02
_GRACE_SECONDS = 2.0
"""How long a program that is told to end may take for it."""
_STDERR = 2


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        exit_code: As a shell says it: 128 and the number of a signal that killed it; None if it could not be started,
            or did not end in time.
        problem: What is to be said of it; None if it did what it should.
    """

    exit_code: int | None
    problem: str | None


def execute(
    command: Sequence[str | Path],
    told: bytes,
    folder: Path,
    environment: Mapping[str, str],
    timeout_seconds: float | None = None,
    stdout: int = _STDERR,
    begun: Callable[[int], None] = lambda _: None,
) -> Ended:
    """Run a program to its end. It has a session of its own, so that all it started can be ended with it.

    Args:
        command: The program and its arguments.
        told: What it reads on stdin.
        folder: Where it runs.
        environment: Its variables, all of them.
        timeout_seconds: When it is killed; None lets it run.
        stdout: Descriptor of what it writes to; by default stderr, since the command's own data go to stdout.
        begun: Is told its number as soon as it runs.
    """
    with tempfile.TemporaryFile() as told_file:  # a pipe would break, or fill up, where the program does not read
        told_file.write(told)
        told_file.seek(0)
        try:
            process = subprocess.Popen(  # noqa: S603 - running it is what the person asked for
                [str(word) for word in command],
                stdin=told_file,
                stdout=stdout,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as error:
            return Ended(None, f"cannot be run: {os.strerror(error.errno or 0)}")
        try:
            begun(process.pid)
            code = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            end(process)
            return Ended(None, f"did not end within {timeout_seconds:g} s and was killed")
        except BaseException:
            end(process)
            raise
    return _ended(code)


def _ended(code: int) -> Ended:
    if code == 0:
        return Ended(0, None)
    if code > 0:
        return Ended(code, f"failed with exit code {code}")
    return Ended(128 - code, f"was killed by signal {-code}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program and all it started: asked first, killed if it does not listen."""
    _signal_group(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def end_survivor(owner: Owner) -> None:
    """End a program that outlived whoever ran it, and all it started, if it is running."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not is_surely_running(owner):
            return
        _signal_group(owner.pid, number)
        deadline = time.monotonic() + _GRACE_SECONDS
        while is_surely_running(owner) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it ended meanwhile
        os.killpg(group, number)
