"""The fault harness in full: `python -m tests.fault [WHAT...] [--command NAME...]`.

WHAT is one of `names` (each call that is made is known), `order` (of what is published), `crash` (power cuts), `kill`,
the errors `EIO`, `ENOSPC`, `EMFILE` and `ENOLCK`, and `imports` (EMFILE where something is imported); by itself, all of
them.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from compileall import compile_dir
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import cycle, islice
from multiprocessing import SimpleQueue
from pathlib import Path

from tests.fault.commands import COMMANDS, named
from tests.fault.crashes import check, crash_states
from tests.fault.injection import FAULTS, Outcome, imports, inject, refuse_imports, targets
from tests.fault.order import published, violations
from tests.fault.scene import prepare
from tests.fault.starting import Warm
from tests.fault.tracing import HARMLESS, MUTATING, missing_tools, names_made
from tests.support.process import PROJECT

_MEMORY = "/dev/shm"
IMPORTS = "imports"
EVERY = 8
"""Of so many crash states, in one the command is given again, too."""


def injected(fault: str, name: str, folder: Path) -> Outcome:
    """Let one fault happen at every call of a command."""
    scene = prepare(named(name), folder)
    with Warm(scene.modules) as warm:
        return inject(scene, fault, targets(scene, fault), warm)


def unknown_names(name: str, folder: Path) -> Outcome:
    """Find calls that a command makes and that are neither injected into nor known to change nothing."""
    command = named(name)
    (folder / "world").mkdir(parents=True)
    command.prepare(folder / "world")
    made = names_made(command.argv, folder / "world" / "repo", folder / "trace")
    unknown = sorted(made - HARMLESS - {*MUTATING})
    return Outcome(
        len(made), len(made) - len(unknown), 1, problems=[f"calls {call}, which nobody injects" for call in unknown]
    )


def crashed(name: str, folder: Path) -> Outcome:
    """Look at every state that a power cut may leave during a command."""
    scene = prepare(named(name), folder)
    outcome = Outcome()
    for number, state in enumerate(crash_states(scene)):
        outcome.problems += check(scene, state, again=number % EVERY == 0)
        outcome.wanted += 1
        outcome.hit += 1
    return outcome


def ordered(name: str, folder: Path) -> Outcome:
    """Watch the order in which a command publishes."""
    scene = prepare(named(name), folder)
    count = len(published(scene))
    return Outcome(count, count, 1, problems=list(violations(scene)))


def imported(names: Sequence[str], folder: Path) -> Outcome:
    """Let there be too many open files at each file that any command imports, once."""
    total = Outcome()
    known: set[str] = set()
    for name in names:
        scene = prepare(named(name), folder / name)
        new = [place for place in imports(scene) if place not in known]
        total.add(refuse_imports(scene, new))
        known.update(new)
    return total


CHECKS: dict[str, Callable[[str, Path], Outcome]] = {
    "names": unknown_names,
    "order": ordered,
    "crash": crashed,
    **{fault: partial(injected, fault) for fault in FAULTS},
}


def _check(what: str, names: Sequence[str]) -> Outcome:
    logging.getLogger("mlver").setLevel(logging.ERROR)  # what is only at a remote is told each time
    with tempfile.TemporaryDirectory(dir=_MEMORY if Path(_MEMORY).is_dir() else None) as folder:
        place = Path(folder).resolve() / "scene"
        return imported(names, place) if what == IMPORTS else CHECKS[what](names[0], place)


def _settle(processors: SimpleQueue[int]) -> None:
    """Stay on one processor: strace and what it watches take turns, and are slow to do so across two."""
    os.sched_setaffinity(0, {processors.get()})


def _show(what: str, name: str, outcome: Outcome) -> None:
    print(f"{what:7} {name:10} {outcome}", *outcome.problems, sep="\n    BROKEN ", flush=True)


def main(arguments: list[str]) -> int:
    """Run what was asked for, and return 1 if anything is not as promised."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="WHAT", choices=[*CHECKS, IMPORTS, []])
    parser.add_argument("--command", nargs="*", choices=[command.name for command in COMMANDS], default=[])
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args(arguments)
    if reason := missing_tools():
        sys.exit(reason)
    compile_dir(PROJECT / "mlver", quiet=1)  # who is traced writes no bytecode
    names = asked.command or [command.name for command in COMMANDS]
    broken = False
    for what in asked.what or (*CHECKS, IMPORTS):
        total = Outcome()
        groups = [tuple(names)] if what == IMPORTS else [(name,) for name in names]
        processors: SimpleQueue[int] = SimpleQueue()
        for processor in islice(cycle(sorted(os.sched_getaffinity(0))), asked.jobs):
            processors.put(processor)
        with ProcessPoolExecutor(asked.jobs, initializer=_settle, initargs=(processors,)) as pool:
            for group, outcome in zip(groups, pool.map(partial(_check, what), groups), strict=True):
                _show(what, group[0] if what != IMPORTS else "each", outcome)
                total.add(outcome)
        print(f"{what:7} {'all':10} {total}", flush=True)
        broken = broken or bool(total.problems)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
