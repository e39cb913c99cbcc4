"""`pull`: revision → manifest → chunks → decode → verify → files, renamed into place whole.

References are downloaded, through a cache and checked, before the first chunk is decoded.

Everything is written to a staging folder beside its place, checked and flushed, before anything is renamed. A target
that is absent or empty appears in one step, unless it is the folder one is in or a mount point: those cannot be
replaced. In one that has files, those that differ are named and left alone unless `force` is given; files that the
version does not have are never touched.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlver.errors import ConflictError, MlverError, NotFoundError
from mlver.history.manifest import FileEntry, Manifest, read_manifest
from mlver.history.records import VersionRecord
from mlver.history.reference import ReferenceEntry
from mlver.names import check_artifact_name, collisions
from mlver.ops.comparing import same_content
from mlver.ops.materialise import materialise
from mlver.ops.opening import OpenRepository
from mlver.ops.origins import Origin, write_origin
from mlver.ops.placing import is_in_use, move_into, refuse_repository, replace_empty, staging_folder
from mlver.ops.progress import Progress, Silent
from mlver.ops.signing.trust import Trust, check_trust
from mlver.ops.values import check_is_list


@dataclass(frozen=True, slots=True)
class PullPlan:
    """What a pull would do.

    Attributes:
        version: Which version.
        manifest: Its content.
        target: Where to, absolute.
        write: Files that are not there.
        overwrite: Files that are there with other content.
        keep: Files that are there as they should be.
        is_partial: Only some of the version's files were asked for.
        fetch: References to download.
        replace: Those of them that are there with other content, or content that cannot be compared.
        keep_references: References that are there as they should be.
    """

    version: VersionRecord
    manifest: Manifest
    target: Path
    write: tuple[FileEntry, ...]
    overwrite: tuple[FileEntry, ...]
    keep: tuple[FileEntry, ...]
    is_partial: bool
    fetch: tuple[ReferenceEntry, ...] = ()
    replace: tuple[ReferenceEntry, ...] = ()
    keep_references: tuple[ReferenceEntry, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes to be written."""
        files = sum(entry.size_bytes for entry in (*self.write, *self.overwrite))
        return files + sum(reference.size_bytes for reference in self.fetch)

    @property
    def overwritten_paths(self) -> list[str]:
        """Paths of what is there with other content, sorted."""
        return _paths(self.overwrite, self.replace)

    @property
    def written_paths(self) -> list[str]:
        """Paths of all that is to be written, sorted."""
        return _paths([*self.write, *self.overwrite], self.fetch)

    @property
    def kept_paths(self) -> list[str]:
        """Paths of what is there as it should be, sorted."""
        return _paths(self.keep, self.keep_references)


@dataclass(frozen=True, slots=True)
class PullResult:
    """What a pull did. Sizes are bytes.

    Attributes:
        version: Which version.
        target: Where it is now.
        written: Paths of files that are new or replaced.
        overwritten: Those of them that were there with other content.
        kept: Paths of files that were there already.
        written_bytes: Size of the files written.
        references: Paths of those written that are references.
        downloaded_bytes: What of them came from where they are, and not from the cache.
    """

    version: VersionRecord
    target: str
    written: tuple[str, ...]
    overwritten: tuple[str, ...]
    kept: tuple[str, ...]
    written_bytes: int
    references: tuple[str, ...] = ()
    downloaded_bytes: int = 0


def plan_pull(
    repository: OpenRepository,
    revision: str,
    target: Path | None = None,
    patterns: Sequence[str] = (),
    *,
    references: bool = True,
    trust: Trust | None = None,
) -> PullPlan:
    """Find out what a pull would do.

    Args:
        repository: The repository.
        revision: Which version.
        target: Folder to write to; by default one of the artifact's name, here.
        patterns: Only files that match one of them, in gitignore syntax.
        references: References too.
        trust: Whether a signature is required, and whose.

    Raises:
        NotFoundError: There is no such version, or no file matches.
        SignatureError: A signature is required, and there is none, or none that holds.
        IntegrityError: The manifest is missing or damaged.
        MlverError: The target is no folder, or inside a repository's own; or two of the files would be one there.
    """
    version = repository.resolve(revision).version
    manifest = read_manifest(repository.storage, version.id)
    check_trust(repository, version, manifest, trust or Trust())
    entries, pointers = _matching(manifest, patterns, references)
    place = Path(os.path.abspath(target if target is not None else check_artifact_name(version.artifact)))
    refuse_repository(repository.root, place)
    if (place.exists() or place.is_symlink()) and not place.is_dir():
        raise MlverError(f"{place} is not a folder.", "Choose another place with -o DIR.")
    _refuse_collisions(_paths(entries, pointers), version)
    present = {entry.path: _presence(place, entry) for entry in entries} if place.is_dir() else {}
    chosen: dict[str, list[FileEntry]] = {"write": [], "overwrite": [], "keep": []}
    for entry in entries:
        chosen[present.get(entry.path, "write")].append(entry)
    fetch, replace, keep = _references(repository, place, pointers)
    return PullPlan(
        version=version,
        manifest=manifest,
        target=place,
        write=tuple(chosen["write"]),
        overwrite=tuple(chosen["overwrite"]),
        keep=tuple(chosen["keep"]),
        is_partial=len(entries) < len(manifest.files) or (references and len(pointers) < len(manifest.references)),
        fetch=fetch,
        replace=replace,
        keep_references=keep,
    )


def pull(
    repository: OpenRepository, plan: PullPlan, force: bool = False, progress: Progress | None = None
) -> PullResult:
    """Carry a plan out.

    Raises:
        ConflictError: Files would be overwritten, and `force` is not given.
        IntegrityError: A chunk is missing or damaged, or a reference is not what it was; the target is as it was.
        RemoteError: A server of references failed or refused.
        MlverError: The target cannot be written.
    """
    if (paths := plan.overwritten_paths) and not force:
        names = ", ".join(paths[:3])
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        raise ConflictError(
            f"{len(paths)} of the files in {plan.target} would be overwritten: {names}{more}.",
            "Overwrite them with --force, or choose another place with -o DIR.",
        )
    entries = [*plan.write, *plan.overwrite]
    folders = () if plan.is_partial else plan.manifest.folders
    whole = not plan.target.is_dir() or (not any(plan.target.iterdir()) and not is_in_use(plan.target))
    with staging_folder(plan.target, beside=whole) as staging:
        downloaded_bytes = _download(repository, plan, staging, progress or Silent())
        materialise(repository.chunk_reader(), entries, folders, staging, progress or Silent())
        if whole:
            replace_empty(staging, plan.target)
        else:
            move_into(staging, plan.target, plan.written_paths, folders)
    if not plan.is_partial:
        _remember(repository, plan)
    repository.note_use(plan.version)
    return PullResult(
        version=plan.version,
        target=str(plan.target),
        written=tuple(plan.written_paths),
        overwritten=tuple(plan.overwritten_paths),
        kept=tuple(plan.kept_paths),
        written_bytes=plan.size_bytes,
        references=tuple(entry.path for entry in plan.fetch),
        downloaded_bytes=downloaded_bytes,
    )


def _paths(files: Sequence[FileEntry], references: Sequence[ReferenceEntry]) -> list[str]:
    return sorted([entry.path for entry in files] + [reference.path for reference in references])


def _download(repository: OpenRepository, plan: PullPlan, staging: Path, progress: Progress) -> int:
    if not plan.fetch:
        return 0
    from mlver.ops.references.downloading import download

    return download(repository, plan.fetch, staging, progress)


def _references(
    repository: OpenRepository, place: Path, references: Sequence[ReferenceEntry]
) -> tuple[tuple[ReferenceEntry, ...], tuple[ReferenceEntry, ...], tuple[ReferenceEntry, ...]]:
    """Return which references are to be fetched, which of them replace something, and which are there already."""
    if not references:
        return (), (), ()
    from mlver.ops.references.present import presence

    chosen: dict[str, list[ReferenceEntry]] = {"write": [], "overwrite": [], "keep": []}
    for reference, found in zip(references, presence(repository, place, references), strict=True):
        chosen[found].append(reference)
    fetch = sorted((*chosen["write"], *chosen["overwrite"]), key=lambda reference: reference.path)
    return tuple(fetch), tuple(chosen["overwrite"]), tuple(chosen["keep"])


def _remember(repository: OpenRepository, plan: PullPlan) -> None:
    """Note where the files came from; whoever may only read the repository does without."""
    try:
        write_origin(repository, plan.target, Origin(plan.version.artifact, plan.version.number, plan.version.id))
    except MlverError as error:
        repository.notices.append(f"mlver status will not know where {plan.target} came from. {error.message}")


def _matching(
    manifest: Manifest, patterns: Sequence[str], references: bool
) -> tuple[Sequence[FileEntry], Sequence[ReferenceEntry]]:
    pointers = manifest.references if references else ()
    if not patterns:
        return manifest.files, pointers
    check_is_list(patterns, "paths")
    import pathspec

    try:
        matches = pathspec.GitIgnoreSpec.from_lines(patterns).match_file
    except ValueError as error:
        raise MlverError(f"--path has a malformed pattern: {error}.") from error
    files = [entry for entry in manifest.files if matches(entry.path)]
    pointers = tuple(entry for entry in pointers if matches(entry.path))
    if not files and not pointers:
        raise NotFoundError(f"No file of this version matches {', '.join(map(repr, patterns))}.")
    return files, pointers


def _refuse_collisions(paths: Sequence[str], version: VersionRecord) -> None:
    pairs = collisions(paths)
    if pairs:
        first, second = pairs[0]
        raise MlverError(
            f"{version.name} has {first!r} and {second!r}, which are one path where case is ignored.",
            "Pull them one at a time with --path, into different folders.",
        )


def _presence(place: Path, entry: FileEntry) -> str:
    path = place / entry.path
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "write"
    if stat.S_ISDIR(status.st_mode):
        raise MlverError(f"{path} is a folder, where the version has a file.", "Move it away first.")
    is_same = stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o100) == entry.executable
    return "keep" if is_same and same_content(path, entry) else "overwrite"
