"""A command in its world, over and over from the same start, and what must hold whatever was done to it.

The oracle: all data that is there is sound, every revision resolves, what was acknowledged is there, what is seen is
the old state or the new one, and the same command given again succeeds by itself.
"""

from __future__ import annotations

import io
import os
import re
import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from mlver.cli.main import run
from tests.fault.commands import Command, Look, look
from tests.fault.starting import Fresh
from tests.fault.tracing import Call, Ended, record

DOCUMENTED = frozenset({0, 1, 2, 10, 12, 13, 14, 15})
"""Exit codes that a command may end with when something is in its way; 70 is a bug."""


@dataclass(frozen=True)
class Scene:
    """A command that was watched once, and can be given again from the same start.

    Attributes:
        command: Which.
        world: Where its world is: always the same place, since a repository knows where its remote is.
        start: A copy of the world as it was before.
        calls: What the command asked for.
        modules: What it imported.
        before: What was to be seen before.
        after: And afterwards.
    """

    command: Command
    world: Path
    start: Path
    calls: tuple[Call, ...]
    modules: tuple[str, ...]
    before: Look
    after: Look

    @property
    def trace(self) -> Path:
        """A file for strace."""
        return self.world.parent / "trace"

    def restore(self) -> None:
        """Make the world what it was."""
        shutil.rmtree(self.world, ignore_errors=True)
        shutil.copytree(self.start, self.world, symlinks=True)

    def targets(self) -> list[Call]:
        """Return the calls that change or flush something in the world, or tell that it is done."""
        return [call for call in self.calls if call.changes(self.world)]

    def judge(self, *, acknowledged: bool, again: bool = True) -> list[str]:
        """Return what is not as promised in the world as it is now.

        Args:
            acknowledged: The command had said that it was done.
            again: Give the command once more, too.
        """
        try:
            seen = look(self.world, sound=not self.command.damaged_before or acknowledged)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a violation
            return [f"cannot be read: {type(error).__name__}: {error}"]
        problems = []
        if acknowledged and seen != self.after:
            problems.append(f"what was acknowledged is not there: {difference(seen, self.after)}")
        elif not self.is_old_or_new(seen):
            problems.append(f"neither old nor new: {difference(seen, self.before)}; {difference(seen, self.after)}")
        return problems + (self._again(seen) if again else [])

    def is_old_or_new(self, seen: Look) -> bool:
        """Tell whether what is seen is the state before or after; of files that are put one by one, of each."""
        if self.command.piecewise:
            seen, pieces = {**seen, "out": {}}, seen["out"]
            known = [{name: look["out"].get(name) for name in pieces} for look in (self.before, self.after)]
            kept = self.before["out"].keys() <= pieces.keys()
            if not kept or any(content not in (look[name] for look in known) for name, content in pieces.items()):
                return False
            return seen == {**self.before, "out": {}}
        return seen in (self.before, self.after)

    def _again(self, seen: Look) -> list[str]:
        code, said = give(self.command.argv, self.world / "repo")
        if seen == self.before != self.after and code != 0:
            return [f"again: exit {code}: {said}"]
        if code not in self.command.again:
            return [f"once more: exit {code}: {said}"]
        try:
            then = look(self.world)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a violation
            return [f"cannot be read after the command was given again: {type(error).__name__}: {error}"]
        if (seen == self.before or self.command.piecewise) and then != self.after:
            return [f"again: not the new state: {difference(then, self.after)}"]
        return []


def prepare(command: Command, folder: Path) -> Scene:
    """Run a command in a world of its own, and write down what it does.

    Args:
        command: Which.
        folder: An empty folder.
    """
    world, start = folder / "world", folder / "start"
    world.mkdir(parents=True)
    command.prepare(world)
    before = look(world, sound=not command.damaged_before)
    shutil.copytree(world, start, symlinks=True)
    shutil.rmtree(world)
    shutil.copytree(start, world, symlinks=True)  # as old as it will be when it is restored
    calls = record(Fresh(folder / "modules"), command.argv, world / "repo", folder / "trace")
    modules = (folder / "modules").read_text().split()
    return Scene(command, world, start, tuple(calls), tuple(modules), before, look(world))


def give(argv: tuple[str, ...], folder: Path) -> tuple[int, str]:
    """Give a command in this process, where nothing is in its way; return its exit code and what it said."""
    said = io.StringIO()
    here = Path.cwd()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            code = run(["-C", str(folder), *argv])
    finally:
        os.chdir(here)
    return code, said.getvalue()


def difference(seen: Look, wanted: Look) -> str:
    """Return where two states differ."""
    names = sorted({*seen, *wanted}, key=str)
    return "; ".join(
        f"{name}: {_short(seen.get(name))} for {_short(wanted.get(name))}"
        if not (isinstance(seen.get(name), dict) and isinstance(wanted.get(name), dict))
        else f"{name}: {{{difference(seen[name], wanted[name])}}}"
        for name in names
        if seen.get(name) != wanted.get(name)
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}..."


def manners(ended: Ended, reports: bool = False) -> list[str]:
    """Return what is wrong with how a command that could not do its work said so, in a line or by what it `reports`."""
    problems = []
    if ended.code not in DOCUMENTED:
        problems.append(f"exit code {ended.code}: {ended.err[-2000:]}")
    if "Traceback" in ended.err or "Exception" in ended.err:
        problems.append(f"a traceback: {ended.err[-2000:]}")
    told = re.findall("^Error: ", ended.err, re.MULTILINE)
    if len(told) != (ended.code != 0) and not reports:
        problems.append(f"{len(told)} errors told with exit code {ended.code}: {ended.err}")
    return problems
