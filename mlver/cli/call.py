"""One call of a command: what was asked for before the command's own parameters, and how it answers.

A `Call` is typer's context, made by click for every command of ours (`context_class`), so a command gets it by asking
for a parameter of this type. Settings given before or after the subcommand's name (`mlver -q log`, `mlver log -q`)
end up here alike.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from mlver.cli.output import Mode, Output
from mlver.cli.terminal import detect
from mlver.ops.progress import Progress, Silent

if TYPE_CHECKING:
    from mlver.ops.opening import OpenRepository


class CacheRenewedError(Exception):
    """The cache failed, and nothing was written: the same command works with the cache in memory."""


class Call(typer.Context):
    """The context of a command, with its renderer and its repository."""

    mode: Mode = Mode.HUMAN

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        if isinstance(self.parent, Call):
            self.mode = self.parent.mode
        self._out: Output | None = None

    @property
    def out(self) -> Output:
        """The renderer. It exists from here on: the mode is decided once."""
        if self._out is None:
            terminal = detect(sys.stdout, sys.stderr, os.environ)
            self._out = Output(self.mode, sys.stdout, sys.stderr, terminal, os.environ)
        return self._out

    @contextmanager
    def repository(self) -> Iterator[OpenRepository]:
        """Open the repository; its notices are told at the end.

        Raises:
            NotARepositoryError: There is none, or not one of a known layout.
            CacheRenewedError: The cache failed; nothing was written, and the command is to be run once more.
        """
        from mlver.cli.location import repository_root
        from mlver.ops.opening import open_repository
        from mlver.ops.runs.current import RUN_VARIABLE
        from mlver.store.sqlite import CacheDamaged

        repository = open_repository(repository_root(), cache_in_memory=bool(self.obj))
        repository.run_variable = os.environ.get(RUN_VARIABLE)
        repository.use_hooks(os.environ)
        try:
            yield repository
        except CacheDamaged as damage:
            repository.reopen(damage)  # so that the next command finds a good one
            raise CacheRenewedError from damage
        finally:
            self.tell(repository)
            repository.close()

    def tell(self, repository: OpenRepository) -> None:
        """Tell hooks and the person what there is to tell by now: for commands that go on after it, too."""
        for problem in repository.hooks.finish(repository) if repository.hooks is not None else ():
            self.out.warn(problem)
        for notice in repository.notices:
            self.out.note(notice)
        repository.notices.clear()

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Yield what a heavy op reports its progress to; the bar is gone at the end, whatever happened."""
        from mlver.cli.heavy import prepare

        prepare()
        if not self.out.terminal.bars or self.mode is Mode.QUIET:
            yield Silent()
            return
        from mlver.cli.progress import ProgressBar

        bar = ProgressBar(sys.stderr)
        try:
            yield bar
        finally:
            bar.done()
