"""What a writer does so that `gc` leaves what it relies on: **publish → look whether all is in its place → go on**.

A chunk that was known already may be one that no version used any more, and a version that comes back may be one whose
time is up. A collector takes away first and looks afterwards what is used; a writer publishes its manifest first and
looks afterwards whether everything is there. Whichever was second sees what the other did. `docs/design.md`
("Collecting") has the whole argument; `mlver.ops.collect` is the other side.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mlver.errors import ConflictError, IntegrityError, NotFoundError
from mlver.history.event import SetRemoved
from mlver.history.manifest_blob import chunk_ids, manifest_name, read_compressed
from mlver.history.records import ArtifactRecord
from mlver.ids import DIGEST_SIZE, ChunkId, ManifestId
from mlver.ops.collect.clock import COLLECTED_NAME
from mlver.ops.commit import commit
from mlver.ops.opening import OpenRepository
from mlver.store.aside import put_all_back, put_back
from mlver.store.chunk_index import Location
from mlver.store.pack import PACKS_FOLDER, split_bases
from mlver.store.sqlite import CacheDamaged


def lost_content(repository: OpenRepository, identity: ManifestId) -> frozenset[ChunkId] | None:
    """Look whether a manifest that was published, and all that it rests on, is in its place.

    What a collector has set aside is put back.

    Returns:
        None if all is well; else the chunks that are gone, none of them where the manifest itself is.

    Raises:
        MlverError: Something cannot be listed or read.
    """
    if not repository.storage.exists(COLLECTED_NAME):
        return None  # whatever is collected from here on will see what was published
    return _absent_content(repository, identity)


def _absent_content(repository: OpenRepository, identity: ManifestId) -> frozenset[ChunkId] | None:
    """Return what of a manifest is not here; see `lost_content`."""
    name = manifest_name(identity)
    if not repository.storage.exists(name) and not put_back(repository.storage, name):
        return frozenset()
    try:
        ids = chunk_ids(repository.storage, identity)
    except IntegrityError:
        return frozenset()  # deleted this instant
    chunks = {ChunkId(ids[at : at + DIGEST_SIZE]) for at in range(0, len(ids), DIGEST_SIZE)}
    repository.refresh_packs()
    lost = undecodable(repository, chunks)
    if lost:
        put_all_back(repository.storage, PACKS_FOLDER)
        repository.refresh_packs()  # a pack may have been replaced while all were listed
        lost = undecodable(repository, chunks)
    return frozenset(lost) if lost else None


def confirm(repository: OpenRepository, artifact: ArtifactRecord, number: int, identity: ManifestId) -> None:
    """Look once more, now that there is a new version: it may have been kept waiting longer than things are kept for.

    Raises:
        ConflictError: Content of the version was deleted; the version was removed again.
    """
    if lost_content(repository, identity) is None:
        return
    commit(repository, artifact, lambda: [SetRemoved(number, removed=True)])
    raise ConflictError(
        f"mlver gc deleted what was to become v{number} of {artifact.name!r} while this command was kept waiting.",
        "Nothing that was there before is lost. Run the same command again.",
    )


def confirm_revival(repository: OpenRepository, artifact: ArtifactRecord, number: int, identity: ManifestId) -> None:
    """Look once more, now that a version is back; see `confirm`.

    Raises:
        NotFoundError: Its content was deleted at the last moment; the version is removed again.
    """
    try:
        if lost_content(repository, identity) is None or identity in _published(repository):
            return
    except CacheDamaged as damage:
        # What was done is done: were this to fail, the caller would try again, and bring back something else.
        repository.reopen(damage)
        return
    commit(repository, artifact, lambda: [SetRemoved(number, removed=True)])
    raise _gone(f"{artifact.name}:v{number}")


def revive(repository: OpenRepository, identity: ManifestId, version: str) -> None:
    """Make sure that the content of a version which is about to come back is there, and will not be deleted now.

    Args:
        repository: The repository.
        identity: The version's manifest.
        version: Its name, for the message.

    Raises:
        NotFoundError: The content is gone.
        RemoteError: It may be at a remote, which failed.
    """
    storage = repository.storage
    try:
        # Written anew, it counts as young: a collector that has it aside already sees that too, or is seen here.
        storage.put(manifest_name(identity), read_compressed(storage, identity))
    except NotFoundError:
        _obtain(repository, identity, version)
    is_published = identity in _published(repository)
    lost = _absent_content(repository, identity) if is_published else lost_content(repository, identity)
    if lost is not None and not (is_published and _is_elsewhere(repository, identity, lost)):
        raise _gone(version)


def _is_elsewhere(repository: OpenRepository, identity: ManifestId, chunks: Collection[ChunkId]) -> bool:
    """Ask whether a remote has chunks of a version: once it was removed there, it may have been collected there."""
    from mlver.ops.remotes.receiving import obtain_chunks

    try:
        obtain_chunks(repository, identity, chunks, dry_run=True)
    except NotFoundError:
        return False
    return True


def _obtain(repository: OpenRepository, identity: ManifestId, version: str) -> None:
    """Get the manifest of a version from a remote.

    Raises:
        NotFoundError: None has it.
        RemoteError: A remote failed.
    """
    from mlver.ops.remotes.receiving import obtain_manifest

    try:
        obtain_manifest(repository, identity)
    except NotFoundError:
        raise _gone(version) from None


def _published(repository: OpenRepository) -> set[ManifestId]:
    from mlver.ops.remotes.elsewhere import published

    return published(repository)


def _gone(version: str) -> NotFoundError:
    return NotFoundError(
        f"The content of {version} is gone: mlver gc deleted it after it had been removed for long enough.",
        "Whoever has the files still can add them again.",
    )


def undecodable(repository: OpenRepository, chunks: Collection[ChunkId]) -> set[ChunkId]:
    """Return which of the chunks cannot be had from the packs: they are not there, or what they rest on is not."""
    here: dict[ChunkId, Location] = {}
    wanted = set(chunks)
    while wanted:
        found = repository.chunk_index.find_many(wanted)
        if len(found) < len(wanted):
            break
        here |= found
        wanted = {base for where in found.values() for base in split_bases(where.entry.bases)} - here.keys()
    else:
        return set()
    return _Decodable(repository).lost(chunks)


class _Decodable:
    """Which chunks can be had, with any of their copies: for when not every copy can."""

    def __init__(self, repository: OpenRepository) -> None:
        self._index = repository.chunk_index
        self._sound: set[ChunkId] = set()

    def lost(self, chunks: Iterable[ChunkId]) -> set[ChunkId]:
        """Return those of the chunks that cannot be had."""
        return {chunk for chunk in chunks if not self._is_sound(chunk, frozenset())}

    def _is_sound(self, chunk: ChunkId, above: frozenset[ChunkId]) -> bool:
        if chunk in self._sound:
            return True
        if chunk in above:
            return False  # in a circle; another copy may lead out of it
        for where in self._index.find_all(chunk):
            if all(self._is_sound(base, above | {chunk}) for base in split_bases(where.entry.bases)):
                self._sound.add(chunk)
                return True
        return False
