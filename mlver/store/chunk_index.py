"""Which pack holds a chunk: tables in the cache, filled from the packs' own indexes.

`add` asks it what is known already, `pull` where to read. Packs are the truth; `refresh` catches up with them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple

from mlver.errors import IntegrityError, NotFoundError
from mlver.ids import ChunkId, PackId
from mlver.store.pack import PACK_SUFFIX, PACKS_FOLDER, PackEntry, pack_id_of, pack_name, read_pack_index
from mlver.store.sqlite import CacheConnection, CacheDamaged
from mlver.store.storage import Storage

_COLUMNS = "chunks.id, bases, offset, frame_length, raw_size, encoding, packs.id"
_FROM = "FROM chunks JOIN packs ON packs.number = chunks.pack WHERE chunks.id"
_FIND = f"SELECT {_COLUMNS} {_FROM} = ?"
_FIND_ONE = _FIND + " LIMIT 1"
_TRANSACTION_ENTRIES = 50_000
"""Chunks recorded in one transaction while catching up; bounds memory and how long other processes wait."""
_BATCH = 500
"""Ids a query: below the 999 parameters that old SQLite libraries allow."""


class Location(NamedTuple):
    """Where a chunk can be read.

    Attributes:
        pack: The pack that holds it.
        entry: The place in the pack, and what the frame must say.
    """

    pack: PackId
    entry: PackEntry


class Refresh(NamedTuple):
    """What `ChunkIndex.refresh` found.

    Attributes:
        added: Packs that were not known before.
        dropped: Packs that were known and are gone.
        damaged: What is wrong with each pack whose index cannot be read; their chunks count as absent.
    """

    added: tuple[PackId, ...]
    dropped: tuple[PackId, ...]
    damaged: tuple[str, ...]


class ChunkIndex:
    """Finds chunks in packs. Safe to use from many threads; other processes may use the same file.

    Every method raises `CacheDamaged` when the database fails; see `mlver.store.sqlite`.

    Args:
        connection: A cache opened with `mlver.store.tables.SCHEMA` among its schemas.
    """

    def __init__(self, connection: CacheConnection) -> None:
        self._connection = connection

    def find(self, chunk: ChunkId) -> Location | None:
        """Return a place where the chunk is, None if no known pack has it."""
        with self._connection.lock:
            try:  # `reading` would cost as much as the query
                row = self._connection.execute(_FIND_ONE, (chunk,)).fetchone()
            except sqlite3.Error as error:
                raise CacheDamaged(error) from error
        return None if row is None else _location(row)

    def find_all(self, chunk: ChunkId) -> list[Location]:
        """Return every place where the chunk is: more than one when two writers stored it at once."""
        with self._connection.reading():
            rows = self._connection.execute(_FIND, (chunk,)).fetchall()
        return [_location(row) for row in rows]

    def find_many(self, chunks: Iterable[ChunkId]) -> dict[ChunkId, Location]:
        """Return a place for each of the chunks that is in a known pack."""
        found: dict[ChunkId, Location] = {}
        remaining = iter(chunks)
        while batch := list(islice(remaining, _BATCH)):
            query = f"SELECT {_COLUMNS} {_FROM} IN ({','.join('?' * len(batch))})"
            with self._connection.reading():
                rows = self._connection.execute(query, batch).fetchall()
            found.update((row[0], _location(row)) for row in rows)
        return found

    def packs(self) -> dict[PackId, int]:
        """Return the known packs with their sizes in bytes."""
        with self._connection.reading():
            return dict(self._connection.execute("SELECT id, size_bytes FROM packs").fetchall())

    def entries(self, pack: PackId) -> list[PackEntry]:
        """Return what a known pack holds, in the order of its frames; nothing for an unknown one."""
        query = (
            f"SELECT {_COLUMNS} FROM chunks JOIN packs ON packs.number = chunks.pack WHERE packs.id = ? ORDER BY offset"
        )
        with self._connection.reading():
            rows = self._connection.execute(query, (pack,)).fetchall()
        return [_location(row).entry for row in rows]

    def frame_sizes(self) -> dict[ChunkId, int]:
        """Return what each known chunk takes in its pack, in bytes."""
        with self._connection.reading():
            return dict(self._connection.execute("SELECT id, min(frame_length) FROM chunks GROUP BY id").fetchall())

    def add_pack(self, pack: PackId, size_bytes: int, entries: Sequence[PackEntry]) -> None:
        """Make a pack's chunks known. The pack must have been committed; one that is known already stays."""
        self.add_packs({pack: (size_bytes, entries)})

    def add_packs(
        self,
        packs: Mapping[PackId, tuple[int, Sequence[PackEntry]]],
        written_ns: Mapping[PackId, int] = MappingProxyType({}),
    ) -> None:
        """Make the chunks of several packs known at once.

        Args:
            packs: The size in bytes and the entries of each.
            written_ns: When each was written by the storage's clock, if a change of it would show in that.
        """
        if not packs:
            return
        with self._connection.transaction():
            for pack, (size_bytes, entries) in packs.items():
                self._insert(pack, size_bytes, entries, written_ns.get(pack))

    def written(self, pack: PackId) -> tuple[int, int] | None:
        """Return a pack's size in bytes, and when it was written by the storage's clock; None if that is not known."""
        query = "SELECT size_bytes, written_ns FROM packs WHERE id = ? AND written_ns IS NOT NULL"
        with self._connection.reading():
            row = self._connection.execute(query, (pack,)).fetchone()
        return row and (row[0], row[1])

    def forget_pack(self, pack: PackId) -> None:
        """Make a pack's chunks unknown, unless another pack has them."""
        with self._connection.transaction():
            self._delete(pack)

    def reload_pack(self, storage: Storage, pack: PackId) -> None:
        """Ask the pack itself, not the cache: for when a frame is not where this index says it is.

        Raises:
            NotFoundError: There is no such pack; it is forgotten.
            IntegrityError: The pack's index is damaged; it is forgotten.
            MlverError: It cannot be read; it is forgotten.
        """
        self.forget_pack(pack)
        self.add_pack(pack, *_read(storage, pack))

    def refresh(self, storage: Storage) -> Refresh:
        """Catch up with the packs that are there: other processes add and remove some.

        Packs are read before the transaction that records them, so other processes never wait for the storage.

        Raises:
            MlverError: The packs cannot be listed or read; nothing was dropped on account of that.
        """
        # Compared as names: every command that reads or writes comes here, and there may be thousands of packs.
        known = {f"{pack}{PACK_SUFFIX}": pack for pack in self.packs()}
        names = set(storage.list(PACKS_FOLDER))
        dropped = sorted(known[name] for name in known.keys() - names)
        if dropped:
            with self._connection.transaction():
                for pack in dropped:
                    self._delete(pack)
        added, damaged = self._add_all(storage, sorted(pack for pack in map(pack_id_of, names - known.keys()) if pack))
        return Refresh(tuple(added), tuple(dropped), tuple(damaged))

    def _add_all(self, storage: Storage, packs: Sequence[PackId]) -> tuple[list[PackId], list[str]]:
        """Read and record packs, many in a transaction; return those recorded and what is wrong with the others."""
        added: list[PackId] = []
        damaged: list[str] = []
        pending: dict[PackId, tuple[int, Sequence[PackEntry]]] = {}
        for pack in packs:
            try:
                pending[pack] = _read(storage, pack)
            except NotFoundError:
                continue  # removed since it was listed
            except IntegrityError as error:
                damaged.append(error.message)
            if sum(len(entries) for _, entries in pending.values()) >= _TRANSACTION_ENTRIES:
                self.add_packs(pending)
                added += pending
                pending = {}
        self.add_packs(pending)
        return [*added, *pending], damaged

    def _insert(self, pack: PackId, size_bytes: int, entries: Sequence[PackEntry], written_ns: int | None) -> None:
        cursor = self._connection.execute(
            "INSERT OR IGNORE INTO packs (id, size_bytes, written_ns) VALUES (?, ?, ?)", (pack, size_bytes, written_ns)
        )
        if cursor.rowcount != 1:
            return
        self._connection.executemany(
            "INSERT OR REPLACE INTO chunks (id, bases, offset, frame_length, raw_size, encoding, pack)"
            f" VALUES (?, ?, ?, ?, ?, ?, {cursor.lastrowid})",
            # In the order of the key, the pages of the tree are filled one after another.
            sorted(entries, key=_chunk_of),
        )

    def _delete(self, pack: PackId) -> None:
        self._connection.execute("DELETE FROM chunks WHERE pack = (SELECT number FROM packs WHERE id = ?)", (pack,))
        self._connection.execute("DELETE FROM packs WHERE id = ?", (pack,))


_chunk_of = itemgetter(0)


def _read(storage: Storage, pack: PackId) -> tuple[int, list[PackEntry]]:
    """Return a pack's size in bytes and its entries."""
    name = pack_name(pack)
    return storage.size(name), read_pack_index(storage, name)


def _location(row: tuple[Any, ...]) -> Location:
    return Location(row[6], PackEntry._make(row[:6]))
