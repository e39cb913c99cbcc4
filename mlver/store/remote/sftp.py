"""Another machine's folder over SFTP, through paramiko: of its two renames the plain one refuses to replace.

Blobs are written to `tmp/`, flushed where the server can, and renamed. Hosts must be known, as for `ssh`.

Source: https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02 (rename), OpenSSH's PROTOCOL (fsync)
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any

from mlver.errors import RemoteError
from mlver.store.remote.s3 import CONNECT_SECONDS, STALL_SECONDS
from mlver.store.remote.service import Entry

_TEMPORARY = "tmp"
_PIECE_BYTES = 32 << 10


class SftpService:
    """A folder on a machine.

    Args:
        host: Its name.
        folder: Absolute path there.
        port: Where sshd listens.
        user: Whom to log in as; by default whoever runs this.
        key_file: A private key; by default the agent's and those in `~/.ssh`.
        known_hosts: File of known hosts; by default `~/.ssh/known_hosts`.
    """

    is_read_only = False

    def __init__(
        self,
        host: str,
        folder: str,
        port: int = 22,
        user: str | None = None,
        key_file: str | None = None,
        known_hosts: str | None = None,
    ) -> None:
        try:
            self._paramiko: Any = import_module("paramiko")
        except ImportError as error:
            raise RemoteError("sftp:// needs the package paramiko.", "Install it: pip install 'mlver[sftp]'") from error
        self._folder = folder.rstrip("/")
        self._login = {"hostname": host, "port": port, "username": user, "key_filename": key_file}
        self._known_hosts = known_hosts
        self._idle: SimpleQueue[Any] = SimpleQueue()

    def get(self, path: str, start: int, end: int | None) -> bytes:
        """See `Service.get`."""
        with self._session() as sftp, sftp.open(self._full(path), "rb") as file:
            status = file.stat()
            if not stat.S_ISREG(status.st_mode):
                raise _absent(path)
            end = int(status.st_size) if end is None else min(end, int(status.st_size))
            if end <= start:
                return b""
            if end - start > _PIECE_BYTES:
                return b"".join(file.readv(_pieces(start, end)))
            file.seek(start)
            return bytes(file.read(end - start))

    def size(self, path: str) -> int:
        """See `Service.size`."""
        with self._session() as sftp:
            status = sftp.lstat(self._full(path))
        if not stat.S_ISREG(status.st_mode):
            raise _absent(path)
        return int(status.st_size)

    def list(self, folder: str, deep: bool) -> Sequence[Entry]:
        """See `Service.list`."""
        with self._session() as sftp:
            sftp.stat(self._folder)  # an absent root is not an empty one
            return list(self._walk(sftp, folder, "", deep))

    def _walk(self, sftp: Any, folder: str, prefix: str, deep: bool) -> Iterator[Entry]:
        try:
            found = sftp.listdir_attr(self._full(folder))
        except FileNotFoundError:
            return
        for item in found:
            is_folder = stat.S_ISDIR(item.st_mode)
            if is_folder and deep:
                inner = f"{folder}/{item.filename}" if folder else item.filename
                yield from self._walk(sftp, inner, f"{prefix}{item.filename}/", deep)
            elif folder or item.filename != _TEMPORARY:
                modified_ns = None if is_folder or item.st_mtime is None else int(item.st_mtime) * 10**9
                yield Entry(prefix + item.filename, None if is_folder else int(item.st_size), modified_ns)

    def create(self, path: str, data: bytes) -> bool:
        """See `Service.create`."""
        with self._session() as sftp, self._written(sftp, path, data) as temporary:
            try:
                sftp.rename(temporary, self._full(path))
            except OSError:
                sftp.stat(self._full(path))  # the server only says "Failure": it was a refusal if the name is taken
                return False
        return True

    def put(self, path: str, data: bytes) -> None:
        """See `Service.put`."""
        with self._session() as sftp, self._written(sftp, path, data) as temporary:
            sftp.posix_rename(temporary, self._full(path))

    def delete(self, path: str) -> None:
        """See `Service.delete`."""
        with self._session() as sftp:
            sftp.remove(self._full(path))

    def close(self) -> None:
        """See `Service.close`."""
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    @contextmanager
    def _written(self, sftp: Any, path: str, data: bytes) -> Iterator[str]:
        """Give the path of a flushed temporary file with the bytes; it is gone afterwards."""
        self._make_folders(sftp, _TEMPORARY)
        self._make_folders(sftp, path.rpartition("/")[0])
        temporary = self._full(f"{_TEMPORARY}/{os.urandom(8).hex()}")
        try:
            with sftp.open(temporary, "wx") as file:
                file.set_pipelined(True)
                file.write(data)
                file.flush()
                self._flush(sftp, file)
            yield temporary
        finally:
            with suppress(OSError):
                sftp.remove(temporary)

    def _flush(self, sftp: Any, file: Any) -> None:
        """Make a file durable, where the server knows how; paramiko has no name for the request."""
        with suppress(OSError):
            sftp._request(200, "fsync@openssh.com", file.handle)

    def _make_folders(self, sftp: Any, folder: str) -> None:
        parts = folder.split("/") if folder else []
        for depth in range(len(parts)):
            whole = self._full("/".join(parts[: depth + 1]))
            try:
                sftp.stat(whole)
            except FileNotFoundError:
                with suppress(OSError):  # another writer may be first; what fails otherwise fails at the file too
                    sftp.mkdir(whole)

    @contextmanager
    def _session(self) -> Iterator[Any]:
        """Give a session of one's own; it is kept for the next unless its connection failed."""
        try:
            sftp = self._idle.get_nowait()
        except Empty:
            sftp = self._connect()
        try:
            yield sftp
        except FileNotFoundError:
            self._idle.put(sftp)
            raise
        except BaseException:
            sftp.close()
            raise
        self._idle.put(sftp)

    def _connect(self) -> Any:
        client = self._paramiko.SSHClient()
        client.load_system_host_keys(self._known_hosts)
        client.connect(
            timeout=CONNECT_SECONDS, banner_timeout=CONNECT_SECONDS, auth_timeout=CONNECT_SECONDS, **self._login
        )
        sftp = client.open_sftp()
        sftp.get_channel().settimeout(STALL_SECONDS)
        sftp.keeps = client  # a client that is collected closes its sessions
        return sftp

    def _full(self, path: str) -> str:
        return f"{self._folder}/{path}" if path else self._folder


def _absent(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _pieces(start: int, end: int) -> list[tuple[int, int]]:
    return [(at, min(_PIECE_BYTES, end - at)) for at in range(start, end, _PIECE_BYTES)]
