"""Putting finished files where they belong, whole, and never through a link that someone put there.

The target itself may be reached through links: its user chose it. Below it each folder is opened without following
links and by descriptor, so that nobody can redirect a file of a version to another place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlver.errors import MlverError
from mlver.ops.opening import REPOSITORY_FOLDER
from mlver.store.failures import cannot_write

_MARK = ".mlver-pull-"
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def is_in_use(folder: Path) -> bool:
    """Tell whether a folder must stay the very folder it is: someone stands in it, or a disk is mounted there."""
    try:
        return os.path.ismount(folder) or os.path.samefile(folder, os.getcwd())
    except OSError:
        return False


def refuse_repository(root: Path, place: Path) -> None:
    """Refuse a target inside a repository: a version with files named as its own must not take their place.

    Args:
        root: The repository's folder.
        place: The target.

    Raises:
        MlverError: It is inside.
    """
    real = Path(os.path.realpath(place))
    if REPOSITORY_FOLDER in real.parts or real.is_relative_to(os.path.realpath(root)):
        raise MlverError(f"{place} is inside a repository's own folder.", "Choose another place with -o DIR.")


@contextmanager
def staging_folder(target: Path, beside: bool) -> Iterator[Path]:
    """Yield a new folder on the target's filesystem; what is left of it is removed afterwards.

    Folders of killed pulls of this host are removed too.

    Args:
        target: Where its content is to go.
        beside: Make it in the target's parent folder, which is made if need be, instead of in the target.

    Raises:
        MlverError: It cannot be made.
    """
    parent = target.parent if beside else target
    prefix = f"{_MARK}{target.name}-" if beside else _MARK
    try:
        make_folder(parent)
        _sweep(parent, prefix)
        staging = parent / f"{prefix}{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"
        staging.mkdir(mode=0o700)
    except OSError as error:
        raise _cannot_write(parent, error) from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def replace_empty(staging: Path, target: Path) -> None:
    """Rename a finished folder to `target`, which is absent or an empty folder, durably.

    Raises:
        MlverError: It cannot be renamed, because something appeared there, for example.
    """
    try:
        if target.is_symlink():  # a link to an empty folder, which a rename would replace
            target = target.resolve()
        mode = target.stat().st_mode & 0o7777 if target.exists() else 0o777 & ~umask()
        staging.chmod(mode)
        os.rename(staging, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise _cannot_write(target, error) from error


def move_into(staging: Path, target: Path, paths: Sequence[str], folders: Sequence[str]) -> None:
    """Rename finished files one by one into a folder that has others, replacing those of the same name.

    Raises:
        MlverError: A folder on the way is a link or a file, or cannot be written.
    """
    for path in (*paths, *(f"{folder}/" for folder in folders)):
        _refuse_obstacle(target, path.rpartition("/")[0])
    touched: set[str] = set()
    for path in sorted(paths):
        head, _, last = path.rpartition("/")
        try:
            with _open_below(target, head) as destination, _open_below(staging, head) as source:
                os.rename(last, last, src_dir_fd=source, dst_dir_fd=destination)
        except OSError as error:
            raise _cannot_write(target / path, error) from error
        touched.add(head)
    for folder in folders:
        try:
            with _open_below(target, folder):
                touched.add(folder)
        except OSError as error:
            raise _cannot_write(target / folder, error) from error
    for head in touched:
        with _open_below(target, head) as descriptor:
            os.fsync(descriptor)


def _refuse_obstacle(target: Path, folder: str) -> None:
    """Find a link or file where a folder should be before anything is moved."""
    place = target
    for part in filter(None, folder.split("/")):
        place = place / part
        try:
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                raise _cannot_write(place, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
        except FileNotFoundError:
            return
        except OSError as error:
            raise _cannot_write(place, error) from error


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, durably. One that is there may be as new: somebody was killed who made it.

    Raises:
        OSError: It cannot be made.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing or [folder]):
        _sync_folder(made.parent)


@contextmanager
def _open_below(top: Path, path: str) -> Iterator[int]:
    """Yield a descriptor of the folder `path` below `top`; it and those on the way are made if need be."""
    descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in filter(None, path.split("/")):
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=descriptor)
                os.fsync(descriptor)
            below = os.open(part, _FOLDER_FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _sweep(parent: Path, prefix: str) -> None:
    """Remove staging folders whose process is gone."""
    mine = f"{prefix}{socket.gethostname()}-"
    for name in os.listdir(parent):
        process = name.removeprefix(mine).partition("-")[0]
        if name.startswith(mine) and process.isdigit() and not is_alive(int(process)):
            shutil.rmtree(parent / name, ignore_errors=True)


def is_alive(process: int) -> bool:
    """Tell whether a process of this machine may be running."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def umask() -> int:
    """Return the permissions that this process leaves out when it makes files."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(path: Path, error: OSError) -> MlverError:
    said = cannot_write(error, str(path))
    if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EEXIST):
        return MlverError(said.message, "A link or file on the way is never followed or replaced.")
    return said
