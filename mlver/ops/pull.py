"""`pull`: revision → manifest → chunks → decode → verify → files, renamed into place whole.

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
from mlver.names import collisions
from mlver.ops.add import check_is_list
from mlver.ops.comparing import same_content
from mlver.ops.materialise import materialise
from mlver.ops.opening import REPOSITORY_FOLDER, OpenRepository
from mlver.ops.origins import Origin, write_origin
from mlver.ops.placing import move_into, replace_empty, staging_folder
from mlver.ops.progress import Progress, Silent


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
    """

    version: VersionRecord
    manifest: Manifest
    target: Path
    write: tuple[FileEntry, ...]
    overwrite: tuple[FileEntry, ...]
    keep: tuple[FileEntry, ...]
    is_partial: bool

    @property
    def size_bytes(self) -> int:
        """Bytes to be written."""
        return sum(entry.size_bytes for entry in (*self.write, *self.overwrite))


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
    """

    version: VersionRecord
    target: str
    written: tuple[str, ...]
    overwritten: tuple[str, ...]
    kept: tuple[str, ...]
    written_bytes: int


def plan_pull(
    repository: OpenRepository, revision: str, target: Path | None = None, patterns: Sequence[str] = ()
) -> PullPlan:
    """Find out what a pull would do.

    Args:
        repository: The repository.
        revision: Which version.
        target: Folder to write to; by default one of the artifact's name, here.
        patterns: Only files that match one of them, in gitignore syntax.

    Raises:
        NotFoundError: There is no such version, or no file matches.
        IntegrityError: The manifest is missing or damaged.
        MlverError: The target is no folder, or inside a repository's own; or two of the files would be one there.
    """
    version = repository.resolve(revision).version
    manifest = read_manifest(repository.storage, version.id)
    entries = _matching(manifest.files, patterns)
    place = Path(os.path.abspath(target if target is not None else version.artifact))
    _refuse_repository(repository, place)
    if (place.exists() or place.is_symlink()) and not place.is_dir():
        raise MlverError(f"{place} is not a folder.", "Choose another place with -o DIR.")
    _refuse_collisions(entries, version)
    present = {entry.path: _presence(place, entry) for entry in entries} if place.is_dir() else {}
    chosen: dict[str, list[FileEntry]] = {"write": [], "overwrite": [], "keep": []}
    for entry in entries:
        chosen[present.get(entry.path, "write")].append(entry)
    return PullPlan(
        version=version,
        manifest=manifest,
        target=place,
        write=tuple(chosen["write"]),
        overwrite=tuple(chosen["overwrite"]),
        keep=tuple(chosen["keep"]),
        is_partial=len(entries) < len(manifest.files),
    )


def pull(
    repository: OpenRepository, plan: PullPlan, force: bool = False, progress: Progress | None = None
) -> PullResult:
    """Carry a plan out.

    Raises:
        ConflictError: Files would be overwritten, and `force` is not given.
        IntegrityError: A chunk is missing or damaged; the target is as it was.
        MlverError: The target cannot be written.
    """
    if plan.overwrite and not force:
        names = ", ".join(entry.path for entry in plan.overwrite[:3])
        more = f" and {len(plan.overwrite) - 3} more" if len(plan.overwrite) > 3 else ""
        raise ConflictError(
            f"{len(plan.overwrite)} of the files in {plan.target} would be overwritten: {names}{more}.",
            "Overwrite them with --force, or choose another place with -o DIR.",
        )
    entries = [*plan.write, *plan.overwrite]
    folders = () if plan.is_partial else plan.manifest.folders
    whole = not plan.target.is_dir() or (not any(plan.target.iterdir()) and not _is_in_use(plan.target))
    with staging_folder(plan.target, beside=whole) as staging:
        materialise(repository.chunk_reader(), entries, folders, staging, progress or Silent())
        if whole:
            replace_empty(staging, plan.target)
        else:
            move_into(staging, plan.target, [entry.path for entry in entries], folders)
    if not plan.is_partial:
        _remember(repository, plan)
    return PullResult(
        version=plan.version,
        target=str(plan.target),
        written=tuple(sorted(entry.path for entry in entries)),
        overwritten=tuple(entry.path for entry in plan.overwrite),
        kept=tuple(entry.path for entry in plan.keep),
        written_bytes=plan.size_bytes,
    )


def _is_in_use(folder: Path) -> bool:
    """Tell whether a folder must stay the very folder it is: someone stands in it, or a disk is mounted there."""
    try:
        return os.path.ismount(folder) or os.path.samefile(folder, os.getcwd())
    except OSError:
        return False


def _remember(repository: OpenRepository, plan: PullPlan) -> None:
    """Note where the files came from; whoever may only read the repository does without."""
    try:
        write_origin(repository, plan.target, Origin(plan.version.artifact, plan.version.number, plan.version.id))
    except MlverError as error:
        repository.notices.append(f"mlver status will not know where {plan.target} came from. {error.message}")


def _matching(files: Sequence[FileEntry], patterns: Sequence[str]) -> list[FileEntry]:
    if not patterns:
        return list(files)
    check_is_list(patterns, "paths")
    import pathspec

    try:
        spec = pathspec.GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise MlverError(f"--path has a malformed pattern: {error}.") from error
    found = [entry for entry in files if spec.match_file(entry.path)]
    if not found:
        raise NotFoundError(f"No file of this version matches {', '.join(map(repr, patterns))}.")
    return found


def _refuse_repository(repository: OpenRepository, place: Path) -> None:
    """A version with files named as the repository's own must not take their place."""
    real = Path(os.path.realpath(place))
    if REPOSITORY_FOLDER in real.parts or real.is_relative_to(os.path.realpath(repository.root)):
        raise MlverError(f"{place} is inside a repository's own folder.", "Choose another place with -o DIR.")


def _refuse_collisions(entries: Sequence[FileEntry], version: VersionRecord) -> None:
    pairs = collisions(entry.path for entry in entries)
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
