"""Whether the cache says what the logs say. It has no checksums: what changed in it by itself, `verify` finds."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from mlver.history import tables
from mlver.history.index import VersionIndex
from mlver.history.run_index import RunIndex
from mlver.ids import PackId
from mlver.ops.opening import OpenRepository
from mlver.store.pack import PackEntry
from mlver.store.sqlite import CacheConnection, CacheDamaged, open_cache
from mlver.store.storage import Storage

_LOOKS = 3


def check_cache(repository: OpenRepository) -> None:
    """Fold all logs anew, beside the cache; throw the cache away if it says anything else, or contradicts itself.

    Raises:
        IntegrityError: An event is damaged or missing.
    """
    fresh = open_cache(None, (tables.SCHEMA,))
    try:
        with repository.cache.reading():
            (found,) = repository.cache.execute("PRAGMA integrity_check(1)").fetchone()
        for _ in range(_LOOKS if found == "ok" else 0):
            if _told(fresh, repository.storage) == _told(repository.cache, repository.storage):
                return  # else someone may have appended in between
        damage = CacheDamaged(sqlite3.DatabaseError("it says what the logs do not say, or contradicts itself"))
    except CacheDamaged as error:
        damage = error
    finally:
        fresh.close()
    _renew(repository, damage)


def check_known(repository: OpenRepository, pack: PackId, entries: Sequence[PackEntry]) -> None:
    """Throw the cache away if it knows a pack, and says that other chunks are in it than the pack does."""
    try:
        known = repository.chunk_index.entries(pack)
    except CacheDamaged as damage:
        _renew(repository, damage)
    else:
        if known and set(known) != set(entries):
            _renew(repository, CacheDamaged(sqlite3.DatabaseError("it says what a pack does not say")))


def _renew(repository: OpenRepository, damage: CacheDamaged) -> None:
    repository.notices.append("index.sqlite was damaged and is made anew; it is only a cache.")
    repository.reopen(damage)
    repository.index.refresh()
    repository.refresh_packs()


def _told(cache: CacheConnection, storage: Storage) -> str:
    """Return what a cache says of artifacts, versions, labels, signatures and runs, as of now, in a canonical form."""
    index = VersionIndex(cache, storage)
    index.refresh()
    said = []
    for artifact in index.artifacts(empty=True):
        versions = index.versions(artifact, removed=True)
        signatures = [index.signatures(artifact, version.number) for version in versions]
        labels = (index.tracked(artifact), index.protected(artifact), index.next_version(artifact))
        said.append((artifact._replace(key=0), versions, signatures, labels))
    return json.dumps([said, RunIndex(cache).runs()], sort_keys=True, default=repr)
