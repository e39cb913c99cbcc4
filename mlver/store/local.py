"""The storage of a repository on this machine: `.mlver/` itself, or a remote that is a folder.

Everything is written to `tmp/`, flushed, given its name in one step, and made durable by flushing the folder too.
All work below the root goes by folder descriptors that refuse symbolic links, so no one can redirect it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from mlver.errors import IntegrityError, MlverError, NotFoundError
from mlver.store import temporary
from mlver.store.exclusive import publish_exclusively
from mlver.store.failures import storage_error
from mlver.store.storage import TEMPORARY_FOLDER, Blob, Buffer, check_name
from mlver.store.temporary import TemporaryFile

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe in the store must not block us


class LocalStorage:
    """A `Storage` in a folder. Safe to use from many threads and processes, and on network file systems.

    Args:
        root: The folder. It must exist for every call, so that an unmounted disk is never taken for an empty storage.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root = os.fspath(root)

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """See `Storage.read`. Reads with `pread`; a file that is cut while it is read is an error, not a crash."""
        try:  # `_failing` and `_parent` would cost as much as the calls of the system
            folder, last = self._open_parent(name)
            try:
                descriptor = _open_blob(last, folder, name)
            finally:
                os.close(folder)
            try:
                return _read_range(descriptor, start, length, name)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise storage_error(error, "read", self._shown(name)) from error

    def size(self, name: str) -> int:
        """See `Storage.size`."""
        status = self._status(name)
        if status is None:
            raise _absent(name)
        return status.st_size

    def exists(self, name: str) -> bool:
        """See `Storage.exists`."""
        return self._status(name) is not None

    def list(self, folder: str) -> list[str]:
        """See `Storage.list`. The folder for temporary files is not listed."""
        if folder:
            check_name(folder)
        with self._failing("list", folder):
            try:
                with self._folder(folder) as descriptor:
                    names = os.listdir(descriptor)
            except _AbsentFolderError:
                return []
        return sorted(name for name in names if folder or name != TEMPORARY_FOLDER)

    def list_blobs(self, folder: str) -> dict[str, Blob]:
        """Return all blobs below a folder by their path in it; see `RemoteStorage.list_blobs`."""
        found: dict[str, Blob] = {}
        rest = [""]
        while rest:
            below = rest.pop()
            for last in self.list("/".join(filter(None, (folder, below)))):
                path = f"{below}/{last}" if below else last
                place = f"{folder}/{path}" if folder else path
                status = self._status_of_any(place)
                if status is None:
                    continue  # gone since it was listed
                if _is_blob(status, place):
                    found[path] = Blob(status.st_size, status.st_mtime_ns)
                else:
                    rest.append(path)
        return found

    def create(self, name: str, data: Buffer) -> bool:
        """See `Storage.create`."""
        with (
            self._failing("write", name),
            self._parent(name, create=True) as (folder, last),
        ):
            with self._temporary(data) as (temporary_folder, file):
                made = publish_exclusively(file.name, temporary_folder, last, folder)
            # Also when it existed: whoever made it may not have come this far, and the caller will rely on it.
            os.fsync(folder)
            return made

    def put(self, name: str, data: Buffer) -> None:
        """See `Storage.put`."""
        with (
            self._failing("write", name),
            self._parent(name, create=True) as (folder, last),
        ):
            with self._temporary(data) as (temporary_folder, file):
                os.rename(file.name, last, src_dir_fd=temporary_folder, dst_dir_fd=folder)
            os.fsync(folder)

    def delete(self, name: str) -> None:
        """See `Storage.delete`."""
        with self._failing("remove", name):
            try:
                with self._parent(name) as (folder, last):
                    os.unlink(last, dir_fd=folder)
            except (NotFoundError, FileNotFoundError):
                return

    def sync(self, folder: str) -> None:
        """See `Storage.sync`. Flushes the folders on the way too: one may be as new as what is in it."""
        parts = folder.split("/") if folder else []
        for depth in range(len(parts) + 1):
            self._sync_one("/".join(parts[:depth]))

    def stage(self) -> LocalStagedBlob:
        """See `Storage.stage`."""
        with self._failing("write", TEMPORARY_FOLDER):
            folder = self._open_folder(TEMPORARY_FOLDER, create=True)
        try:
            return LocalStagedBlob(self, folder, TemporaryFile(folder, self._shown(TEMPORARY_FOLDER)))
        except BaseException:
            os.close(folder)
            raise

    def sweep(self) -> int:
        """Remove temporary files that killed processes of this machine left behind, and return how many.

        Files of living processes are left alone, however old they are. Nothing depends on this but disk space.

        Raises:
            MlverError: The folder for temporary files cannot be listed.
        """
        with self._failing("list", TEMPORARY_FOLDER):
            try:
                with self._folder(TEMPORARY_FOLDER) as folder:
                    return temporary.sweep(folder)
            except _AbsentFolderError:
                return 0

    def rename(self, name: str, to: str, *, replace: bool = True) -> bool:
        """See `mlver.store.aside.AsideStorage.rename`."""
        with self._failing("write", name):
            try:
                with self._parent(name) as (folder, last), self._parent(to, create=True) as (other, target):
                    if replace:
                        os.rename(last, target, src_dir_fd=folder, dst_dir_fd=other)
                        return True
                    publish_exclusively(last, folder, target, other)
                    with suppress(FileNotFoundError):  # renamed without a link, on file systems that have none
                        os.unlink(last, dir_fd=folder)
                    return True
            except (NotFoundError, FileNotFoundError):
                return False

    def modified_ns(self, name: str) -> int | None:
        """See `mlver.store.aside.AsideStorage.modified_ns`."""
        status = self._status(name)
        return None if status is None else status.st_mtime_ns

    def now_ns(self) -> int:
        """See `mlver.store.aside.AsideStorage.now_ns`.

        A new file is asked for its time. Where there is no room for one, the folder of temporary files tells when
        something was last written, which is not later than now.
        """
        with self._failing("write", TEMPORARY_FOLDER), self._folder(TEMPORARY_FOLDER, create=True) as folder:
            try:
                file = TemporaryFile(folder, self._shown(TEMPORARY_FOLDER))
            except MlverError:
                return os.fstat(folder).st_mtime_ns
            try:
                return os.stat(file.name, dir_fd=folder, follow_symlinks=False).st_mtime_ns
            finally:
                file.discard()

    def publish(self, file: TemporaryFile, temporary_folder: int, name: str) -> None:
        """Give a flushed temporary file its name, replacing a blob that should have the same content.

        Replacing rather than keeping mends a blob that went bad: the new bytes were just checked, the old were not.

        Raises:
            MlverError: It could not be named, or the name not made durable.
        """
        with (
            self._failing("write", name),
            self._parent(name, create=True) as (folder, last),
        ):
            os.rename(file.name, last, src_dir_fd=temporary_folder, dst_dir_fd=folder)
            os.fsync(folder)

    def _status(self, name: str) -> os.stat_result | None:
        """Return what is known of a blob, None if there is none."""
        status = self._status_of_any(name)
        return status if status is not None and _is_blob(status, name) else None

    def _status_of_any(self, name: str) -> os.stat_result | None:
        """Return what is known of a blob or folder, None if there is none."""
        with self._failing("read", name):
            try:
                with self._parent(name) as (folder, last):
                    return os.stat(last, dir_fd=folder, follow_symlinks=False)
            except (NotFoundError, FileNotFoundError):
                return None

    def _sync_one(self, folder: str) -> None:
        if folder:
            check_name(folder)
        with self._failing("write", folder):
            try:
                with self._folder(folder) as descriptor:
                    os.fsync(descriptor)
            except _AbsentFolderError:
                return

    @contextmanager
    def _temporary(self, data: Buffer) -> Iterator[tuple[int, TemporaryFile]]:
        """Give a flushed temporary file that holds `data`, with the descriptor of its folder; it is gone afterwards."""
        with self._folder(TEMPORARY_FOLDER, create=True) as folder:
            file = TemporaryFile(folder, self._shown(TEMPORARY_FOLDER))
            try:
                file.write([data])
                file.flush()
                yield folder, file
            finally:
                file.discard()

    @contextmanager
    def _parent(self, name: str, create: bool = False) -> Iterator[tuple[int, str]]:
        """Give what `_open_parent` returns; the descriptor is closed afterwards."""
        descriptor, last = self._open_parent(name, create)
        try:
            yield descriptor, last
        finally:
            os.close(descriptor)

    def _open_parent(self, name: str, create: bool = False) -> tuple[int, str]:
        """Return a new descriptor of the folder that `name` is in, and the last part of the name.

        Raises:
            NotFoundError: There is no such folder (and it was not to be created).
        """
        check_name(name)
        folder, _, last = name.rpartition("/")
        try:
            return self._open_folder(folder, create), last
        except _AbsentFolderError:
            raise _absent(name) from None

    @contextmanager
    def _folder(self, folder: str, create: bool = False) -> Iterator[int]:
        descriptor = self._open_folder(folder, create)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _open_folder(self, folder: str, create: bool = False) -> int:
        """Return a new descriptor of a folder, reached without following any link below the root.

        Raises:
            _AbsentFolderError: It does not exist and was not to be created; the root does exist.
        """
        try:
            descriptor = os.open(self._root, _FOLDER_FLAGS)
        except FileNotFoundError as error:
            raise MlverError(f"The store '{self._root}' does not exist.", hint="Is its disk mounted?") from error
        for part in folder.split("/") if folder else ():
            try:
                inner = _enter(descriptor, part, create)
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor

    def _shown(self, name: str) -> str:
        return os.path.join(self._root, name) if name else self._root

    @contextmanager
    def _failing(self, verb: str, name: str) -> Iterator[None]:
        """Turn what the system refuses into an error that names the file."""
        try:
            yield
        except OSError as error:
            raise storage_error(error, verb, self._shown(name)) from error


class LocalStagedBlob:
    """A `StagedBlob` of a `LocalStorage`."""

    def __init__(self, storage: LocalStorage, folder: int, file: TemporaryFile) -> None:
        self._storage = storage
        self._folder: int | None = folder
        self._file = file

    @property
    def size_bytes(self) -> int:
        """See `StagedBlob.size_bytes`."""
        return self._file.size_bytes

    def write(self, *buffers: Buffer) -> None:
        """See `StagedBlob.write`."""
        self._file.write(buffers)

    def commit(self, name: str) -> None:
        """See `StagedBlob.commit`."""
        if self._folder is None:
            raise ValueError("This staged blob was committed or aborted.")
        try:
            check_name(name)
            self._file.flush()
            self._storage.publish(self._file, self._folder, name)
        finally:
            self.abort()

    def abort(self) -> None:
        """See `StagedBlob.abort`."""
        self._file.discard()
        folder, self._folder = self._folder, None
        if folder is not None:
            os.close(folder)


class _AbsentFolderError(Exception):
    """A folder below the root does not exist."""


def _enter(folder: int, name: str, create: bool) -> int:
    """Return a descriptor of the folder `name` in `folder`; created durably if need be."""
    try:
        return os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder)
    except FileNotFoundError:
        if not create:
            raise _AbsentFolderError from None
    with suppress(FileExistsError):  # another process may be first, and may not have flushed it yet
        os.mkdir(name, dir_fd=folder)
    os.fsync(folder)
    return os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder)


def _open_blob(last: str, folder: int, name: str) -> int:
    try:
        return os.open(last, _READ_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        raise _absent(name) from None


def _read_range(descriptor: int, start: int, length: int | None, name: str) -> bytes:
    status = os.fstat(descriptor)
    if not _is_blob(status, name):
        raise _absent(name)
    # Compared before anything is allocated: offsets may come from an index that someone else wrote.
    wanted = max(0, status.st_size - start) if length is None else length
    if min(start, wanted) < 0 or start + wanted > status.st_size:
        raise _out_of_range(name, status.st_size, start, wanted)
    data = os.pread(descriptor, wanted, start)
    while len(data) < wanted:
        more = os.pread(descriptor, wanted - len(data), start + len(data))
        if not more:
            raise _out_of_range(name, start + len(data), start, wanted)
        data += more
    return data


def _is_blob(status: os.stat_result, name: str) -> bool:
    """Tell a blob from a folder; anything else has no business in a store."""
    if stat.S_ISREG(status.st_mode):
        return True
    if stat.S_ISDIR(status.st_mode):
        return False
    raise IntegrityError(f"{name!r} in the store is neither a file nor a folder.")


def _absent(name: str) -> NotFoundError:
    return NotFoundError(f"There is no {name!r} in the store.")


def _out_of_range(name: str, size_bytes: int, start: int, wanted: int) -> IntegrityError:
    return IntegrityError(f"{name!r} has {size_bytes} bytes: there are no {wanted} bytes from {start} on.")
