"""Replays what a command did to a disk whose power fails, and looks at every state that is left.

In full: `python -m tests.fault.crashes`, which prints how many states there were, and each that is not as promised.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fault.commands import COMMANDS, Command, Look, look
from tests.fault.disk import Disk, Files, write_files
from tests.fault.tracing import Call, record


@dataclass(frozen=True)
class Recording:
    """A command that was watched.

    Attributes:
        command: Which.
        calls: What it asked for.
        disk: The world before it.
        before: What was to be seen before.
        after: And afterwards.
        root: Where its world is.
    """

    command: Command
    calls: list[Call]
    disk: Disk
    before: Look
    after: Look
    root: Path


def watch(command: Command, folder: Path) -> Recording:
    """Run a command in a world of its own, and write down what it does."""
    world = folder / "world"
    world.mkdir(parents=True)
    command.prepare(world)
    disk = Disk.of(world)
    before = look(world, sound=not command.damaged_before)
    restore(disk, world)
    calls = record(command.argv, world / "repo", folder / "trace")
    return Recording(command, calls, disk, before, look(world), world)


def restore(disk: Disk, world: Path) -> None:
    """Make a world what it was: always at the same place, since a repository knows where its remote is."""
    shutil.rmtree(world, ignore_errors=True)
    write_files(next(disk.states())[1], world)
    (world / "repo").mkdir(parents=True, exist_ok=True)


def crash_states(recording: Recording) -> Iterator[tuple[str, Files, bool]]:
    """Yield every state that a power cut may leave, without those that were there already.

    Yields:
        When and how it comes about; the files; whether the command had said that it was done.
    """
    disk, root = recording.disk, str(recording.root)
    told = [number for number, call in enumerate(recording.calls) if call.name == "write" and call.descriptor == 1]
    done = told[-1] if told else len(recording.calls)
    seen: set[bytes] = set()
    for number, call in enumerate(recording.calls):
        disk.apply(call)
        acknowledged = number >= done or number == len(recording.calls) - 1
        if not acknowledged and not any(path.startswith(f"{root}/") for path in call.paths):
            continue
        for title, files in disk.states():
            digest = _digest(files, acknowledged)
            if digest not in seen:
                seen.add(digest)
                yield f"{recording.command.name}, after call {number} ({call.name}): {title}", files, acknowledged


def _digest(files: Files, acknowledged: bool) -> bytes:
    total = hashlib.blake2b(bytes([acknowledged]))
    for name in sorted(files):
        total.update(name.encode() + b"\0" + hashlib.blake2b(files[name]).digest())
    return total.digest()


def check(recording: Recording, files: Files, acknowledged: bool) -> str | None:
    """Return what is wrong with a state, None if it is as promised."""
    place = recording.root
    shutil.rmtree(place, ignore_errors=True)
    write_files(files, place)
    (place / "repo").mkdir(parents=True, exist_ok=True)
    try:
        seen = look(place, sound=not recording.command.damaged_before)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a violation
        return f"{type(error).__name__}: {error}"
    allowed = [recording.after] if acknowledged else [recording.before, recording.after]
    return None if seen in allowed else f"saw {seen}, not {' or '.join(map(str, allowed))}"


def main(names: list[str]) -> int:
    """Replay all commands, or those named; return how many states broke a promise."""
    broken = total = 0
    for command in COMMANDS:
        if names and command.name not in names:
            continue
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
            recording = watch(command, Path(folder).resolve())
            count = 0
            for title, files, acknowledged in crash_states(recording):
                problem = check(recording, files, acknowledged)
                count += 1
                if problem is not None:
                    broken += 1
                    print(f"BROKEN {title}: {problem}", flush=True)
            total += count
            print(f"{command.name}: {count} states", flush=True)
    print(f"{total} states, {broken} broken promises")
    return broken


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
