"""`status`: what differs between a folder and the version it came from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlver.errors import NotFoundError
from mlver.history.manifest import read_manifest
from mlver.history.records import VersionRecord
from mlver.history.reference import ReferenceEntry
from mlver.history.revision import resolve_artifact
from mlver.ops.comparing import same_content
from mlver.ops.opening import OpenRepository
from mlver.ops.origins import read_origin
from mlver.ops.scan import Source, scan


@dataclass(frozen=True, slots=True)
class StatusResult:
    """How a folder or file compares with a version. All are paths in the version or the folder.

    Attributes:
        place: What was looked at, absolute.
        version: What it came from.
        latest: The artifact's newest version, if any is left.
        added: Files (and empty folders, with a `/`) that the version does not have.
        removed: Files and empty folders that are gone.
        modified: Files with other content, or another permission to execute.
        unchanged_count: Files that are as they were.
        absent_references: References that are no files in the folder: they are where they were.
        unknown_references: Those that are files of the right size, while nobody knows which content they should have.
    """

    place: str
    version: VersionRecord
    latest: str | None
    added: tuple[str, ...]
    removed: tuple[str, ...]
    modified: tuple[str, ...]
    unchanged_count: int
    absent_references: tuple[str, ...] = ()
    unknown_references: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs."""
        return not (self.added or self.removed or self.modified)


def status(repository: OpenRepository, place: Path) -> StatusResult:
    """Compare a folder or file with the version it was last added as or pulled from.

    Raises:
        NotFoundError: It does not exist, or nothing is known of where it came from.
    """
    if not os.path.lexists(place):
        raise NotFoundError(f"{os.path.abspath(place)} does not exist.")
    repository.index.refresh()
    origin = read_origin(repository, place)
    if origin is None:
        raise NotFoundError(
            f"It is not known which version {os.path.abspath(place)} came from.", "Add it, or pull a version into it."
        )
    artifact, _ = resolve_artifact(repository.index, origin.artifact)
    version = repository.index.version(artifact, origin.version)
    if version is None:
        raise NotFoundError(f"{place} came from {origin.artifact}:v{origin.version}, which is not in this repository.")
    found = scan([place], origin.exclude)
    manifest = read_manifest(repository.storage, version.id)
    kept = {entry.path: entry for entry in manifest.files}
    sources = {source.path: source for source in found.sources}
    seen = repository.stat_cache.files(source.location for source in found.sources)
    modified = []
    for path in sorted(sources.keys() & kept.keys()):
        source, entry = sources[path], kept[path]
        stamp, known, known_path = seen.get(source.location, ("", "", ""))
        if stamp == source.stamp.text() and known == version.id and known_path == path:
            continue  # read before, and untouched since
        if source.stamp.executable != entry.executable or not same_content(Path(source.location), entry):
            modified.append(path)
    changed, absent, unknown = _references(repository, manifest.references, sources)
    pointers = {reference.path for reference in manifest.references}
    here = sources.keys() - pointers | {f"{folder}/" for folder in found.folders}
    there = kept.keys() | {f"{folder}/" for folder in manifest.folders}
    return StatusResult(
        place=str(place.absolute()),
        version=version,
        latest=None if artifact.latest is None else f"{artifact.name}:v{artifact.latest}",
        added=tuple(sorted(here - there)),
        removed=tuple(sorted(there - here)),
        modified=tuple(sorted([*modified, *changed])),
        unchanged_count=len(sources.keys() & (kept.keys() | pointers)) - len(modified) - len(changed) - len(unknown),
        absent_references=tuple(absent),
        unknown_references=tuple(unknown),
    )


def _references(
    repository: OpenRepository, references: Sequence[ReferenceEntry], sources: Mapping[str, Source]
) -> tuple[list[str], list[str], list[str]]:
    """Return the paths of references that are files with other content, that are none, and that nobody can compare."""
    if not references:
        return [], [], []
    from mlver.ops.references.cache import ReferenceCache
    from mlver.ops.references.present import is_same

    cache = ReferenceCache(repository)
    changed, absent, unknown = [], [], []
    for reference in references:
        source = sources.get(reference.path)
        if source is None:
            absent.append(reference.path)
        elif source.stamp.size_bytes == reference.size_bytes and cache.digest(reference) is None:
            unknown.append(reference.path)
        elif not is_same(Path(source.location), reference, cache):
            changed.append(reference.path)
    return changed, absent, unknown
