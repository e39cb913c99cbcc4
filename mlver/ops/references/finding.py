"""From the URIs a person gives to entries of a manifest: list, name, identify, read what nothing else identifies.

Several things in one `add`, paths or references, keep their last names; the objects below a lone prefix become the
content of the version, as the files of a lone folder do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from mlver.digests import ContentHasher
from mlver.errors import MlverError, NotFoundError, RemoteError, UsageError
from mlver.history.reference import ReferenceEntry
from mlver.names import check_path, collisions
from mlver.ops.progress import Progress
from mlver.ops.references.cache import ReferenceCache
from mlver.ops.references.comparing import difference
from mlver.ops.references.found import FoundReferences
from mlver.ops.references.opening import ReferenceStores
from mlver.ops.references.reading import ObjectSource, contents
from mlver.store.objects.address import Location, clean_uri, last_name, uri_of, uri_problem


class _Found(NamedTuple):
    """An object: where it is to be in the version, its URI, and what the server says of it."""

    path: str
    uri: str
    source: ObjectSource


class Finder:
    """Finds the references of one `add`.

    Args:
        stores: Where they are.
        cache: Knows digests that were learned.
        exclude: Patterns of objects to leave out, in gitignore syntax, relative to each prefix.
        max_files: How many objects there may be below prefixes.
    """

    def __init__(self, stores: ReferenceStores, cache: ReferenceCache, exclude: Sequence[str], max_files: int) -> None:
        self._stores = stores
        self._cache = cache
        self._exclude = exclude
        self._left = max_files
        self._max_files = max_files

    def find(
        self,
        uris: Sequence[str],
        previous: Iterable[ReferenceEntry],
        progress: Progress,
        *,
        keep_names: bool,
        digest: bool,
    ) -> FoundReferences:
        """Return what is to be recorded of the objects that URIs name.

        Args:
            uris: Of objects and prefixes.
            previous: What the version before recorded; what is still the same is recorded the same way.
            progress: Told of the bytes read.
            keep_names: Put the objects of a prefix into a folder of its name.
            digest: Read every object, to record a digest of its content.

        Raises:
            NotFoundError: There is no such object.
            UsageError: A URI is not allowed.
            ConflictError: An object changes while it is read.
            RemoteError: A server failed or refused.
            MlverError: An object cannot be a file of a version, or there are too many.
        """
        result = FoundReferences()
        found: list[_Found] = []
        for text in uris:
            uri, lost = clean_uri(text)
            try:
                found += self._expand(uri, keep_names)
            except (RemoteError, NotFoundError) as error:
                if lost is not None:
                    error.hint = f"It was asked for without {lost}, since that is never recorded."
                raise
            if lost is not None:
                result.warnings.append(f"{uri} is recorded without {lost}: whoever pulls it needs access of their own.")
        if uris and not found:
            raise NotFoundError("There is nothing to refer to: no object was found, or all are left out.")
        before = {(entry.path, entry.uri): entry for entry in previous}
        unread = [item for item in found if not self._settle(item, before.get((item.path, item.uri)), digest, result)]
        for item, entry in zip(unread, _read(unread, progress), strict=True):
            _enter(item, entry, before.get((item.path, item.uri)), result)
        if result.learned:
            result.warnings.append(
                f"{len(result.learned)} references are recorded without digests, and are what they were: no version is "
                "made for their digests, which are kept in this repository only."
            )
        result.entries.sort(key=lambda entry: entry.path)
        return result

    def _expand(self, uri: str, keep_names: bool) -> Iterator[_Found]:
        """Yield the object that a URI names, or else those below it."""
        store, location = self._stores.at(uri)
        if location.key and not location.key.endswith("/"):
            try:
                stat = store.stat(location.key)
            except NotFoundError:
                if location.protocol in ("http", "https"):
                    raise
            else:
                name = check_path(last_name(uri))
                if "/" in name:
                    raise UsageError(f"The last part of {uri} has a '/' in it, so it cannot be a file's name.")
                yield _Found(name, uri, ObjectSource(store, location.key, stat))
                return
        yield from self._below(uri, keep_names)

    def _below(self, uri: str, keep_names: bool) -> Iterator[_Found]:
        store, location = self._stores.at(uri)
        prefix = location.key if location.key.endswith("/") or not location.key else location.key + "/"
        listed = store.list(prefix, self._left + 1)
        if len(listed) > self._left:
            raise MlverError(
                f"{uri} has more than {self._max_files:,} objects.",
                "Allow more with --max-files N, or name a narrower prefix.",
            )
        self._left -= len(listed)
        if not listed:
            raise NotFoundError(f"There is no object {uri}, and none below it.")
        folder = f"{check_path(last_name(uri))}/" if keep_names else ""
        is_left_out = _matcher(self._exclude)
        for key, stat in listed:
            if not key.startswith(prefix):
                raise MlverError(f"{uri} lists {key!r}, which is not below it.")
            inner = key[len(prefix) :]
            if is_left_out is not None and is_left_out(inner):
                continue
            place = uri_of(Location(location.root, key))
            if problem := uri_problem(place):
                raise MlverError(f"{uri} has an object {inner!r} whose URI {problem}.", "Leave it out with --exclude.")
            yield _Found(check_path(folder + inner), place, ObjectSource(store, key, stat))

    def _settle(self, item: _Found, before: ReferenceEntry | None, digest: bool, result: FoundReferences) -> bool:
        """Record an object that need not be read, and tell whether that is so."""
        stat = item.source.stat
        if before is not None and _is_surely(before, item):
            if digest and self._cache.digest(before) is None:
                return False
            result.entries.append(before)
            return True
        may_be_same = before is not None and before.digest is not None and before.size_bytes == stat.size_bytes
        if digest or may_be_same or stat.size_bytes is None or not (stat.etag or stat.version):
            return False
        result.entries.append(ReferenceEntry(item.path, item.uri, stat.size_bytes, stat.etag, stat.version))
        return True


def _is_surely(before: ReferenceEntry, item: _Found) -> bool:
    """Tell whether the server's word suffices that an object is what was recorded."""
    by, reason = difference(before, item.source.stat)
    return not reason and by != "size"


def _read(items: Sequence[_Found], progress: Progress) -> Iterator[ReferenceEntry]:
    """Yield what is to be recorded of objects, with digests of their content."""
    hashers = [ContentHasher() for _ in items]
    progress.start(sum(item.source.stat.size_bytes or 0 for item in items), "Reading references")
    done = 0
    try:
        for position, piece in contents([item.source for item in items]):
            yield from (_described(items[n], hashers[n]) for n in range(done, position))
            done = position
            hashers[position].update(piece)
            progress.advance(len(piece))
    finally:
        progress.done()
    yield from (_described(items[n], hashers[n]) for n in range(done, len(items)))


def _described(item: _Found, hasher: ContentHasher) -> ReferenceEntry:
    stat = item.source.stat
    return ReferenceEntry(item.path, item.uri, hasher.size_bytes, stat.etag, stat.version, hasher.digest())


def _enter(item: _Found, entry: ReferenceEntry, before: ReferenceEntry | None, result: FoundReferences) -> None:
    """Record an object that was read: as before, if it has the content it had."""
    if before is not None and _is_surely(before, item):
        result.entries.append(before)
        result.learned[before] = str(entry.digest)
    elif before is not None and before.digest == entry.digest:
        result.entries.append(before)
    else:
        result.entries.append(entry)


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool] | None:
    if not patterns:
        return None
    import pathspec

    try:
        return pathspec.GitIgnoreSpec.from_lines(patterns).match_file
    except ValueError as error:
        raise UsageError(f"--exclude has a malformed pattern: {error}.") from error


def refuse_conflicts(paths: Sequence[str]) -> list[str]:
    """Refuse files and references that cannot be in one folder; return warnings of those that cannot be everywhere.

    Raises:
        UsageError: Two have one path.
        MlverError: One would be in a folder that another one is.
    """
    taken = set(paths)
    if len(taken) < len(paths):
        twice = next(path for path, count in Counter(paths).items() if count > 1)
        raise UsageError(f"Two of what is added would be {twice!r}.", "Add their common folder or prefix instead.")
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder:
            if folder in taken:
                raise MlverError(
                    f"{folder!r} would be a file and a folder, which has {path!r}.", "Leave one out with --exclude."
                )
            folder = folder.rpartition("/")[0]
    pairs = collisions(paths)[:10]
    return [f"{a!r} and {b!r} are one path where case is ignored: mlver pull refuses to write both." for a, b in pairs]
