"""Which program is a hook, and whether it may be run: it is code, in a folder that others might reach."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from mlver.ops.hooks.here import is_here
from mlver.ops.opening import HOOKS_FOLDER

TRUST_HINT = "Look at what is in .mlver/hooks; then: mlver init --trust-hooks"


@dataclass(frozen=True, slots=True)
class FoundHook:
    """What is in the folder of hooks under the name of one.

    Attributes:
        path: Where it is.
        is_on: It may be executed by its owner, which is how hooks are switched on.
        distrust: Why it must not be run though it is on; None if it may be.
        hint: What to do about that.
    """

    path: Path
    is_on: bool
    distrust: str | None = None
    hint: str | None = None


def find_hook(root: Path, name: str) -> FoundHook | None:
    """Return a hook, if there is anything under its name.

    Args:
        root: The `.mlver` folder.
        name: Such as `post-add`.
    """
    path = root / HOOKS_FOLDER / name
    try:
        own = path.lstat()
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return FoundHook(path, True, f"{path} is a link to nothing") if path.is_symlink() else None
    except OSError as error:
        return FoundHook(path, True, f"{path} cannot be looked at: {os.strerror(error.errno or 0)}")
    if not stat.S_ISREG(status.st_mode):
        return FoundHook(path, True, f"{path} is no file")
    if not status.st_mode & stat.S_IXUSR:
        return FoundHook(path, False)
    if not is_here(root):
        return FoundHook(path, True, "this repository came here with it: from an archive, or as a copy", TRUST_HINT)
    return FoundHook(path, True, _distrust(path, own, status))


def _distrust(path: Path, own: os.stat_result, status: os.stat_result) -> str | None:
    """Return why somebody else may have written what would be run in one's own name."""
    for what, found in ((path, status), (path, own), (path.parent, path.parent.stat())):
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
