"""`du`: how many bytes artifacts and versions take, and which of them are theirs alone."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from mlver.history.manifest import manifest_name, read_manifest
from mlver.history.records import ArtifactRecord, VersionRecord
from mlver.ids import ChunkId, ManifestId
from mlver.ops.opening import OpenRepository
from mlver.ops.remotes.elsewhere import published

_MANY = -1


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of one version, artifact or repository.

    Attributes:
        logical_bytes: Size of all files, as if each version were kept whole.
        stored_bytes: What their chunks take in packs, each chunk once.
        exclusive_bytes: That part of it which nothing else uses.
        referenced_bytes: Size of all references, as if each version had its own; they take nothing here.
    """

    logical_bytes: int
    stored_bytes: int
    exclusive_bytes: int
    referenced_bytes: int = 0

    @property
    def shared_bytes(self) -> int:
        """That part of it which something else uses too."""
        return self.stored_bytes - self.exclusive_bytes


@dataclass(frozen=True, slots=True)
class ArtifactUsage:
    """An artifact's bytes, and those of its versions, newest first."""

    artifact: ArtifactRecord
    usage: Usage
    versions: tuple[tuple[VersionRecord, Usage], ...]


@dataclass(frozen=True, slots=True)
class UsageResult:
    """What a repository takes.

    Attributes:
        artifacts: Those asked for.
        total: Over all artifacts of the repository, whichever were asked for.
        pack_bytes: Size of all packs.
        unused_bytes: What no version uses: of removed versions and of interrupted commands.
    """

    artifacts: tuple[ArtifactUsage, ...]
    total: Usage
    pack_bytes: int
    unused_bytes: int


def usage(repository: OpenRepository, name: str | None = None) -> UsageResult:
    """Count the bytes of one artifact, or (None) of all.

    Memory grows with the number of distinct chunks, not with that of versions: manifests are read twice instead.

    Raises:
        NotFoundError: There is no such artifact.
        IntegrityError: A manifest is missing or damaged.
    """
    repository.index.refresh()
    repository.refresh_packs()
    asked = None if name is None else repository.artifact(name).key
    artifacts = repository.index.artifacts()
    sizes = repository.chunk_index.frame_sizes()
    owners = _Owners()
    elsewhere = published(repository)
    for artifact in artifacts:
        for version in repository.index.versions(artifact):
            owners.add(artifact.key, version.number, _chunks(repository, version, elsewhere))
    chosen = [artifact for artifact in artifacts if asked in (None, artifact.key)]
    total_stored = sum(sizes.get(chunk, 0) for chunk in owners.by_chunk)
    versions = [version for artifact in artifacts for version in repository.index.versions(artifact)]
    logical = sum(version.logical_bytes for version in versions)
    referenced = sum(version.reference_bytes for version in versions)
    return UsageResult(
        artifacts=tuple(_artifact_usage(repository, artifact, owners, sizes, elsewhere) for artifact in chosen),
        total=Usage(logical, total_stored, total_stored, referenced),
        pack_bytes=sum(repository.chunk_index.packs().values()),
        unused_bytes=sum(sizes.values()) - total_stored,
    )


class _Owners:
    """Who uses each chunk: (artifact, version), either of them `_MANY`."""

    def __init__(self) -> None:
        self.by_chunk: dict[ChunkId, tuple[int, int]] = {}

    def add(self, artifact: int, version: int, chunks: set[ChunkId]) -> None:
        """Note that a version uses these chunks."""
        me = (artifact, version)
        for chunk in chunks:
            first = self.by_chunk.setdefault(chunk, me)
            if first != me:
                self.by_chunk[chunk] = (artifact if first[0] == artifact else _MANY, _MANY)


def _artifact_usage(
    repository: OpenRepository,
    artifact: ArtifactRecord,
    owners: _Owners,
    sizes: Mapping[ChunkId, int],
    elsewhere: Container[ManifestId],
) -> ArtifactUsage:
    versions = []
    every: set[ChunkId] = set()
    for version in repository.index.versions(artifact):
        chunks = _chunks(repository, version, elsewhere)
        every |= chunks
        own = {chunk for chunk in chunks if owners.by_chunk[chunk] == (artifact.key, version.number)}
        used = Usage(version.logical_bytes, _sum(sizes, chunks), _sum(sizes, own), version.reference_bytes)
        versions.append((version, used))
    own = {chunk for chunk in every if owners.by_chunk[chunk][0] == artifact.key}
    logical = sum(version.logical_bytes for version, _ in versions)
    referenced = sum(version.reference_bytes for version, _ in versions)
    return ArtifactUsage(artifact, Usage(logical, _sum(sizes, every), _sum(sizes, own), referenced), tuple(versions))


def _sum(sizes: Mapping[ChunkId, int], chunks: Iterable[ChunkId]) -> int:
    return sum(sizes.get(chunk, 0) for chunk in chunks)


def _chunks(repository: OpenRepository, version: VersionRecord, elsewhere: Container[ManifestId]) -> set[ChunkId]:
    """Return the chunks of a version; none of one that is at a remote only."""
    if version.id in elsewhere and not repository.storage.exists(manifest_name(version.id)):
        return set()
    manifest = read_manifest(repository.storage, version.id)
    return {chunk.id for file in manifest.files for chunk in file.chunks}
