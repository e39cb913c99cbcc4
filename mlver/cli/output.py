"""Where commands put what they found: data to stdout, talk to stderr, in the mode that was asked for.

A command hands its op's result to `Output.result` with three views of it, of which the mode picks one:
`document` (`--json`), `brief` (`-q`) and `human`. The renderer is passed in; there is no global one. Every string that
is shown is escaped here, so a command cannot forget it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from enum import Enum
from shutil import get_terminal_size
from typing import Any, BinaryIO, TextIO, TypeVar

from mlver.cli.style import Piece, Styled, colourise, paint
from mlver.cli.tables import Column, Row, fitted_text, is_too_wide, plain_lines
from mlver.cli.terminal import Terminal
from mlver.cli.text import escape, escape_block, width

Result = TypeVar("Result")


class Mode(Enum):
    """What stdout is for."""

    HUMAN = "human"
    JSON = "json"
    QUIET = "quiet"


class Output:
    """A renderer.

    Args:
        mode: Which view of a result is shown.
        stdout: For data.
        stderr: For talk.
        terminal: What the streams can do.
        environment: Handed to the pager.
    """

    def __init__(
        self, mode: Mode, stdout: TextIO, stderr: TextIO, terminal: Terminal, environment: Mapping[str, str]
    ) -> None:
        self.mode = mode
        self.terminal = terminal
        self.stderr = stderr
        self._stdout = stdout
        self._environment = environment

    @property
    def is_human(self) -> bool:
        """Whether people read what is written, rather than scripts."""
        return self.mode is Mode.HUMAN

    # Results

    def result(
        self,
        value: Result,
        *,
        document: Callable[[Result], Mapping[str, Any]],
        brief: Callable[[Result], str | Iterable[str]],
        human: Callable[[Output, Result], None],
    ) -> None:
        """Render what an op returned, once, in the mode that was asked for.

        Args:
            value: The op's result.
            document: Returns the one JSON document; its schema is in docs/json.md.
            brief: Returns the version, path or name that a script wants; several are lines.
            human: Writes for people, with the methods below.
        """
        if self.mode is Mode.JSON:
            self.json(document(value))
        elif self.mode is Mode.QUIET:
            lines = brief(value)
            for line in [lines] if isinstance(lines, str) else lines:
                self._write(escape(line) + "\n")
        else:
            human(self, value)

    def json(self, document: Mapping[str, Any]) -> None:
        """Write one JSON document: pure ASCII, on one line unless a person looks at it.

        Raises:
            ValueError: It holds NaN or an infinity, which JSON has not.
        """
        indent = 2 if self.terminal.interactive else None
        self._write(json.dumps(document, ensure_ascii=True, allow_nan=False, indent=indent) + "\n")

    # For the human view of a result

    def line(self, *pieces: Piece) -> None:
        """Write a line of data, made of pieces that stand side by side."""
        self._write("".join(paint(piece, colour=self.terminal.colour) for piece in pieces) + "\n")

    def block(self, text: str, indent: str = "") -> None:
        """Write text of several lines, such as a note."""
        self._write("".join(f"{indent}{line}\n" for line in escape_block(text).split("\n")))

    def heading(self, text: str) -> None:
        """Write a heading."""
        self.line(Styled(text, "heading"))

    def fields(self, pairs: Iterable[tuple[str, Piece]]) -> None:
        """Write names and values, one pair a line, aligned."""
        pairs = list(pairs)
        wide = max((width(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            self.line(Styled(name, "muted"), " " * (wide - width(name) + 2), value)

    def table(self, columns: Sequence[Column], rows: Iterable[Row]) -> None:
        """Write a table: fitted to a terminal, else aligned, whole and without borders. No rows, no table.

        On a terminal that is too narrow for it, it is written whole too: broken lines are better than lost letters.
        """
        rows = list(rows)
        if not rows:
            return
        if self.terminal.interactive and not self.is_too_wide(columns, rows):
            self._write(fitted_text(columns, rows, colour=self.terminal.colour))
        else:
            self._write("".join(f"{line}\n" for line in plain_lines(columns, rows)))

    def is_too_wide(self, columns: Sequence[Column], rows: Sequence[Row]) -> bool:
        """Tell whether a table would not fit the terminal; if there is none, it fits."""
        return self.terminal.interactive and is_too_wide(columns, rows, get_terminal_size().columns)

    @contextmanager
    def paged(self) -> Iterator[None]:
        """Send what is written meanwhile through the pager, if a person looks at it."""
        with ExitStack() as stack:
            stream = self._open_pager(stack)
            if stream is not None:
                stack.callback(setattr, self, "_stdout", self._stdout)
                self._stdout = stream
            yield

    def _open_pager(self, stack: ExitStack) -> TextIO | None:
        if self.mode is not Mode.HUMAN or not self.terminal.pager:
            return None
        from mlver.cli.pager import paged

        try:
            return stack.enter_context(paged(self.terminal.pager, self._environment))
        except (OSError, ValueError):
            if self.terminal.pager_chosen:
                self.warn(f"The pager {self.terminal.pager!r} cannot be run.")
            return None

    @property
    def binary(self) -> BinaryIO:
        """The data stream for raw bytes, such as those of a file that is streamed."""
        self._stdout.flush()
        return self._stdout.buffer

    # Talk

    def note(self, text: str) -> None:
        """Tell what happened. Not told in the other modes, which are for scripts."""
        if self.mode is Mode.HUMAN:
            self._talk(escape(text))

    def hint(self, text: str) -> None:
        """Tell what could be done next; like `note`."""
        if self.mode is Mode.HUMAN:
            self._talk(self._label("Hint:", "muted"), escape(text))

    def warn(self, text: str) -> None:
        """Tell what may be wrong, in every mode."""
        self._talk(self._label("Warning:", "warning"), escape(text))

    def error(self, message: str, hint: str | None = None) -> None:
        """Tell what failed, and what helps. `mlver.cli.main` is the one to call it."""
        self._talk(self._label("Error:", "bad"), escape(message))
        if hint:
            self._talk(self._label("Hint:", "muted"), escape(hint))

    def excerpt(self, text: str, position: int) -> None:
        """Show what a person wrote, and point at the character at `position`."""
        self._talk(f"  {escape(text)}\n  {' ' * width(escape(text[:position]))}^")

    def flush(self) -> None:
        """Let whoever reads the output have it now, where more is written much later."""
        self._stdout.flush()

    def _label(self, text: str, style: str) -> str:
        return colourise(text, style) if self.terminal.talk_colour else text

    def _talk(self, *escaped: str) -> None:
        self._stdout.flush()  # so that both streams keep their order when they end in one place
        self.stderr.write(" ".join(escaped) + "\n")
        self.stderr.flush()

    def _write(self, escaped: str) -> None:
        self._stdout.write(escaped)


__all__ = ["Column", "Mode", "Output", "Piece", "Row", "Styled"]
