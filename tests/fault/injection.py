"""Kills a command at each call that changes something, or lets the call fail, and looks at what is left.

Which call was hit is read from the trace and compared with what was recorded. Threads take turns as they like, so one
that was not reached is tried again where it was made that time, and what stays unreached is reported.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.fault.scene import Scene, manners
from tests.fault.tracing import KILL, NAMES, OPENING, SYNCS, Call, Ended, interfere

FAULTS = {
    "kill": KILL,
    "EIO": "error=EIO",
    "ENOSPC": "error=ENOSPC",
    "EMFILE": "error=EMFILE",
    "ENOLCK": "error=ENOLCK",
}
_TRIES = 24
_ABSENT = 3
_CACHE = re.compile(r"\.sqlite(-journal)?$")


@dataclass
class Outcome:
    """What came of one fault at all calls of a command.

    Attributes:
        wanted: How many calls there are that it should hit.
        hit: How many of them it did hit.
        runs: How often the command was run for that.
        absent: How often a call that was recorded was not made at all; those that are never made again are not wanted.
        problems: What was not as promised, and at which call.
    """

    wanted: int = 0
    hit: int = 0
    runs: int = 0
    absent: Counter[tuple[tuple[str, ...], int]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def targets(scene: Scene, fault: str) -> list[Call]:
    """Return the calls of a recorded command at which a fault makes sense."""
    if fault == "EMFILE":
        inside = next(number for number, call in enumerate(scene.calls) if call.is_in(scene.world))
        return [call for call in scene.calls[inside:] if call.name in OPENING]
    if fault == "ENOLCK":
        return [call for call in scene.calls if call.name == "flock" or "SETLK" in call.flags]
    return scene.targets()


def inject(scene: Scene, fault: str, wanted: Iterable[Call]) -> Outcome:
    """Run a command once for each of some calls, with the fault there, and judge what is left each time.

    Args:
        scene: The command.
        fault: One of `FAULTS`.
        wanted: Calls of `scene.calls`.
    """
    numbered = _numbered(scene, scene.calls)
    left = {numbered[id(call)]: call for call in wanted}
    outcome = Outcome(wanted=len(left))
    for _ in range(_TRIES):
        for which, call in list(left.items()):
            if which not in left:
                continue  # hit in the place of another one
            ended = _once(scene, fault, call)
            outcome.runs += 1
            outcome.problems += [f"{fault} at {_told(which)}: {problem}" for problem in _problems(scene, fault, ended)]
            made = _numbered(scene, ended.calls)
            if ended.hit is not None:
                left.pop(made[id(ended.hit)], None)
                continue
            found = [other for other in ended.calls if made[id(other)] == which]
            if found:
                left[which] = found[0]
                continue
            outcome.absent[which] += 1
            if outcome.absent[which] == _ABSENT:  # what SQLite writes depends on the sizes of things like times
                del left[which]
                outcome.wanted -= 1
    outcome.hit = outcome.wanted - len(left)
    outcome.problems += [f"{fault} at {_told(which)}: was never reached" for which in left]
    return outcome


def _once(scene: Scene, fault: str, call: Call) -> Ended:
    scene.restore()
    follow = (*NAMES, *SYNCS) if call.name in SYNCS and fault != "kill" else ()
    return interfere(scene.command.argv, scene.world / "repo", scene.trace, call, FAULTS[fault], follow=follow)


def _problems(scene: Scene, fault: str, ended: Ended) -> Iterator[str]:
    if fault != "kill":
        yield from manners(ended)
        if ended.hit is not None and ended.hit.name in SYNCS:
            yield from flushed_again(ended.calls, ended.hit)
    yield from scene.judge(acknowledged=ended.code == 0 or bool(ended.out))


def flushed_again(calls: list[Call], failed: Call) -> Iterator[str]:
    """Yield what was done with a file whose flush had failed: flushed once more, or given its name.

    A folder may be flushed again, which says nothing of a file. The cache is SQLite's, and is no truth.
    """
    path = failed.paths[0]
    if _CACHE.search(path) or Path(path).is_dir():
        return
    for call in calls[calls.index(failed) + 1 :]:
        if call.name in SYNCS and call.paths == failed.paths:
            yield f"{path} is flushed again after its flush had failed"
        if call.name.startswith(("rename", "link")) and call.paths[0] == path:
            yield f"{path} is published after its flush had failed"


def _numbered(scene: Scene, calls: Iterable[Call]) -> dict[int, tuple[tuple[str, ...], int]]:
    """Say of each call which of its kind it is: the same in every run, whatever the threads do."""
    counted: Counter[tuple[str, ...]] = Counter()
    numbered = {}
    for call in calls:
        kind = call.kind(scene.world)
        counted[kind] += 1
        numbered[id(call)] = (kind, counted[kind])
    return numbered


def _told(which: tuple[tuple[str, ...], int]) -> str:
    (name, *places), number = which
    return f"{name} {' '.join(places)} ({number})"
