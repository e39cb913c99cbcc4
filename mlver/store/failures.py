"""What the operating system refuses, said in one sentence that names the file and, where known, what helps."""

from __future__ import annotations

import errno
import os

from mlver.errors import IntegrityError, MlverError

_SPACE_HINT = "Free some space (or raise the quota or limit), then run the same command again; nothing was lost."
_ACCESS_HINT = "Check who owns the file and its folder, and whether you may write there."
_HINTS = {
    errno.ENOSPC: _SPACE_HINT,
    errno.EDQUOT: _SPACE_HINT,
    errno.EFBIG: _SPACE_HINT,
    errno.EACCES: _ACCESS_HINT,
    errno.EPERM: _ACCESS_HINT,
    errno.EROFS: "The file system is mounted read-only.",
    errno.EMFILE: "Too many files are open at once; raise the limit with 'ulimit -n'.",
    errno.ENFILE: "Too many files are open on this machine.",
    errno.EIO: "The disk reports an error: look at the system's log before you trust it further.",
}


def storage_error(error: OSError, verb: str, path: str) -> MlverError:
    """Return the error to raise instead of `error`.

    Args:
        error: What the operating system said.
        verb: What was tried: `read`, `write`, `list`, `remove`.
        path: The file or folder it was tried on.
    """
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return IntegrityError(
            f"Cannot {verb} '{path}': part of it is a symbolic link or no folder.",
            hint="A store holds plain files and folders only; it was changed by something other than mlver.",
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return MlverError(f"Cannot {verb} '{path}': {reason}.", hint=_HINTS.get(error.errno or 0))


def cannot_write(error: OSError, what: str) -> MlverError:
    """Return the error to raise instead of `error` for what a person asked for outside a store; `what` says where."""
    return MlverError(f"Cannot write {what}: {os.strerror(error.errno or 0)}.", hint=_HINTS.get(error.errno or 0))


def hint_in(text: str) -> str | None:
    """Return what helps against the first known refusal that a text bears the name of; None if it bears none."""
    return next((hint for number, hint in _HINTS.items() if os.strerror(number) in text), None)
