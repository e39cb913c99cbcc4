"""Giving a finished file its name only if the name is free, in one step, on file systems of every kind.

A hard link does it nearly everywhere; exFAT, FAT and some network file systems have none, but can rename without
replacing. Creating the name with `O_EXCL` and then writing is no way out: others would see the file half-written, and
a crash would leave it so for ever.
"""

from __future__ import annotations

import errno
import os
import sys

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_RENAME_NOREPLACE = 1  # Linux, renameat2(2)
_RENAME_EXCL = 4  # macOS, renameatx_np(2)


def publish_exclusively(temporary: str, temporary_folder: int, name: str, folder: int) -> bool:
    """Give the file `temporary` the name `name`, unless that is taken. The temporary name may remain.

    Args:
        temporary: Name of the finished file in `temporary_folder`.
        temporary_folder: Descriptor of the folder it is in.
        name: The name to give it in `folder`.
        folder: Descriptor of the folder to publish in.

    Returns:
        Whether the name is now this very file's.

    Raises:
        OSError: The file system cannot do it, or refuses.
    """
    try:
        os.link(
            temporary,
            name,
            src_dir_fd=temporary_folder,
            dst_dir_fd=folder,
            follow_symlinks=False,
        )
        return True
    except FileExistsError:
        return _is_same_file(temporary, temporary_folder, name, folder)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _rename_exclusively(temporary, temporary_folder, name, folder, error)


def _is_same_file(temporary: str, temporary_folder: int, name: str, folder: int) -> bool:
    """Tell whether the link was made after all: NFS says "exists" when the reply to the first request was lost."""
    mine = os.stat(temporary, dir_fd=temporary_folder, follow_symlinks=False)
    try:
        theirs = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(mine, theirs)


def _rename_exclusively(temporary: str, temporary_folder: int, name: str, folder: int, cause: OSError) -> bool:
    """Rename without replacing, by the call that Python has no name for. Raises `cause` where there is no such call."""
    import ctypes  # costs start-up time, and hardly any file system needs it

    call, flag = ("renameatx_np", _RENAME_EXCL) if sys.platform == "darwin" else ("renameat2", _RENAME_NOREPLACE)
    rename = getattr(ctypes.CDLL(None, use_errno=True), call, None)
    if rename is None:
        raise cause
    if (
        rename(
            temporary_folder,
            os.fsencode(temporary),
            folder,
            os.fsencode(name),
            ctypes.c_uint(flag),
        )
        == 0
    ):
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        return False
    raise OSError(number, os.strerror(number), name)
