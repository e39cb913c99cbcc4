"""Where damaged files go: `quarantine/`, under their names with something random behind, for whoever can do more."""

from __future__ import annotations

import os

from mlver.errors import NotFoundError
from mlver.store.local import LocalStorage

QUARANTINE_FOLDER = "quarantine"


def keep_copy(storage: LocalStorage, name: str) -> str | None:
    """Keep a copy of a blob that is about to be replaced; return its name, None if there is nothing to keep.

    Raises:
        MlverError: It cannot be read, or kept.
    """
    try:
        data = storage.read(name)
    except NotFoundError:
        return None
    kept = _name(name)
    storage.create(kept, data)
    return kept


def move_away(storage: LocalStorage, name: str) -> str | None:
    """Move a blob out of its place, durably; return its new name, None if it is not there any more.

    Raises:
        MlverError: It cannot be moved.
    """
    kept = _name(name)
    if not storage.rename(name, kept):
        return None
    storage.sync(kept.rpartition("/")[0])
    storage.sync(name.rpartition("/")[0])
    return kept


def _name(name: str) -> str:
    return f"{QUARANTINE_FOLDER}/{name}.{os.urandom(8).hex()}"
