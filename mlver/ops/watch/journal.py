"""What a watch has done: a file of lines that only grows, each durable before anything relies on it.

A line that was cut off by a crash is the last one, and means nothing: what it was to say did not happen yet, or is done
once more. One process at a time works with a journal, which the system sees to: a lock of it ends with the process.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlver.errors import ConflictError, IntegrityError
from mlver.lineage.live import Owner
from mlver.store.failures import storage_error

_MODE = 0o600
Position = tuple[str, int]
"""Part of a log, and number of the last event that was looked at."""


class Journal:
    """The journal of one watch, opened and locked.

    Args:
        path: The file; made if there is none.

    Attributes:
        conditions: What was waited for last; None for a new journal.
        positions: Up to where each log was looked at, by its folder.

    Raises:
        ConflictError: Another process has it.
        IntegrityError: It is damaged.
        MlverError: It cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.conditions: list[str] | None = None
        self.positions: dict[str, Position] = {}
        self._done: set[str] = set()
        self._starts: dict[str, int] = {}
        self._runners: dict[str, Owner] = {}
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
        except OSError as error:
            raise storage_error(error, "write", str(path)) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read()
        except BlockingIOError as error:
            os.close(self._file)
            raise ConflictError(
                "This watch runs already.", "Give another one its own name: mlver watch --name NAME"
            ) from error
        except BaseException:
            os.close(self._file)
            raise

    def close(self) -> None:
        """Let go of the file, so that another process may go on."""
        os.close(self._file)

    def is_done(self, identity: str) -> bool:
        """Tell whether nothing is to be done for a happening any more."""
        return identity in self._done

    def attempts(self, identity: str) -> int:
        """Return how often something was begun for a happening."""
        return self._starts.get(identity, 0)

    def begin(self, conditions: Sequence[str], settled: Iterable[str]) -> None:
        """Note what is waited for from here on, and for which happenings nothing is to be done."""
        identities = sorted(set(settled) - self._done)
        self._append({"on": list(conditions), "settled": identities})

    def start(self, identity: str) -> int:
        """Note that something is about to be done for a happening; return for the how many-th time."""
        self._append({"start": identity})
        return self._starts[identity]

    def run(self, identity: str, owner: Owner) -> None:
        """Note which process does it."""
        self._append({"run": identity, "by": asdict(owner)})

    def runner(self, identity: str) -> Owner | None:
        """Return the process that began what was not ended, if any is known."""
        return self._runners.get(identity)

    def end(self, identity: str, exit_code: int | None) -> None:
        """Note that it was done."""
        self._append({"end": identity, "exit_code": exit_code})

    def move(self, folder: str, position: Position) -> None:
        """Note up to where a log was looked at."""
        self._append({"log": folder, "part": position[0], "event": position[1]})

    def _append(self, line: dict[str, Any]) -> None:
        try:
            os.write(self._file, json.dumps(line).encode() + b"\n")
            os.fsync(self._file)
        except OSError as error:
            raise storage_error(error, "write", str(self._path)) from error
        self._take(line)

    def _read(self) -> None:
        data = b""
        while block := os.pread(self._file, 1 << 20, len(data)):
            data += block
        whole, _, cut_off = data.rpartition(b"\n")
        if cut_off:
            os.ftruncate(self._file, len(data) - len(cut_off))
        for number, line in enumerate(whole.split(b"\n") if whole else (), 1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
                raise IntegrityError(
                    f"Line {number} of {self._path} is damaged.",
                    "Delete the file to begin the watch anew, from now on.",
                ) from error

    def _take(self, line: dict[str, Any]) -> None:
        if "on" in line:
            self.conditions = list(line["on"])
            self._done.update(line["settled"])
        elif "start" in line:
            self._starts[line["start"]] = self._starts.get(line["start"], 0) + 1
        elif "run" in line:
            self._runners[line["run"]] = Owner(**line["by"])
        elif "end" in line:
            self._done.add(line["end"])
            self._runners.pop(line["end"], None)
        else:
            self.positions[line["log"]] = (str(line["part"]), int(line["event"]))
