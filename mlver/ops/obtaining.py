"""What a verb reads and what is not here, since the version was only fetched: remotes are asked for no more than that.

A manifest is some KB, and tells which files and tensors differ. Chunks come with those that they rest on, as by `pull`.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlver.history.manifest import Manifest, manifest_name, read_manifest
from mlver.history.records import VersionRecord
from mlver.ids import ChunkId
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress


def manifest_of(repository: OpenRepository, version: VersionRecord) -> Manifest:
    """Return a version's manifest, from a remote if it is not here.

    Raises:
        IntegrityError: It is damaged, or it is missing and there is no remote.
        NotFoundError: No remote has it.
        RemoteError: A remote failed.
    """
    if not repository.storage.exists(manifest_name(version.id)) and repository.config.remotes:
        from mlver.ops.remotes.receiving import obtain_manifest

        obtain_manifest(repository, version.id)
    return read_manifest(repository.storage, version.id)


def obtain(repository: OpenRepository, version: VersionRecord, chunks: Iterable[ChunkId], progress: Progress) -> None:
    """Make sure that chunks of a version are here, if a remote has them; what came is told of as a notice.

    Raises:
        NotFoundError: No remote has all that are missing.
        IntegrityError: One is damaged there.
        RemoteError: A remote failed.
    """
    wanted = set(chunks)
    if not wanted or not repository.config.remotes:
        return
    from mlver.ops.remotes.receiving import obtain_chunks

    repository.refresh_packs()
    received = obtain_chunks(repository, version.id, wanted, progress)
    notice = f"What this needed of {version.name} was only at {received.remote}; it is here now."
    if received.remote is not None and notice not in repository.notices:
        repository.notices.append(notice)
