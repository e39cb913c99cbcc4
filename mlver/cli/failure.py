"""Errors as they are shown: `Error:` and `Hint:` for people, one line of JSON for scripts, a traceback for bugs only.

Both go to stderr. With `--json` it is `{"error": {"kind", "message", "hint", "exit_code"}}`, so that stdout holds the
command's document or nothing.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from typing import TextIO

import click

from mlver.cli.output import Mode, Output
from mlver.cli.terminal import detect
from mlver.cli.text import escape_block
from mlver.errors import MlverError
from mlver.expressions import ExpressionError
from mlver.store.failures import hint_in
from mlver.store.remote.secrets import without_secrets_in

USAGE = 2
BUG = 70  # EX_SOFTWARE of sysexits.h
_PACKAGE = "mlver"


@dataclass(frozen=True, slots=True)
class Failure:
    """What is said of an error.

    Attributes:
        kind: Stable name for programs: those of `mlver.errors`, and `bug`.
        message: One sentence.
        hint: What helps, if anything is known to.
        exit_code: Of the process.
    """

    kind: str
    message: str
    hint: str | None
    exit_code: int


def describe(error: Exception) -> Failure:
    """Return what is to be said of an error."""
    if isinstance(error, MlverError):
        return Failure(error.kind, error.message, error.hint, error.exit_code)
    if isinstance(error, click.ClickException):
        return _describe_click(error)
    if isinstance(error, OSError) and error.errno is not None:
        where = "" if error.filename is None else f": {os.fsdecode(error.filename)!r}"
        return Failure(MlverError.kind, f"{os.strerror(error.errno)}{where}.", None, MlverError.exit_code)
    if _is_of_a_library(error):
        return _describe_library(error)
    name = type(error).__name__
    return Failure(
        "bug",
        without_secrets_in(f"{name}: {error}"),
        "This is a bug in mlver. Please report it, with the traceback above.",
        BUG,
    )


def _is_of_a_library(error: Exception) -> bool:
    """Tell whether it is the import of a library that failed, by an `ImportError` or else in the library's own body."""
    if isinstance(error, ImportError):
        return not (error.name or "").startswith(_PACKAGE)
    frame = None
    step = error.__traceback__
    while step is not None:
        frame, step = step.tb_frame, step.tb_next
    if frame is None or frame.f_code.co_name != "<module>":
        return False
    return not str(frame.f_globals.get("__name__")).startswith(_PACKAGE)


def _describe_library(error: Exception) -> Failure:
    """Say what kept a library from being loaded: of those that wrap what happened in advice, what happened."""
    reason: BaseException = error
    step: BaseException | None = error
    while step is not None:
        reason = step if isinstance(step, ImportError) else reason
        step = step.__cause__ or step.__context__
    text = " ".join(str(reason).split()).rstrip(".")
    hint = hint_in(text) or "Its installation is not whole, or does not fit: install mlver again."
    return Failure(MlverError.kind, f"Cannot load a library that mlver needs: {text}.", hint, MlverError.exit_code)


def _describe_click(error: click.ClickException) -> Failure:
    if not isinstance(error, click.UsageError):
        return Failure(MlverError.kind, error.format_message(), None, MlverError.exit_code)
    message = error.message if isinstance(error, click.NoSuchOption) else error.format_message()
    nearest = getattr(error, "possibilities", None)
    if nearest:
        hint: str | None = f"Did you mean {' or '.join(map(repr, nearest))}?"
    else:
        hint = f"See: {error.ctx.command_path} --help" if error.ctx else None
    return Failure("usage", _sentence(message), hint, USAGE)


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "?", "!")) else f"{text}."


def show(error: Exception, *, as_json: bool, stderr: TextIO) -> int:
    """Say on `stderr` what failed, and return the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        stderr.write(error.format_message() + "\n")
        return USAGE
    failure = describe(error)
    if failure.kind == "bug":
        _show_traceback(error, stderr)
    if as_json:
        stderr.write(json.dumps({"error": asdict(failure)}) + "\n")
    else:
        output = Output(Mode.HUMAN, stderr, stderr, detect(stderr, stderr, os.environ), os.environ)
        output.error(failure.message, failure.hint)
        if isinstance(error, ExpressionError):
            output.excerpt(error.text, error.position)
    return failure.exit_code


def _show_traceback(error: Exception, stderr: TextIO) -> None:
    import traceback

    from mlver import __version__

    # Made to be sent to strangers. Python shows lines of source and what errors say, but no values of variables.
    stderr.write(escape_block(without_secrets_in("".join(traceback.format_exception(error)))))
    stderr.write(f"mlver {__version__}, Python {sys.version.split()[0]}, {sys.platform}\n")
