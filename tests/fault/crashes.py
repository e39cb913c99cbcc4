"""Replays what a command did to a disk whose power fails, and looks at every state that is left."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from tests.fault.disk import Disk, Files, write_files
from tests.fault.scene import Scene


@dataclass(frozen=True)
class CrashState:
    """What may be found after a power cut.

    Attributes:
        title: When it failed, and what became of what was under way.
        files: What is there.
        acknowledged: Whether the command had said that it was done.
    """

    title: str
    files: Files
    acknowledged: bool


def crash_states(scene: Scene) -> Iterator[CrashState]:
    """Yield every state that a power cut may leave, without those that were there already."""
    disk = Disk.of(scene.start, scene.world)
    told = [number for number, call in enumerate(scene.calls) if call.tells()]
    done = told[-1] if told else len(scene.calls) - 1
    seen: set[bytes] = set()
    for number, call in enumerate(scene.calls):
        disk.apply(call)
        acknowledged = number >= done
        if not (number == done or call.changes(scene.world)):
            continue
        for title, files in disk.states():
            digest = _digest(files, acknowledged)
            if digest not in seen:
                seen.add(digest)
                yield CrashState(f"after call {number} ({call.name} {call.paths[-1:]}): {title}", files, acknowledged)


def _digest(files: Files, acknowledged: bool) -> bytes:
    total = hashlib.blake2b(bytes([acknowledged]), digest_size=16)
    for name in sorted(files):
        total.update(name.encode() + b"\0" + files[name].digest)
    return total.digest()


def check(scene: Scene, state: CrashState, *, again: bool = True) -> list[str]:
    """Return what is wrong with a state; see `Scene.judge`."""
    shutil.rmtree(scene.world, ignore_errors=True)
    write_files(state.files, scene.world)
    (scene.world / "repo").mkdir(parents=True, exist_ok=True)
    return [f"{state.title}: {problem}" for problem in scene.judge(acknowledged=state.acknowledged, again=again)]
