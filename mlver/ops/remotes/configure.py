"""`remote add`, `list`, `remove`, `show`: which remotes there are, and whether they keep what push relies on."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlver.config import CONFIG_NAME, with_remote
from mlver.errors import ConflictError, NotFoundError, RemoteError, UsageError
from mlver.ops.opening import FORMAT_NAME, FORMAT_TEXT, OpenRepository
from mlver.ops.placing import umask
from mlver.ops.remotes.opening import address_of, forget_remote_cache, open_remote
from mlver.store.local import LocalStorage
from mlver.store.remote.address import Address, check_address
from mlver.store.remote.opening import open_storage
from mlver.store.remote.probe import probe
from mlver.store.remote.storage import RemoteStorage
from mlver.store.storage import Storage

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_OURS = frozenset({FORMAT_NAME, "names", "log", "manifests", "packs", "runs", "probe"})


@dataclass(frozen=True, slots=True)
class RemoteRecord:
    """One remote.

    Attributes:
        name: What commands call it.
        url: Where it is.
        options: Further settings by name.
        writable: Whether blobs can be written there; None where nobody asked.
        exclusive: Whether creation is exclusive there; None where nobody asked or nothing can be written.
        artifact_count: Artifacts there; None where nobody asked.
    """

    name: str
    url: str
    options: Mapping[str, str]
    writable: bool | None = None
    exclusive: bool | None = None
    artifact_count: int | None = None


def list_remotes(repository: OpenRepository) -> list[RemoteRecord]:
    """Return all remotes, by name."""
    found = []
    for name in sorted(repository.config.remotes):
        address = address_of(repository, name)
        found.append(RemoteRecord(name, address.url, address.options))
    return found


def add_remote(
    repository: OpenRepository, name: str, url: str, options: Mapping[str, str] | None = None
) -> RemoteRecord:
    """Make a place a remote, or use the one it is, after trying out what it promises.

    Raises:
        UsageError: The name or the URL is not allowed.
        ConflictError: There is a remote of this name elsewhere.
        RemoteError: It cannot be reached or holds something else.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a remote's name.", "Use letters, digits, '_', '-' and '.'.")
    address = check_address(url, options, Path.cwd())
    existing = repository.config.remotes.get(name)
    if existing is not None and existing["url"] != address.url:
        raise ConflictError(
            f"The remote {name!r} is {existing['url']}.", f"Remove it first, with: mlver remote remove {name}"
        )
    storage = _storage_to_be(address)
    try:
        record = _prepare(storage, name, address)
    finally:
        if isinstance(storage, RemoteStorage):
            storage.close()
    _write(repository, name, {"url": address.url, **address.options})
    return record


def use_remote(repository: OpenRepository, name: str, url: str, options: Mapping[str, str] | None = None) -> None:
    """Make a place that is a remote already one of a repository; nothing is tried out or written there.

    Raises:
        UsageError: The URL is not allowed.
    """
    address = check_address(url, options, Path.cwd())
    _write(repository, name, {"url": address.url, **address.options})


def remove_remote(repository: OpenRepository, name: str) -> RemoteRecord:
    """Forget a remote; nothing there changes.

    Raises:
        NotFoundError: There is none of this name.
    """
    address = address_of(repository, name)
    _write(repository, name, None)
    forget_remote_cache(repository, address)
    return RemoteRecord(name, address.url, address.options)


def show_remote(repository: OpenRepository, name: str | None) -> RemoteRecord:
    """Ask a remote what it is.

    Raises:
        NotFoundError: There is none of this name.
        RemoteError: It cannot be reached, or is no mlver remote.
    """
    with open_remote(repository, name) as remote:
        if remote.is_read_only:
            return RemoteRecord(remote.name, remote.address.url, remote.address.options, writable=False)
        found = probe(remote.storage, read_only=False)
        count = len(remote.storage.list("log"))
        return RemoteRecord(
            remote.name, remote.address.url, remote.address.options, found.writable, found.exclusive, count
        )


def _storage_to_be(address: Address) -> RemoteStorage | LocalStorage:
    """Open a storage; a folder that is not there is made, if the one it is in is there."""
    if address.protocol == "file":
        try:
            with suppress(FileExistsError):
                os.mkdir(address.path)
        except OSError as error:
            raise RemoteError(f"Cannot make the folder {address.path}: {os.strerror(error.errno or 0)}.") from error
        if not os.path.isdir(address.path):
            raise RemoteError(f"{address.path} is not a folder.")
    return open_storage(address)


def _prepare(storage: RemoteStorage | LocalStorage, name: str, address: Address) -> RemoteRecord:
    read_only = isinstance(storage, RemoteStorage) and storage.is_read_only
    try:
        text: bytes | None = storage.read(FORMAT_NAME)
    except NotFoundError:
        text = None
    if text not in (None, FORMAT_TEXT):
        raise RemoteError(
            f"{address.url} has a layout that this mlver does not know: {(text or b'')[:40]!r}.",
            "A newer mlver may have made it: upgrade.",
        )
    if text is None:
        if read_only:
            raise RemoteError(f"{address.url} is no mlver remote, and nothing can be written there.")
        _refuse_strangers(storage, address)
    found = probe(storage, read_only)
    if text is None:
        storage.create(FORMAT_NAME, FORMAT_TEXT)
    return RemoteRecord(name, address.url, address.options, found.writable, found.exclusive)


def _refuse_strangers(storage: Storage, address: Address) -> None:
    strange = [name for name in storage.list("") if name not in _OURS]
    if strange:
        raise RemoteError(
            f"{address.url} holds other files, such as {strange[0]!r}.",
            "Give a folder of its own: a longer URL, or --prefix FOLDER.",
        )


def _write(repository: OpenRepository, name: str, settings: Mapping[str, str] | None) -> None:
    try:
        text = repository.storage.read(CONFIG_NAME)
    except NotFoundError:
        text = b""
    repository.storage.put(CONFIG_NAME, with_remote(text, name, settings))
    with suppress(OSError):  # unlike all else in here, it is for people to edit
        (repository.root / CONFIG_NAME).chmod(0o666 & ~umask())


__all__ = ["RemoteRecord", "add_remote", "list_remotes", "remove_remote", "show_remote"]
