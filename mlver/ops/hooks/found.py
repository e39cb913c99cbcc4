"""Which program is a hook, and whether it may be run: it is code, in a folder that others might reach."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from mlver.ops.opening import HOOKS_FOLDER


@dataclass(frozen=True, slots=True)
class FoundHook:
    """A program in the folder of hooks.

    Attributes:
        path: Where it is.
        distrust: Why it must not be run; None if it may be.
    """

    path: Path
    distrust: str | None


def find_hook(root: Path, name: str) -> FoundHook | None:
    """Return a hook that is there and switched on: a file that its owner may execute.

    Args:
        root: The `.mlver` folder.
        name: Such as `post-add`.
    """
    path = root / HOOKS_FOLDER / name
    try:
        status = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or not status.st_mode & stat.S_IXUSR:
        return None
    return FoundHook(path, _distrust(path, status))


def _distrust(path: Path, status: os.stat_result) -> str | None:
    """Return why somebody else may have written what would be run in one's own name."""
    for what, found in ((path, status), (path, path.lstat()), (path.parent, path.parent.stat())):
        if found.st_uid != os.geteuid():
            return f"{what} belongs to another user"
        if not stat.S_ISLNK(found.st_mode) and _others_may_write(found):
            return f"{what} can be written by others"
    return None


def _others_may_write(status: os.stat_result) -> bool:
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_own_group(status.st_gid, status.st_uid)


def _is_own_group(group: int, user: int) -> bool:
    """Tell whether a group is the one that systems make for each user, which nobody else is in."""
    import grp
    import pwd

    try:
        entry, person = grp.getgrgid(group), pwd.getpwuid(user)
    except KeyError:
        return False
    return entry.gr_name == person.pw_name and set(entry.gr_mem) <= {person.pw_name}
