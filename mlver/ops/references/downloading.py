"""References → files: from the cache or from where they are, checked before anybody sees them.

A content whose digest is known is what has that digest, whatever its server says. Of any other, the version or entity
tag must be the one that was recorded; its digest is learned, and holds from then on.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from mlver.digests import ContentHasher
from mlver.errors import IntegrityError, MlverError
from mlver.history.reference import ReferenceEntry
from mlver.ops.opening import OpenRepository
from mlver.ops.parallel import run_ordered
from mlver.ops.progress import Progress, Silent
from mlver.ops.references.cache import ReferenceCache
from mlver.ops.references.comparing import Standing, standing
from mlver.ops.references.opening import ReferenceStores
from mlver.ops.references.reading import CONNECTIONS, ObjectSource, contents
from mlver.store.failures import cannot_write

_PIECE_BYTES = 1 << 20
_NAMED = 3
_FLUSH_ONE_BY_ONE = 64
"""With more files than this, one flush of everything is faster than one for each."""


def download(repository: OpenRepository, references: Sequence[ReferenceEntry], folder: Path, progress: Progress) -> int:
    """Write references as files into a folder of our own; all of them are durable on return, but not the folders.

    Returns:
        How many bytes came from where the references are, and not from the cache.

    Raises:
        IntegrityError: One is gone, or is not what it was; all that are known to be so are told.
        ConflictError: One changes while it is read.
        RemoteError: A server failed or refused.
        MlverError: The disk is full, or failed.
    """
    for path in sorted({os.path.dirname(reference.path) for reference in references}):
        (folder / path).mkdir(parents=True, exist_ok=True)
    cache = ReferenceCache(repository)
    one_by_one = len(references) <= _FLUSH_ONE_BY_ONE
    progress.start(sum(reference.size_bytes for reference in references), "Fetching references")
    try:
        missing = [entry for entry in references if not _from_cache(cache, entry, folder, one_by_one, progress)]
        with ReferenceStores(repository.config) as stores:
            sources = _sources(stores, missing, cache)
            _fetch(repository, cache, sources, _Target(folder, one_by_one), progress)
        if not one_by_one:
            os.sync()
    except OSError as error:
        raise cannot_write(error, f"into {folder.parent}") from error
    finally:
        progress.done()
    return sum(reference.size_bytes for reference in missing)


def open_reference(repository: OpenRepository, reference: ReferenceEntry) -> io.BufferedReader:
    """Open a checked copy of a reference for reading; the copy goes when it is closed.

    Raises:
        IntegrityError: It is gone, or is not what it was.
        ConflictError: It changes while it is read.
        RemoteError: Its server failed or refused.
        MlverError: There is no room for the copy.
    """
    try:
        with ReferenceCache(repository).scratch() as folder:
            download(repository, [reference], Path(folder), Silent())
            return open(Path(folder) / reference.path, "rb")  # its name may go, it stays
    except OSError as error:
        raise MlverError(f"Cannot keep a copy of {reference.uri}: {os.strerror(error.errno or 0)}.") from error


class _Target(NamedTuple):
    """Where files are written, and whether each is flushed."""

    folder: Path
    flush: bool


def _from_cache(
    cache: ReferenceCache, reference: ReferenceEntry, folder: Path, flush: bool, progress: Progress
) -> bool:
    """Copy a content out of the cache while checking it, and tell whether that could be."""
    digest = cache.digest(reference)
    place = None if digest is None else cache.place(digest)
    if digest is None or place is None:
        return False
    file = folder / reference.path
    with open(place, "rb", buffering=0) as source, open(file, "xb", buffering=0) as target:
        hasher = ContentHasher()
        while piece := source.read(_PIECE_BYTES):
            hasher.update(piece)
            _write(target, piece)
        if flush:
            os.fsync(target.fileno())
    if (hasher.digest(), hasher.size_bytes) == (digest, reference.size_bytes):
        progress.advance(reference.size_bytes)
        return True
    cache.drop(digest)
    file.unlink()
    return False


def _sources(
    stores: ReferenceStores, references: Sequence[ReferenceEntry], cache: ReferenceCache
) -> dict[ReferenceEntry, ObjectSource]:
    """Ask all servers first, so that nothing is downloaded in vain."""
    tasks = (partial(standing, stores, reference) for reference in references)
    found: dict[ReferenceEntry, ObjectSource] = {}
    problems: list[str] = []
    for reference, state in zip(references, run_ordered(tasks, CONNECTIONS), strict=True):
        if state.source is None or (state.status == "changed" and not _may_be_same(reference, state, cache)):
            problems.append(f"{reference.path} ({reference.uri}): {state.reason}")
        else:
            found[reference] = state.source
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise IntegrityError(
            f"References are not what they were: {'; '.join(problems[:_NAMED])}{more}.",
            "mlver verify lists them all; pull the rest with --no-references, or leave them out with --path.",
        )
    return found


def _may_be_same(reference: ReferenceEntry, state: Standing, cache: ReferenceCache) -> bool:
    """Tell whether an object that its server calls another one may have the content all the same."""
    stat = state.source.stat if state.source is not None else None
    return stat is not None and stat.size_bytes in (None, reference.size_bytes) and cache.digest(reference) is not None


def _fetch(
    repository: OpenRepository,
    cache: ReferenceCache,
    sources: Mapping[ReferenceEntry, ObjectSource],
    target: _Target,
    progress: Progress,
) -> None:
    learned: dict[ReferenceEntry, str] = {}
    for reference, hasher in _files(sources, target, progress):
        _check(reference, hasher, cache.digest(reference))
        learned[reference] = hasher.digest()
        cache.keep(target.folder / reference.path, hasher.digest())
    if not learned:
        return
    try:
        cache.learn(learned)
    except MlverError as error:
        repository.notices.append(f"The digests of references that were downloaded are not kept. {error.message}")
    cache.trim()


def _files(
    sources: Mapping[ReferenceEntry, ObjectSource], target: _Target, progress: Progress
) -> Iterator[tuple[ReferenceEntry, ContentHasher]]:
    """Write objects into files one after the other; yield each when it is whole."""
    references = list(sources)
    with ExitStack() as stack:
        current = -1
        hasher = ContentHasher()
        file: IO[bytes] | None = None
        for position, piece in contents([sources[reference] for reference in references]):
            if position != current:
                if file is not None:
                    _finish(file, target.flush)
                    yield references[current], hasher
                current, hasher = position, ContentHasher()
                file = stack.enter_context(open(target.folder / references[current].path, "xb", buffering=0))
            assert file is not None
            hasher.update(piece)
            if hasher.size_bytes > references[current].size_bytes:
                _check(references[current], hasher, None)
            _write(file, piece)
            progress.advance(len(piece))
        if file is not None:
            _finish(file, target.flush)
            yield references[current], hasher


def _finish(file: IO[bytes], flush: bool) -> None:
    if flush:
        os.fsync(file.fileno())
    file.close()


def _check(reference: ReferenceEntry, hasher: ContentHasher, digest: str | None) -> None:
    if hasher.size_bytes != reference.size_bytes or digest not in (None, hasher.digest()):
        raise IntegrityError(
            f"{reference.path} is not what it was: {reference.uri} has other content now.",
            "mlver verify --references reads all references again; --no-references pulls the rest.",
        )


def _write(file: IO[bytes], piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]
