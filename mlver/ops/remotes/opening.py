"""Opening a remote: its settings, its storage, what was cached of it. Its layout is checked first."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlver.digests import blake3_hex
from mlver.errors import MlverError, NotFoundError, RemoteError, UsageError
from mlver.ops.opening import FORMAT_NAME, FORMAT_TEXT, OpenRepository
from mlver.ops.remotes.tables import SCHEMA
from mlver.store import tables as store_tables
from mlver.store.chunk_index import ChunkIndex
from mlver.store.local import LocalStorage
from mlver.store.remote.address import Address, check_address
from mlver.store.remote.opening import open_storage
from mlver.store.remote.storage import RemoteStorage
from mlver.store.sqlite import CacheConnection, CacheDamaged, open_cache, remove_cache

REMOTES_FOLDER = "remotes"
DEFAULT_REMOTE = "origin"


@dataclass(frozen=True, slots=True)
class OpenRemote:
    """A remote that verbs work on.

    Attributes:
        name: As in `config.toml`.
        address: Where it is.
        storage: Everything there.
        cache: What is known of it; may be lost at any time.
    """

    name: str
    address: Address
    storage: RemoteStorage | LocalStorage
    cache: CacheConnection

    @property
    def chunk_index(self) -> ChunkIndex:
        """Its chunks and packs, as far as they were asked for."""
        return ChunkIndex(self.cache)

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be written there."""
        return isinstance(self.storage, RemoteStorage) and self.storage.is_read_only

    def known_head(self, folder: str) -> int:
        """Return the number of the newest event of a log that is known to be the same here and there; -1: none."""
        with self.cache.reading():
            row = self.cache.execute("SELECT number FROM heads WHERE folder = ?", (folder,)).fetchone()
        return -1 if row is None else int(row[0])

    def note_head(self, folder: str, number: int) -> None:
        """Note that a log is the same here and there up to event `number`."""
        with self.cache.transaction():
            self.cache.execute("INSERT OR REPLACE INTO heads VALUES (?, ?)", (folder, number))

    def damage(self) -> list[str]:
        """Return what was found damaged there and not mended since: names of blobs, and `chunk ID`."""
        with self.cache.reading():
            return [str(name) for (name,) in self.cache.execute("SELECT name FROM damage ORDER BY name")]

    def note_damage(self, names: Iterable[str]) -> None:
        """Note what is damaged now, and nothing else."""
        with self.cache.transaction():
            self.cache.execute("DELETE FROM damage")
            self.cache.executemany("INSERT OR IGNORE INTO damage VALUES (?)", [(name,) for name in names])

    def check_format(self) -> None:
        """Refuse what is no remote of a known layout.

        Raises:
            RemoteError: It is none.
        """
        try:
            text = self.storage.read(FORMAT_NAME)
        except NotFoundError as error:
            raise RemoteError(
                f"{self.address.url} is no mlver remote: it has no '{FORMAT_NAME}'.",
                f"Make it one with: mlver remote add {self.name} {self.address.url}",
            ) from error
        if text != FORMAT_TEXT:
            shown = text[:40].decode(errors="replace").strip()
            raise RemoteError(
                f"{self.address.url} has a layout that this mlver does not know: {shown!r}.",
                "A newer mlver may have made it: upgrade.",
            )


def address_of(repository: OpenRepository, name: str) -> Address:
    """Return where a remote is.

    Raises:
        NotFoundError: There is no remote of this name.
        UsageError: Its settings are not allowed.
    """
    remotes = repository.config.remotes
    if name not in remotes:
        known = ", ".join(sorted(remotes))
        raise NotFoundError(
            f"There is no remote {name!r}.",
            f"There is: {known}" if known else "Say where it is, with: mlver remote add origin URL",
        )
    settings = dict(remotes[name])
    return check_address(settings.pop("url"), settings, repository.root.parent)


def choose_remote(repository: OpenRepository, name: str | None) -> str:
    """Return the remote to use: the one named, the only one there is, or `origin`.

    Raises:
        NotFoundError: There is none.
        UsageError: There are several, and none is `origin`.
    """
    remotes = repository.config.remotes
    if name is not None:
        return name
    if DEFAULT_REMOTE in remotes or not remotes:
        return DEFAULT_REMOTE
    if len(remotes) == 1:
        return next(iter(remotes))
    raise UsageError("There are several remotes, and none is called origin.", "Name one with --remote NAME.")


@contextmanager
def open_remote(repository: OpenRepository, name: str | None, *, check: bool = True) -> Iterator[OpenRemote]:
    """Open a remote of a repository by its name; None is the usual one.

    Args:
        repository: The repository.
        name: As in `config.toml`.
        check: Refuse what is no mlver remote.

    Raises:
        NotFoundError: There is no remote of this name.
        RemoteError: It cannot be opened, or is none of a known layout.
    """
    name = choose_remote(repository, name)
    address = address_of(repository, name)
    storage = open_storage(address)
    try:
        with _cache(_cache_path(repository, address)) as cache:
            remote = OpenRemote(name, address, storage, cache)
            if check:
                remote.check_format()
            yield remote
    finally:
        if isinstance(storage, RemoteStorage):
            storage.close()


def known_heads(repository: OpenRepository) -> dict[str, int]:
    """Return for each log the newest event that some remote is known to have. Nobody is asked."""
    heads: dict[str, int] = {}
    for name in repository.config.remotes:
        path = _cache_path(repository, address_of(repository, name))
        if path is None or not path.exists():
            continue
        with _cache(path) as cache, cache.reading():
            rows = cache.execute("SELECT folder, number FROM heads").fetchall()
        for folder, number in rows:
            heads[folder] = max(number, heads.get(folder, -1))
    return heads


@contextmanager
def _cache(path: Path | None) -> Iterator[CacheConnection]:
    """Open what is known of a remote.

    Raises:
        CacheDamaged: This cache failed, or the repository's. Nobody can tell which; so this one is gone, at the cost of
            a listing, and whoever tries once more gets a new one.
    """
    cache = open_cache(path, (store_tables.SCHEMA, SCHEMA))
    try:
        yield cache
    except CacheDamaged:
        if path is not None:
            remove_cache(path)
        raise
    finally:
        cache.close()


def _cache_path(repository: OpenRepository, address: Address) -> Path | None:
    """Return the cache's file, which is that of the place: a remote of the same name elsewhere has another."""
    folder = repository.own_folder(REMOTES_FOLDER)
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return None  # a repository that may only be read
    key = "\0".join([address.url, *(f"{name}={value}" for name, value in sorted(address.options.items()))])
    return folder / f"{blake3_hex(os.fsencode(key))[:32]}.sqlite"


def forget_remote_cache(repository: OpenRepository, address: Address) -> None:
    """Remove what was cached of a remote.

    Raises:
        MlverError: The file cannot be removed.
    """
    path = _cache_path(repository, address)
    try:
        if path is not None:
            remove_cache(path)
    except OSError as error:
        raise MlverError(f"Cannot remove {path}: {os.strerror(error.errno or 0)}.") from error
