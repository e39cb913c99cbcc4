"""Other processes: running a small one and reading what it says, and how the parent of this one was called."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlver.lineage.capture.secrets import masked_arguments

PROBE_SECONDS = 10.0
_MAX_WORDS = 1000
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What a small process said.

    Attributes:
        output: Its standard output.
        problem: Why that is not to be used, as a clause such as `took longer than 10 s`; None if it is.
    """

    output: bytes
    problem: str | None = None


def ask(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path | None = None,
    max_bytes: int = 64 << 20,
    seconds: float = PROBE_SECONDS,
) -> Answer:
    """Run a small process without input, and return what it wrote.

    Args:
        arguments: The program, as an absolute path or a name, and its arguments.
        environment: Its environment.
        folder: Where it runs.
        max_bytes: It is killed once it has written more.
        seconds: It is killed if it takes longer.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - git, the interpreter that is about to run, or the driver's own program
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        return Answer(b"", f"cannot be run: {os.strerror(error.errno or 0)}")
    with process:
        return _listen(process, max_bytes, seconds)


def _listen(process: subprocess.Popen[bytes], max_bytes: int, seconds: float) -> Answer:
    from threading import Timer

    late = Timer(seconds, _kill, [process])
    late.daemon = True
    late.start()
    pieces: list[bytes] = []
    size = 0
    assert process.stdout is not None
    try:
        while size <= max_bytes and (piece := os.read(process.stdout.fileno(), _READ_BYTES)):
            pieces.append(piece)
            size += len(piece)
    finally:
        is_late = not late.is_alive()
        late.cancel()
        if size > max_bytes:
            _kill(process)
    code = process.wait()
    if is_late:
        return Answer(b"", f"took longer than {seconds:g} s")
    if size > max_bytes:
        return Answer(b"", f"wrote more than {max_bytes >> 20} MiB")
    return Answer(b"".join(pieces), None if code == 0 else f"failed with exit code {code}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with what it started, which would keep its output open."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def parent_command() -> list[str]:
    """Return the command line of the process that started this one, masked; empty where nobody can tell."""
    return command_of(os.getppid())


def command_of(pid: int) -> list[str]:
    """Return the command line of a process, masked; empty where nobody can tell."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []
    return masked_arguments([word.decode("utf-8", "backslashreplace") for word in words[:_MAX_WORDS]])
