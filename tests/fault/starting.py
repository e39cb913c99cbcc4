"""Processes that strace watches: one that starts as a person's does, and one that has imported everything already.

Most of what a short command costs is the start of an interpreter and its imports, and none of that touches a
repository. So where a command is run for each of its calls, one process imports what the command imports, and every
run is a fork of it: what is in its way then are the same calls, in a tenth of the time.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

from tests.fault.launch import MODULES, PAD, number_threads
from tests.support.process import environment

_PR_SET_PTRACER = 0x59616D61
_ANYBODY = -1
_SECONDS = 120


class Watched(Protocol):
    """Starts a command that strace watches."""

    def run(
        self, argv: Sequence[str], folder: Path, watching: Sequence[str], padded: str = "", count: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end.

        Args:
            argv: The command line.
            folder: Where.
            watching: Options of strace.
            padded: A system call to pad, see `tests.fault.launch`; empty to pad none.
            count: How often.
        """


class Fresh:
    """Starts an interpreter for each command.

    Args:
        modules: A file to write the names of the modules to that the command imported; None for none.
    """

    def __init__(self, modules: Path | None = None) -> None:
        self._modules = modules

    def run(
        self, argv: Sequence[str], folder: Path, watching: Sequence[str], padded: str = "", count: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """See `Watched.run`."""
        # A signal is not sent from where the kernel's filter stops a call, only from where each call is stopped.
        filtering = () if any(":signal=" in option for option in watching) else _bpf()
        variables = {PAD: f"{padded}:{count}"} if padded else {}
        if self._modules is not None:
            variables[MODULES] = str(self._modules)
        return subprocess.run(
            ["strace", "-f", *filtering, *watching, *command_line(argv)],
            cwd=folder,
            env=surroundings(**variables),
            check=False,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )


class Warm:
    """Starts commands as forks of a process that has imported their modules; to be closed.

    Args:
        modules: Their names.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-B", "-m", "tests.fault.starting"],
            env=surroundings(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,  # as each command's, to which Python's own stream for it must be fit
            text=True,
        )
        self._ask({"modules": list(modules)})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def run(
        self, argv: Sequence[str], folder: Path, watching: Sequence[str], padded: str = "", count: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """See `Watched.run`."""
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        ends = [f"/proc/{os.getpid()}/fd/{end}" for end in (out_end, err_end)]
        pid = self._ask({"argv": argv, "folder": str(folder), "ends": ends, "padded": padded, "count": count})
        with subprocess.Popen(["strace", "-f", *watching, "-p", str(pid)], stderr=subprocess.PIPE) as strace:
            _await_tracer(pid, strace)
            code = self._ask({})
            strace.wait(_SECONDS)
        said = []
        for end, closed in ((out, out_end), (err, err_end)):
            os.close(closed)
            with open(end, encoding="utf-8", errors="replace") as stream:
                said.append(stream.read())
        return subprocess.CompletedProcess(argv, code, *said)

    def _ask(self, question: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def _await_tracer(pid: int, strace: subprocess.Popen[bytes]) -> None:
    while "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text():
        assert strace.poll() is None, strace.communicate()
        time.sleep(0.001)


@cache
def _bpf() -> tuple[str, ...]:
    """Return the option by which only calls that are asked for are stopped at, if this strace has it."""
    tried = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "true"]
    done = subprocess.run(tried, check=False, capture_output=True)
    return ("--seccomp-bpf",) if done.returncode == 0 else ()


def command_line(argv: Sequence[str]) -> list[str]:
    """Return how mlver is started here; no bytecode is written, which would only blur the trace."""
    return [sys.executable, "-B", "-m", "tests.fault.launch", *argv]


def surroundings(**variables: str) -> dict[str, str]:
    """Return the environment of a command that is traced; threads of BLAS are none that Python starts."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # what `python` is costs nothing
    return environment(OPENBLAS_NUM_THREADS="1", PATH=path, **variables)


def _serve(questions: IO[str], answers: IO[str]) -> bool:
    """Import what is asked for, then become one command after the other; True in a fork that is to run one."""

    def answer(number: int) -> None:
        answers.write(f"{number}\n")
        answers.flush()

    for module in json.loads(questions.readline())["modules"]:
        with suppress(ImportError):
            importlib.import_module(module)
    answer(0)
    for line in questions:
        gate, opened = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(opened)
            _become(json.loads(line), gate)
            return True
        os.close(gate)
        answer(pid)
        questions.readline()
        os.close(opened)
        answer(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    return False


def _become(asked: dict[str, Any], gate: int) -> None:
    """Be as if this process had been started for a command, from when strace looks on."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANYBODY)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, path in ((1, asked["ends"][0]), (2, asked["ends"][1])):
        end = os.open(path, os.O_WRONLY)
        os.dup2(end, number)
        os.close(end)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.chdir(asked["folder"])
    sys.argv = ["mlver", *asked["argv"]]
    os.read(gate, 1)
    os.close(gate)
    number_threads(asked["padded"], asked["count"])


if __name__ == "__main__":
    # The answers have a descriptor of their own: 1 is what a command writes to.
    if _serve(sys.stdin, os.fdopen(os.dup(1), "w")):
        from mlver.cli.main import main

        sys.exit(main())
