"""From files found to a stored manifest, reading only what the stat cache does not know."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mlver.chunks import ChunkWriter, Level
from mlver.digests import blake3_hex
from mlver.errors import ConflictError, IntegrityError
from mlver.formats import EXTERNAL_FORMATS
from mlver.history.manifest import FileEntry, Manifest, TensorEntry, build_manifest, read_manifest, write_manifest
from mlver.history.reference import ReferenceEntry
from mlver.ids import ChunkId, ManifestId
from mlver.ops.bases import BaseFinder
from mlver.ops.entries import IngestedFile
from mlver.ops.ingest import ingest
from mlver.ops.linking import check_linked, link
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress
from mlver.ops.reliance import lost_content
from mlver.ops.scan import Scan, Source

_ATTEMPTS = 5
Described = tuple[FileEntry, tuple[TensorEntry, ...]]
"""A file of a manifest and its tensors."""


@dataclass(frozen=True, slots=True)
class StoredContent:
    """Content that is in the store, and what a version's event says of it. Sizes are bytes.

    Attributes:
        id: The manifest.
        new_bytes: Raw bytes that the store did not have.
        stored_bytes: What they take in packs.
        delta_bytes: How many of the new bytes are stored as differences to what was stored before.
        tensors_in: Another manifest that has all of its tensors, if one was met.
        warnings: Files whose pickle names more than weights need, broken weight files, and bases that are damaged.
    """

    id: ManifestId
    logical_bytes: int
    file_count: int
    tensor_count: int
    weights: str | None
    new_bytes: int = 0
    stored_bytes: int = 0
    delta_bytes: int = 0
    tensors_in: ManifestId | None = None
    warnings: tuple[str, ...] = ()
    reference_count: int = 0
    reference_bytes: int = 0


def store_content(
    repository: OpenRepository,
    found: Scan,
    bases: BaseFinder,
    level: Level,
    rehash: bool,
    progress: Progress,
    references: Sequence[ReferenceEntry] = (),
) -> StoredContent:
    """Store what is new of the files found, and the manifest of all of them, durably.

    Args:
        repository: The repository.
        found: What is on disk.
        bases: Finds what new tensors may resemble.
        level: How much time smaller packs are worth.
        rehash: Read every file, whatever the stat cache says.
        progress: Told of the bytes read.
        references: What stays where it is.

    Raises:
        ConflictError: A file keeps changing while it is read, or what is written keeps being deleted.
        MlverError: A file cannot be read, or the store cannot be written.
    """
    lost: frozenset[ChunkId] | None = frozenset()
    for attempt in range(_ATTEMPTS):
        content = _store(repository, found, bases, level, rehash or attempt > 0, progress, references, lost or ())
        lost = lost_content(repository, content.id)
        if lost is None:
            return content
    raise ConflictError(
        "What was being added is deleted time and again by mlver gc.", "Add it when mlver gc --grace 0 is done."
    )


def _store(
    repository: OpenRepository,
    found: Scan,
    bases: BaseFinder,
    level: Level,
    rehash: bool,
    progress: Progress,
    references: Sequence[ReferenceEntry],
    lost: Collection[ChunkId],
) -> StoredContent:
    """Store content once; `lost` are chunks that are not to be relied on, wherever they seem to be."""
    repository.storage.sweep()
    repository.refresh_packs()
    fingerprint = None if references else _fingerprint(found)  # it says nothing of references
    if not rehash and fingerprint is not None and (known := _known_tree(repository, fingerprint)):
        return known
    sources = link(found.sources)
    untouched = {} if rehash else find_untouched(repository, sources)
    touched = [source for source in sources if source.path not in untouched]
    with ChunkWriter(repository.storage, repository.chunk_index, level, lost, bases.originals) as writer:
        progress.start(sum(source.stamp.size_bytes for source in touched), "Adding")
        try:
            read = ingest(writer, touched, bases, progress)
            check_linked(touched, read)
            writer.finish()
        finally:
            progress.done()
    described = [(file.entry, file.tensors) for file in read.values()] + list(untouched.values())
    manifest = build_manifest(described, found.folders, references)
    content = StoredContent(
        write_manifest(repository.storage, manifest),
        manifest.size_bytes,
        len(manifest.files),
        sum(not tensor.anonymous for tensor in manifest.tensors),
        manifest.weights,
        writer.new_bytes,
        writer.stored_bytes,
        writer.delta_bytes,
        bases.holder(manifest),
        (*_warnings(manifest, read.values()), *_base_warnings(writer)),
        len(references),
        sum(reference.size_bytes for reference in references),
    )
    _remember(repository, content.id, read, fingerprint)
    return content


def _warnings(manifest: Manifest, read: Iterable[IngestedFile]) -> Iterator[str]:
    for file in manifest.files:
        if file.unsafe_globals:
            yield f"{file.path} names {', '.join(file.unsafe_globals)}: loading it with pickle would run that code."
    for broken in read:
        if broken.problem is not None:
            yield f"{broken.entry.path} is kept as plain bytes, since it is no sound weight file: {broken.problem}."


def _base_warnings(writer: ChunkWriter) -> Iterator[str]:
    if writer.base_problems:
        first = next(iter(writer.base_problems))
        yield (
            f"Chunks are stored whole, because {len(writer.base_problems)} that they resemble cannot be read: {first}"
            " mlver verify tells more."
        )


def _fingerprint(found: Scan) -> bytes:
    """Return a digest of all paths, places and stamps."""
    lines = [f"{source.path}\0{source.stamp.text()}\n" for source in found.sources]
    lines += [f"{folder}/\n" for folder in found.folders]
    return bytes.fromhex(blake3_hex("".join(lines).encode()))


def _known_tree(repository: OpenRepository, fingerprint: bytes) -> StoredContent | None:
    """Return the content of a tree that is as it was when it was read, and is still somebody's version."""
    identity = repository.stat_cache.tree(fingerprint)
    versions = repository.index.live_versions_of(identity) if identity else []
    if not versions:
        return None
    known = versions[0]
    return StoredContent(known.id, known.logical_bytes, known.file_count, known.tensor_count, known.weights)


def find_untouched(repository: OpenRepository, sources: Sequence[Source]) -> dict[str, Described]:
    """Return the description of each file that was read before, is as it was, and is stored, by path."""
    seen = repository.stat_cache.files(source.location for source in sources)
    manifests: dict[ManifestId, dict[str, Described]] = {}
    found: dict[str, Described] = {}
    for source in sources:
        if source.location not in seen or source.others is not None:
            continue  # what the others say of it may have changed, though it did not
        stamp, identity, stored_path = seen[source.location]
        if stamp != source.stamp.text():
            continue
        if identity not in manifests:
            manifests[identity] = _describe_all(repository, identity)
        if stored_path in manifests[identity] and manifests[identity][stored_path][0].format not in EXTERNAL_FORMATS:
            entry, tensors = manifests[identity][stored_path]
            found[source.path] = (entry._replace(path=source.path), tensors)
    stored = repository.chunk_index.find_many({chunk.id for entry, _ in found.values() for chunk in entry.chunks})
    return {
        path: (entry, tensors)
        for path, (entry, tensors) in found.items()
        if all(chunk.id in stored for chunk in entry.chunks)
    }


def _describe_all(repository: OpenRepository, identity: ManifestId) -> dict[str, Described]:
    """Return the files of a manifest with their tensors, by path; none if it cannot be read."""
    try:
        manifest = read_manifest(repository.storage, identity)
    except IntegrityError:
        return {}  # the files are read again instead
    tensors: dict[int, list[TensorEntry]] = {}
    for tensor in manifest.tensors:
        tensors.setdefault(tensor.file, []).append(tensor)
    return {entry.path: (entry, tuple(tensors.get(n, ()))) for n, entry in enumerate(manifest.files)}


def _remember(
    repository: OpenRepository, identity: ManifestId, read: dict[str, IngestedFile], fingerprint: bytes | None
) -> None:
    """Note the files that were read, but for those too young to tell a later change of."""
    settled = [file for file in read.values() if not file.stamp.is_young(file.read_at_ns)]
    whole = len(settled) == len(read) and all(file.stamp == file.source.stamp for file in settled)
    repository.stat_cache.remember(
        identity,
        [(file.source.location, file.stamp.text(), file.entry.path) for file in settled],
        fingerprint if whole else None,
    )
