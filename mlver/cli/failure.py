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
from mlver.store.remote.secrets import without_secrets_in

USAGE = 2
BUG = 70  # EX_SOFTWARE of sysexits.h


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
    name = type(error).__name__
    return Failure(
        "bug",
        without_secrets_in(f"{name}: {error}"),
        "This is a bug in mlver. Please report it, with the traceback above.",
        BUG,
    )


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
