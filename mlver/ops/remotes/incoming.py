"""What was received and not checked yet: packs in a folder of their own, which no index knows and nobody relies on.

Frames from a remote bear checksums, but only decoding shows that a chunk is what its id says. So packs wait in
`incoming/` until all that was asked for is whole and decoded, and are then moved to `packs/`. A pull that was killed
leaves them there; the next one reads and checks them again and asks only for the rest.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial

from mlver.chunks import ChunkReader
from mlver.errors import IntegrityError, NotFoundError
from mlver.ids import ChunkId
from mlver.ops.opening import OpenRepository
from mlver.ops.parallel import run_ordered
from mlver.store import tables as store_tables
from mlver.store.chunk_index import ChunkIndex, Location
from mlver.store.failures import storage_error
from mlver.store.local import LocalStorage
from mlver.store.pack import PACKS_FOLDER, pack_id_of, pack_name, read_pack_index
from mlver.store.sqlite import CacheConnection, open_cache

_FOLDER = "incoming"
_BATCH = 16


class Incoming:
    """The waiting packs of a repository. Use from one thread; `close` at the end.

    Args:
        repository: Whose.
        wanted: The chunks that are to be received. Packs that hold others too are another pull's, and left alone.
    """

    def __init__(self, repository: OpenRepository, wanted: Collection[ChunkId]) -> None:
        self._repository = repository
        self._root = repository.own_folder(_FOLDER)
        try:
            self._root.mkdir(exist_ok=True)
        except OSError as error:
            raise storage_error(error, "write", os.fspath(self._root)) from error
        self.storage = LocalStorage(self._root)
        self._cache: CacheConnection = open_cache(None, (store_tables.SCHEMA,))
        self.index = ChunkIndex(self._cache)
        for name in self.storage.list(PACKS_FOLDER):
            self._learn(name, wanted)

    def close(self) -> None:
        """Let memory go; the packs stay."""
        self._cache.close()

    def check(self) -> None:
        """Decode all chunks, with what they rest on here or in the repository, and compare them with their ids.

        Raises:
            IntegrityError: One is damaged, or what it rests on is missing.
        """
        reader = ChunkReader(
            _Both(self.storage, self._repository.storage), _BothIndexes(self._cache, self._repository.chunk_index)
        )
        ordered = [entry.chunk for pack in self.index.packs() for entry in self.index.entries(pack)]

        def decode(batch: Sequence[ChunkId]) -> None:
            for chunk in batch:
                reader.decode(chunk)

        batches = (ordered[start : start + _BATCH] for start in range(0, len(ordered), _BATCH))
        for _ in run_ordered(partial(decode, batch) for batch in batches):
            pass

    def drop(self) -> None:
        """Throw away what waits: it turned out to be damaged."""
        for pack in self.index.packs():
            self.storage.delete(pack_name(pack))

    def publish(self) -> None:
        """Move all packs, checked before, into the repository.

        Raises:
            MlverError: They cannot be moved.
        """
        target = self._repository.root / PACKS_FOLDER
        packs = {pack: (size, self.index.entries(pack)) for pack, size in self.index.packs().items()}
        try:
            target.mkdir(exist_ok=True)
            for pack in packs:
                with suppress(FileNotFoundError):  # another pull moved it
                    os.rename(self._root / pack_name(pack), target.parent / pack_name(pack))
        except OSError as error:
            raise storage_error(error, "write", os.fspath(target)) from error
        self._repository.storage.sync(PACKS_FOLDER)
        self._repository.chunk_index.add_packs(packs)

    def _learn(self, name: str, wanted: Collection[ChunkId]) -> None:
        pack = pack_id_of(name)
        if pack is None:
            return
        try:
            entries = read_pack_index(self.storage, pack_name(pack))
        except NotFoundError:
            return  # another pull moved it
        except IntegrityError:
            self.storage.delete(pack_name(pack))
            return
        strange = [entry.chunk for entry in entries if entry.chunk not in wanted]
        if len(self._repository.chunk_index.find_many(strange)) == len(set(strange)):
            self.index.add_pack(pack, self.storage.size(pack_name(pack)), entries)


class _Both(LocalStorage):
    """Packs that wait, and those of the repository: for reading only."""

    def __init__(self, first: LocalStorage, second: LocalStorage) -> None:
        super().__init__(first.root)
        self._second = second

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """See `Storage.read`."""
        try:
            return super().read(name, start, length)
        except NotFoundError:
            return self._second.read(name, start, length)

    def size(self, name: str) -> int:
        """See `Storage.size`."""
        try:
            return super().size(name)
        except NotFoundError:
            return self._second.size(name)


class _BothIndexes(ChunkIndex):
    """The index of packs that wait, and that of the repository: for looking up only."""

    def __init__(self, connection: CacheConnection, second: ChunkIndex) -> None:
        super().__init__(connection)
        self._second = second

    def find(self, chunk: ChunkId) -> Location | None:
        """See `ChunkIndex.find`."""
        return super().find(chunk) or self._second.find(chunk)

    def find_all(self, chunk: ChunkId) -> list[Location]:
        """See `ChunkIndex.find_all`."""
        return [*super().find_all(chunk), *self._second.find_all(chunk)]

    def find_many(self, chunks: Iterable[ChunkId]) -> dict[ChunkId, Location]:
        """See `ChunkIndex.find_many`."""
        wanted = list(chunks)
        return self._second.find_many(wanted) | super().find_many(wanted)
