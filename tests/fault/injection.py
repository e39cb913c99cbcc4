"""Kills a command at each call that changes something, or lets the call fail, and looks at what is left.

Which call was hit is read from the trace and compared with what was recorded. Threads take turns as they like, so one
that was not reached is tried again where it was made that time, and what stays unreached is reported.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fault.scene import Scene, manners
from tests.fault.starting import Fresh, Watched
from tests.fault.tracing import KILL, NAMES, OPENING, SYNCS, Call, Ended, interfere, record, refuse

FAULTS = {
    "kill": KILL,
    "EIO": "error=EIO",
    "ENOSPC": "error=ENOSPC",
    "EMFILE": "error=EMFILE",
    "ENOLCK": "error=ENOLCK",
}
DAMAGED = 12
"""What a command ends with that looked for damage and left some: it has said what it could do and what not."""
_TRIES = 24
_ABSENT = 3
Which = tuple[tuple[str, ...], int]
"""A kind of call, and which of these."""
_MARGIN = 100
"""More calls of one name than a process makes that a command starts."""
_MAIN = "/mlver/cli/__pycache__/main."
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
    absent: Counter[Which] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        gone = sum(count == _ABSENT for count in self.absent.values())
        told = f"{self.hit:5} of {self.wanted:5}, {len(self.problems)} broken promises"
        return f"{told}, {self.runs} runs, {gone} calls that were made but once"

    def add(self, other: Outcome) -> None:
        """Count what came of another command, too."""
        self.wanted += other.wanted
        self.hit += other.hit
        self.runs += other.runs
        self.absent += other.absent
        self.problems += other.problems


def targets(scene: Scene, fault: str) -> list[Call]:
    """Return the calls of a recorded command at which a fault makes sense."""
    if fault == "EMFILE":
        return [call for call in _in_main(scene) if call.name in OPENING and not call.is_code()]
    if fault == "ENOLCK":
        return [call for call in scene.calls if call.name == "flock" or "SETLK" in call.flags]
    return scene.targets()


def inject(scene: Scene, fault: str, wanted: Iterable[Call], watched: Watched) -> Outcome:
    """Run a command once for each of some calls, with the fault there, and judge what is left each time.

    Args:
        scene: The command.
        fault: One of `FAULTS`.
        wanted: Calls of `scene.calls`.
        watched: Starts it.
    """
    numbered = _numbered(scene, scene.calls)
    left = {numbered[id(call)]: call for call in wanted}
    outcome = Outcome(wanted=len(left))
    for _ in range(_TRIES):
        for which in list(left):
            if which not in left:
                continue  # hit in the place of another one
            ended = _once(watched, scene, fault, left[which])
            outcome.runs += 1
            outcome.problems += [f"{fault} at {_told(which)}: {problem}" for problem in _problems(scene, fault, ended)]
            if ended.hit is not None:
                left.pop(_numbered(scene, ended.calls)[id(ended.hit)], None)
            if which in left and not _find(left, which, _again(watched, scene, ended)):
                outcome.absent[which] += 1
                if outcome.absent[which] == _ABSENT:  # what SQLite writes depends on the sizes of things like times
                    del left[which]
                    outcome.wanted -= 1
    outcome.hit = outcome.wanted - len(left)
    outcome.problems += [f"{fault} at {_told(which)}: was never reached" for which in left]
    return outcome


def _find(left: dict[Which, Call], which: Which, made: dict[Which, Call]) -> bool:
    """Note where calls were made this time; tell whether one of them was."""
    left |= {other: made[other] for other in left if other in made}
    return which in made


def _again(watched: Watched, scene: Scene, ended: Ended) -> dict[Which, Call]:
    """Return what calls the command makes where nothing is in its way, as it may not have been in the last run."""
    calls = ended.calls
    if ended.hit is not None:
        scene.restore()
        calls = record(watched, scene.command.argv, scene.world / "repo", scene.trace)
    numbered = _numbered(scene, calls)
    return {numbered[id(call)]: call for call in calls}


def imports(scene: Scene) -> list[str]:
    """Return what a command opens to import something: files, and folders to find them in."""
    return list(dict.fromkeys(call.asked_for() for call in _in_main(scene) if call.is_code()))


def refuse_imports(scene: Scene, places: Sequence[str]) -> Outcome:
    """Run a command once for each of some places that it imports from, of which there are too many open files.

    Args:
        scene: The command.
        places: Of `imports`.
    """
    outcome = Outcome(wanted=len(places), runs=len(places))
    for place in places:
        scene.restore()
        ended = refuse(Fresh(), scene.command.argv, scene.world / "repo", scene.trace, place, "EMFILE")
        outcome.hit += ended.hit is not None
        outcome.problems += [f"import from {place}: {problem}" for problem in _problems(scene, "EMFILE", ended)]
    return outcome


def _in_main(scene: Scene) -> list[Call]:
    """Return the calls from when mlver had begun: what keeps Python from starting is none of its concern."""
    start = next(number for number, call in enumerate(scene.calls) if call.is_code() and _MAIN in call.paths[0])
    return list(scene.calls[start + 1 :])


def _once(watched: Watched, scene: Scene, fault: str, call: Call) -> Ended:
    scene.restore()
    follow = (*NAMES, *SYNCS) if call.name in SYNCS and fault != "kill" else ()
    padding = _MARGIN + max(other.nth for other in scene.calls if other.name == call.name)
    folder = scene.world / "repo"
    return interfere(watched, scene.command.argv, folder, scene.trace, call, FAULTS[fault], padding, follow)


def _problems(scene: Scene, fault: str, ended: Ended) -> Iterator[str]:
    found_damage = scene.command.damaged_before and ended.code == DAMAGED
    if fault != "kill":
        yield from manners(ended, reports=found_damage)
        if ended.hit is not None and ended.hit.name in SYNCS:
            yield from flushed_again(ended.calls, ended.hit)
    yield from scene.judge(acknowledged=ended.code == 0 or (bool(ended.out) and not found_damage))


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


def _numbered(scene: Scene, calls: Iterable[Call]) -> dict[int, Which]:
    """Say of each call which of its kind it is: the same in every run, whatever the threads do."""
    counted: Counter[tuple[str, ...]] = Counter()
    numbered = {}
    for call in calls:
        kind = call.kind(scene.world)
        counted[kind] += 1
        numbered[id(call)] = (kind, counted[kind])
    return numbered


def _told(which: Which) -> str:
    (name, *places), number = which
    return f"{name} {' '.join(places)} ({number})"
