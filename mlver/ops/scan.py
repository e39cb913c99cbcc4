"""Which files a version will hold: walk what was named, leave out what is ignored, refuse what cannot come back.

Decisions, each tested: a link to a file is kept as the file it points to, and a link to a folder as that folder
(a loop is refused); empty folders and the owner's permission to execute are kept, other permissions are not; sockets,
pipes and devices, unreadable files, and names that would not survive on Windows are refused with their path.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlver.errors import MlverError, NotFoundError, UsageError
from mlver.formats import Beside
from mlver.names import check_path, collisions
from mlver.ops.stat_cache import Stamp

if TYPE_CHECKING:
    import pathspec

IGNORE_FILE = ".mlverignore"
_SKIPPED = ".mlver"
_HINT = "Leave it out with --exclude or .mlverignore."


@dataclass(frozen=True, slots=True)
class Source:
    """A file on disk that a version will hold.

    Attributes:
        path: Where it will be in the version.
        location: Where it is, absolute.
        stamp: What the filesystem said of it during the walk.
        others: What the other files of the version say of it, if anything (`mlver.ops.linking`).
    """

    path: str
    location: str
    stamp: Stamp
    others: Beside | None = None


@dataclass(slots=True)
class Scan:
    """All that was found.

    Attributes:
        sources: Files by path.
        folders: Paths of empty folders.
        warnings: What a person should know, such as names that collide elsewhere.
    """

    sources: list[Source] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """Sum of the files' sizes."""
        return sum(source.stamp.size_bytes for source in self.sources)


def scan(paths: Sequence[Path], exclude: Sequence[str] = (), *, keep_names: bool = False) -> Scan:
    """Find all files below `paths`.

    One folder: its content is the version's content. A file, or one of several paths, keeps its own last name.

    Args:
        paths: Files and folders.
        exclude: Patterns in gitignore syntax, relative to each folder.
        keep_names: There is more than these paths: a lone folder keeps its last name too.

    Raises:
        NotFoundError: A path does not exist.
        UsageError: Two paths have the same last name, one is in a `.mlver`, or a pattern is malformed.
        MlverError: Something found cannot be kept.
    """
    walk = _Walk(exclude)
    names: set[str] = set()
    for path in paths:
        location = os.path.abspath(path)
        if _SKIPPED in os.path.realpath(location).split(os.sep):
            raise UsageError(f"{location} belongs to a repository's own {_SKIPPED}, which is never added.")
        status = _status(location)
        name = os.path.basename(location)
        whole = stat.S_ISDIR(status.st_mode) and len(paths) == 1 and not keep_names
        if not whole and name in names:
            raise UsageError(
                f"Two of the paths are named {name!r}.",
                "Add their common folder instead.",
            )
        names.add(name)
        if stat.S_ISDIR(status.st_mode):
            try:
                walk.folder(location, "" if whole else check_path(name), (), ((status.st_dev, status.st_ino),))
            except RecursionError as error:
                raise MlverError(f"{location} has folders that nest too deep.", _HINT) from error
        else:
            walk.file(location, name, status)
    walk.found.sources.sort(key=lambda source: source.path)
    walk.found.folders.sort()
    _warn_of_collisions(walk.found)
    return walk.found


class _Ignore:
    """The patterns of one folder, which hold for all below it."""

    def __init__(self, base: str, lines: Sequence[str], origin: str) -> None:
        import pathspec

        self._base = base
        try:
            self._spec: pathspec.GitIgnoreSpec = pathspec.GitIgnoreSpec.from_lines(lines)
        except ValueError as error:
            raise UsageError(f"{origin} has a malformed pattern: {error}.") from error

    def verdict(self, path: str) -> bool | None:
        """Return True to leave `path` out, False to keep it, None when no pattern speaks of it."""
        return self._spec.check_file(path[len(self._base) :]).include


class _Walk:
    def __init__(self, exclude: Sequence[str]) -> None:
        self.found = Scan()
        self._exclude = exclude

    def folder(
        self,
        location: str,
        path: str,
        ignores: tuple[_Ignore, ...],
        above: tuple[tuple[int, int], ...],
    ) -> None:
        """Add what is below the folder at `location`; `above` identifies it and its parents."""
        base = f"{path}/" if path else ""
        if self._exclude and len(above) == 1:
            ignores = (_Ignore(base, self._exclude, "--exclude"),)
        try:
            with os.scandir(location) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            raise _unreadable(location, error) from error
        if any(entry.name == IGNORE_FILE for entry in entries):
            # The nearest file speaks first, and --exclude before all files.
            lines = _ignore_lines(os.path.join(location, IGNORE_FILE))
            first = ignores[:1] if self._exclude else ()
            ignores = (
                *first,
                _Ignore(base, lines, os.path.join(location, IGNORE_FILE)),
                *ignores[len(first) :],
            )
        empty = True
        for entry in entries:
            empty &= not self._entry(entry, base + entry.name, ignores, above)
        if empty and path:
            self.found.folders.append(check_path(path))

    def _entry(
        self,
        entry: os.DirEntry[str],
        path: str,
        ignores: tuple[_Ignore, ...],
        above: tuple[tuple[int, int], ...],
    ) -> bool:
        """Add one entry, and tell whether there was something to add."""
        if entry.name == _SKIPPED:
            return False
        try:
            is_folder = _is_folder(entry)
            if ignores and _is_ignored(path + "/" if is_folder else path, ignores):
                return False
            status = entry.stat()
        except OSError as error:
            raise _unreadable(entry.path, error) from error
        if not is_folder:
            self.file(entry.path, path, status)
            return True
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            raise MlverError(
                f"{entry.path} is a link to a folder that it is in: it never ends.",
                _HINT,
            )
        self.folder(entry.path, path, ignores, (*above, identity))
        return True

    def file(self, location: str, path: str, status: os.stat_result) -> None:
        """Add the file at `location`."""
        if not stat.S_ISREG(status.st_mode):
            raise MlverError(
                f"{location} is neither a file nor a folder (a socket, pipe or device).",
                _HINT,
            )
        self.found.sources.append(Source(check_path(path), location, Stamp.of(status)))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself, say: asking for more fails with the reason, unless it is ignored


def _is_ignored(path: str, ignores: tuple[_Ignore, ...]) -> bool:
    for ignore in ignores:
        verdict = ignore.verdict(path)
        if verdict is not None:
            return verdict
    return False


def _ignore_lines(location: str) -> list[str]:
    try:
        with open(location, encoding="utf-8") as file:
            return file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MlverError(f"{location} cannot be read: {error}.") from error


def _status(location: str) -> os.stat_result:
    try:
        return os.stat(location)
    except FileNotFoundError as error:
        raise NotFoundError(f"{location} does not exist.") from error
    except OSError as error:
        raise _unreadable(location, error) from error


def _unreadable(location: str, error: OSError) -> MlverError:
    reason = os.strerror(error.errno or 0)
    if isinstance(error, FileNotFoundError):
        reason = "it is a link to nothing, or it just went away"
    return MlverError(f"{location} cannot be read: {reason}.", _HINT)


def _warn_of_collisions(found: Scan) -> None:
    pairs = collisions([source.path for source in found.sources] + found.folders)
    for first, second in pairs[:10]:
        found.warnings.append(
            f"{first!r} and {second!r} are one path where case is ignored: mlver pull refuses to write both."
        )
