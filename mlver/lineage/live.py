"""The live folder of a run: its journals, and whose run it is, so that a later command can tell that nobody is left.

`runs/live/<run>/` holds `owner` (a JSON object: pid, its start time, host, boot), `lock`, and journals. It never leaves
the machine. The owner keeps `lock` locked as long as it lives; the system lets go of it however the owner dies, also
for one in a container, whose processes cannot be seen from outside.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from mlver.errors import IntegrityError
from mlver.ids import RunId, is_run_id
from mlver.store.failures import storage_error

LIVE_FOLDER = "runs/live"
OWNER_NAME = "owner"
LOCK_NAME = "lock"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_HELD = (errno.EAGAIN, errno.EACCES)
_LONG_NS = 3600 * 10**9
"""Nobody takes this long from making a live folder to saying whose it is."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that a run is over with.

    Attributes:
        pid: Its number.
        started: When it started, in the system's ticks since boot: numbers are used again. None where nobody can tell.
        host: The machine's name.
        boot: Identity of the machine's present run; None where there is none.
    """

    pid: int
    started: int | None
    host: str
    boot: str | None


class LiveRun:
    """A run of this process: as long as it is open, the run counts as alive.

    Args:
        root: The `.mlver` folder.
        run: The run, of which nobody knows yet: so that none is ever recorded that nobody would end.

    Raises:
        IntegrityError: Links lead from there to somewhere else.
        MlverError: The live folder cannot be made.
    """

    def __init__(self, root: Path, run: RunId) -> None:
        self.folder = live_folder(root, run)
        try:
            self.folder.mkdir(parents=True)
            self._lock = os.open(self.folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            _hold(self._lock)
            _write_owner(self.folder)
        except OSError as error:
            raise storage_error(error, "write", str(self.folder)) from error

    def give_sign(self) -> None:
        """Leave a sign that the run goes on: so it is known how long one did whose process died silently."""
        with suppress(OSError):  # whoever took the run for dead has removed it; and a full disk is no reason to stop
            os.utime(self.folder / OWNER_NAME)

    def remove(self) -> None:
        """Remove the live folder: the run is over."""
        remove_live(self.folder)
        self.release()

    def release(self) -> None:
        """Leave the live folder to whoever finds it: a later process ends the run, if it ever began."""
        os.close(self._lock)


def live_folder(root: Path, run: RunId) -> Path:
    """Return where the live folder of a run is, or would be.

    Raises:
        IntegrityError: Links lead from there to somewhere else.
    """
    place = root
    for part in (*LIVE_FOLDER.split("/"), run):
        place /= part
        if place.is_symlink():
            raise IntegrityError(f"{place} is a link, and would lead out of the repository.", "Remove it.")
    return place


def live_runs(root: Path) -> list[RunId]:
    """Return the runs that have a live folder here.

    Raises:
        MlverError: They cannot be listed.
    """
    try:
        return [RunId(name) for name in sorted(os.listdir(root / LIVE_FOLDER)) if is_run_id(name)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, "list", str(root / LIVE_FOLDER)) from error


def remove_live(folder: Path) -> None:
    """Remove a live folder with all that is in it; one that is gone is no error.

    Raises:
        MlverError: It cannot be removed.
    """
    try:
        for name in sorted(os.listdir(folder), key=lambda name: name in (OWNER_NAME, LOCK_NAME)):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, "remove", str(folder)) from error


def is_abandoned(folder: Path) -> bool:
    """Tell whether the owner of a live folder is surely gone. One on another machine may be alive."""
    owner, own = _read_owner(folder), this_process()
    if owner is None:
        return _is_locked(folder) is False and _is_old(folder)
    if owner == own:
        return False
    if owner.boot != own.boot:
        return owner.host == own.host
    held = _is_locked(folder)
    if held is not None:
        return not held
    return owner.host == own.host and _started(owner.pid) != owner.started


def last_sign_ns(folder: Path) -> int:
    """Return when something was last written into a live folder, in nanoseconds since 1970; 0 if it is gone."""
    try:
        with os.scandir(folder) as entries:
            return max((entry.stat(follow_symlinks=False).st_mtime_ns for entry in entries), default=0)
    except FileNotFoundError:
        return 0


def _is_old(folder: Path) -> bool:
    return 0 < last_sign_ns(folder) < time.time_ns() - _LONG_NS


def this_process() -> Owner:
    """Return this process as an owner of runs."""
    return process(os.getpid())


def process(pid: int) -> Owner:
    """Return what tells a process from all others, also from those that get its number later."""
    try:
        boot = _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:  # not Linux
        boot = None
    return Owner(pid, _started(pid), os.uname().nodename, boot)


def is_surely_running(owner: Owner) -> bool:
    """Tell whether a process is here and the very one; no wherever nobody can tell."""
    return owner.boot is not None and owner.started not in (None, -1) and process(owner.pid) == owner


def _started(pid: int) -> int | None:
    """Return when a process started, in ticks; None if there is none, -1 if there is one and nobody can tell."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return -1 if not Path("/proc/self/stat").exists() and _exists(pid) else None
    state, *fields = status.rpartition(b")")[2].split()
    return None if state in (b"Z", b"X") else int(fields[18])  # one that nobody has waited for is over, too


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _write_owner(folder: Path) -> None:
    """Write who owns a live folder, whole or not at all."""
    temporary = folder / f"{OWNER_NAME}.{os.urandom(4).hex()}"
    temporary.write_text(json.dumps(asdict(this_process())), encoding="utf-8")
    temporary.rename(folder / OWNER_NAME)


def _read_owner(folder: Path) -> Owner | None:
    """Return the owner of a live folder; None if that is being written, or unreadable."""
    try:
        return Owner(**json.loads((folder / OWNER_NAME).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _hold(descriptor: int) -> None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return  # no locks on this file system: then nobody else finds one either, and looks at the process


def _is_locked(folder: Path) -> bool | None:
    """Tell whether somebody holds the lock of a live folder; None where there are no locks."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return True if error.errno in _HELD else None
    finally:
        os.close(descriptor)
    return False
