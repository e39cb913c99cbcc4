"""The process: arguments in, exit code out. The only exit, and the only place where errors become text.

    0   done                         12  stored bytes are damaged (integrity)
    1   refused, or not found        13  a remote failed
    2   wrong usage                  14  another writer was first (conflict)
    10  not a repository             70  a bug in mlver; the only case with a traceback
    130 interrupted                  141 nobody reads the output any more; quiet
    129, 143 told to stop by SIGHUP, SIGTERM; like an interrupt, it leaves nothing half-done behind

typer is imported by `_run`, so that shell completion answers without it.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from itertools import takewhile

INTERRUPTED = 130
BROKEN_PIPE = 141
COMPLETE = "__complete"
# With the default of 700 the collector runs dozens of times while modules are imported, and finds nothing: 6 of 100 ms.
ALLOCATIONS_BETWEEN_COLLECTIONS = 50_000


def main() -> int:
    """Run the command that the process was started with; the console script exits with what is returned."""
    gc.set_threshold(ALLOCATIONS_BETWEEN_COLLECTIONS)
    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signal_number) is signal.SIG_DFL:  # nohup, for one, has it ignored
            signal.signal(signal_number, _stop)
    code = run(sys.argv[1:])
    # The interpreter's collections at exit would look at every imported module and find nothing: 14 of 110 ms.
    gc.freeze()
    return code


class _StoppedError(BaseException):
    """The process was told to stop. Not an `Exception`: nothing but clean-up may come before the exit."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


def _stop(signal_number: int, _frame: object) -> None:
    raise _StoppedError(signal_number)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code.

    Args:
        arguments: Those after the program's name.
    """
    try:
        _prepare_streams()
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        _discard_output()  # whoever reads it may be what was waited for
        return INTERRUPTED
    except _StoppedError as stopped:
        _discard_output()
        return 128 + stopped.signal_number
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - whatever escaped is shown, never swallowed
        return _fail(error, arguments)
    return code


def _run(arguments: Sequence[str]) -> int:
    if arguments[:1] == [COMPLETE]:
        from mlver.cli.completion import answer

        return answer(arguments[1:], sys.stdout)
    from mlver.cli.call import CacheRenewedError

    start = _here()
    try:
        return _invoke(arguments, cache_in_memory=False)
    except CacheRenewedError:
        if start is not None:
            os.chdir(start)  # -C counts from where the process was started
        return _invoke(arguments, cache_in_memory=True)


def _here() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # the folder is gone, or hidden from us
        return None


def _invoke(arguments: Sequence[str], cache_in_memory: bool) -> int:
    import typer

    from mlver.cli.app import PROGRAM, root_command

    command = root_command()
    try:
        with command.make_context(PROGRAM, list(arguments), obj=cache_in_memory) as call:
            command.invoke(call)
    except typer.Exit as exit_:
        return exit_.exit_code
    except typer.Abort as abort:  # ^C at a prompt
        raise KeyboardInterrupt from abort
    return 0


def _fail(error: Exception, arguments: Sequence[str]) -> int:
    from mlver.cli.failure import show

    # What parsing made of the arguments is unknown here: it may be what failed.
    as_json = "--json" in takewhile(lambda argument: argument != "--", arguments)
    try:
        sys.stdout.flush()
    except OSError:  # the very reason for being here, or gone as well: what is unwritten cannot be written
        _discard_output()
    return show(error, as_json=as_json, stderr=sys.stderr)


def _prepare_streams() -> None:
    """Make any string writable: a closed stream swallows it, an encoding that lacks a character gets its escape."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - it lives as long as the process
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Let what is still buffered go nowhere, so that the interpreter's own flush at exit does not fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
