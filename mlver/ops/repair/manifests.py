"""Damaged manifests: **the remotes, the folders that they were made of → the same content under the same id**."""

from __future__ import annotations

from mlver.errors import IntegrityError
from mlver.history.manifest import manifest_name, read_manifest, write_manifest
from mlver.ids import ManifestId
from mlver.ops.opening import OpenRepository
from mlver.ops.remotes.elsewhere import published
from mlver.ops.remotes.opening import OpenRemote
from mlver.ops.repair.quarantine import keep_copy
from mlver.ops.repair.sources import Sources
from mlver.store.memory import MemoryStorage


def mend_manifests(sources: Sources) -> list[ManifestId]:
    """Write damaged and missing manifests of versions anew as far as their content is known; return them.

    Raises:
        MlverError: Something here cannot be read or written.
    """
    return [identity for identity in _bad_manifests(sources.repository) if _mend(sources, identity)]


def _bad_manifests(repository: OpenRepository) -> list[ManifestId]:
    """Return the manifests of versions that are damaged, or missing though nobody deleted or only fetched them."""
    elsewhere = published(repository)
    found = []
    for name, uses in repository.index.all_manifests().items():
        identity = ManifestId(name)
        try:
            read_manifest(repository.storage, identity)
        except IntegrityError:
            may_be_absent = identity in elsewhere or all(removed for _, _, removed in uses)
            if not may_be_absent or repository.storage.exists(manifest_name(identity)):
                found.append(identity)
    return found


def _mend(sources: Sources, identity: ManifestId) -> bool:
    storage, name = sources.repository.storage, manifest_name(identity)
    for _, data in sources.ask_each(lambda remote: _read_checked(remote, identity)):
        keep_copy(storage, name)
        storage.put(name, data)
        return True
    made = sources.made_of_folders().get(identity)
    if made is None:
        return False
    keep_copy(storage, name)
    write_manifest(storage, made)
    return True


def _read_checked(remote: OpenRemote, identity: ManifestId) -> bytes:
    """Return a remote's copy of a manifest.

    Raises:
        NotFoundError: It has none.
        IntegrityError: It is damaged there too.
        RemoteError: It failed.
    """
    name = manifest_name(identity)
    copy = MemoryStorage()
    copy.put(name, remote.storage.read(name))
    read_manifest(copy, identity)
    return copy.read(name)
