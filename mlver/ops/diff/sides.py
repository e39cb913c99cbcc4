"""The two things that are compared: versions, or folders on disk, by the words a person gives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Protocol

from mlver.digests import Buffer
from mlver.errors import NotFoundError, UsageError
from mlver.history.manifest import Manifest
from mlver.history.records import VersionRecord
from mlver.history.revision import Resolved
from mlver.ids import ChunkId
from mlver.ops.diff.result import SideName
from mlver.ops.obtaining import manifest_of, obtain
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress

_RANGE = ".."


class ChunkSource(Protocol):
    """Where the chunks of a manifest can be read. Safe in any thread."""

    def read(self, chunk: ChunkId, size_bytes: int) -> Buffer:
        """Return the raw bytes of a chunk; errors are those of `read_many`."""

    def read_many(self, chunks: Sequence[tuple[ChunkId, int]]) -> Iterator[Buffer]:
        """Yield the raw bytes of chunks, given by id and size in bytes.

        Raises:
            IntegrityError: One is missing or damaged.
            MlverError: One cannot be read.
        """


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two.

    Attributes:
        name: What a person calls it.
        manifest: Its files and tensors.
        chunks: Returns where their bytes are; called only if bytes are wanted.
        obtain: Makes sure that chunks can be read, from a remote if they are not here; it takes no time if they are.
    """

    name: SideName
    manifest: Manifest
    chunks: Callable[[], ChunkSource]
    obtain: Callable[[Iterable[ChunkId]], None]

    @property
    def version(self) -> VersionRecord | None:
        """The version, if it is one."""
        return self.name.version


def find_sides(repository: OpenRepository, first: str, second: str | None, progress: Progress) -> tuple[Side, Side]:
    """Return what `diff FIRST SECOND` compares.

    `A B`: these two. `A..B`: the same; an empty side is `latest`, and in `NAME:A..B` B is NAME's. `A`: the version
    before it, and it. A folder or file on disk may stand on either side; one alone is compared with the version it
    came from. A word that could be both is a revision: `./word` is a path.

    Raises:
        NotFoundError: There is no such version, or none before it; or its manifest is neither here nor at a remote.
        UsageError: It is no revision.
        RemoteError: A remote failed.
        MlverError: A folder cannot be read.
    """
    finder = _Finder(repository, progress)
    repository.index.refresh()
    if second is None and _RANGE in first and not _is_path(first):
        first, _, second = first.partition(_RANGE)
        first, second = first or "latest", second or "latest"
        second = finder.in_range(first, second)
    if second is not None:
        return finder.side(first), finder.side(second)
    found = finder.resolve(first)
    if isinstance(found, Path):
        return finder.side(_origin(repository, found)), finder.on_disk(found)
    return finder.stored(_predecessor(repository, found)), finder.stored(found.version)


def _is_path(word: str) -> bool:
    return os.sep in word or word in (".", "..")


class _Finder:
    """Turns words into sides; all versions share one reader."""

    def __init__(self, repository: OpenRepository, progress: Progress) -> None:
        self._repository = repository
        self._progress = progress
        self._chunks = cache(repository.chunk_reader)

    def resolve(self, word: str) -> Resolved | Path:
        """Return the version or the path that a word names."""
        if _is_path(word):
            return Path(word)
        try:
            return self._repository.resolve(word)
        except (NotFoundError, UsageError):
            if os.path.lexists(word):
                return Path(word)
            raise

    def in_range(self, first: str, second: str) -> str:
        """Return the end of a range: in `NAME:v4..best` it is NAME's best, if there is one."""
        found = self.resolve(first)
        if isinstance(found, Path) or not any(mark in first for mark in ":@") or any(mark in second for mark in ":@"):
            return second
        inherited = f"{found.artifact.name}:{second}"
        try:
            self._repository.resolve(inherited)
        except NotFoundError:
            return second
        return inherited

    def side(self, word: str) -> Side:
        """Return the side that a word names."""
        found = self.resolve(word)
        return self.on_disk(found) if isinstance(found, Path) else self.stored(found.version)

    def stored(self, version: VersionRecord) -> Side:
        """Return a version as a side."""
        manifest = manifest_of(self._repository, version)
        fetch = partial(obtain, self._repository, version, progress=self._progress)
        return Side(SideName(version.name, version, None), manifest, self._chunks, fetch)

    def on_disk(self, place: Path) -> Side:
        """Return a folder or file as a side."""
        from mlver.ops.diff.folder import read_folder

        manifest, chunks = read_folder(self._repository, place, self._progress)
        name = SideName(str(place), None, os.path.abspath(place))
        return Side(name, manifest, lambda: chunks, lambda _: None)


def _predecessor(repository: OpenRepository, found: Resolved) -> VersionRecord:
    number = repository.index.predecessor(found.artifact, found.version.number, 1)
    version = None if number is None else repository.index.version(found.artifact, number)
    if version is None:
        raise NotFoundError(
            f"There is no version before {found.version.name}.", "Name two, as in: mlver diff NAME:v4 OTHER:best"
        )
    return version


def _origin(repository: OpenRepository, place: Path) -> str:
    """Return the version that a folder came from."""
    from mlver.ops.origins import read_origin

    if not os.path.lexists(place):
        raise NotFoundError(f"{os.path.abspath(place)} does not exist.")
    origin = read_origin(repository, place)
    if origin is None:
        raise NotFoundError(
            f"It is not known which version {os.path.abspath(place)} came from.",
            f"Name the version to compare it with: mlver diff VERSION {place}",
        )
    return f"{origin.artifact}:v{origin.version}"
