"""Damaged blobs of runs: **the remotes → the same bytes under the same id**."""

from __future__ import annotations

from collections.abc import Iterable

from mlver.history.run_blob import blob_id_of, check_blob
from mlver.ids import BlobId
from mlver.ops.remotes.opening import OpenRemote
from mlver.ops.repair.quarantine import keep_copy
from mlver.ops.repair.sources import Sources


def mend_blobs(sources: Sources, names: Iterable[str]) -> list[str]:
    """Write blobs anew that a remote has sound; return their names.

    Args:
        sources: Where good copies may come from.
        names: Names of blobs that are damaged or missing.

    Raises:
        MlverError: Something here cannot be read or written.
    """
    return [name for name in names if (identity := blob_id_of(name)) is not None and _mend(sources, name, identity)]


def _mend(sources: Sources, name: str, identity: BlobId) -> bool:
    def read(remote: OpenRemote) -> bytes:
        data = remote.storage.read(name)
        check_blob(data, identity)
        return data

    for _, data in sources.ask_each(read):
        keep_copy(sources.repository.storage, name)
        sources.repository.storage.put(name, data)
        return True
    return False
