"""`compare`: several versions side by side: their metrics, configuration and sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from mlver.differences.texts import read_values
from mlver.differences.values import equal_values, leaves
from mlver.errors import NotFoundError, UsageError
from mlver.history.manifest import FileEntry
from mlver.history.records import VersionRecord
from mlver.ops.diff.metrics import Direction, best, better
from mlver.ops.obtaining import manifest_of, obtain
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Silent

_Sources = dict[str, list[Mapping[str, Any]]]
"""The values of each version in turn, by where they are from."""

_RANGE = ".."
_SUFFIXES = frozenset({".json", ".toml", ".yaml", ".yml"})
_FILE_BYTES = 1 << 20
"""The largest file that is a configuration: vocabularies are no settings."""


class ComparedMetric(NamedTuple):
    """A metric of several versions.

    Attributes:
        name: The metric.
        values: Of each version in turn; None where it is not known.
        better: Which values are better, as far as the name tells.
        best: The best value, unless all are the same or it is not known which is.
    """

    name: str
    values: tuple[float | None, ...]
    better: Direction | None
    best: float | None


class ComparedValue(NamedTuple):
    """A piece of metadata or configuration that is not the same in all versions.

    Attributes:
        source: `metadata`, or the path of a file.
        key: Its place, such as `optimizer.lr`.
        values: Of each version in turn; None where it is absent.
    """

    source: str
    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class CompareResult:
    """Versions side by side.

    Attributes:
        versions: Which, in the order of all `values`.
        metrics: Every metric that one of them has, by name.
        values: Metadata, then configuration files, where versions differ.
        same_count: Values that are the same in all.
    """

    versions: tuple[VersionRecord, ...]
    metrics: tuple[ComparedMetric, ...]
    values: tuple[ComparedValue, ...]
    same_count: int


def compare(
    repository: OpenRepository, revisions: Sequence[str], *, sort: str | None = None, reverse: bool = False
) -> CompareResult:
    """Put versions side by side.

    Args:
        repository: The repository.
        revisions: Which; `A..B` is all from A to B.
        sort: A metric: the best version comes first, the highest where the name does not tell what is better.
        reverse: Turn the order around.

    Raises:
        NotFoundError: There is no such version, none of them has the metric, or a version is neither here nor at a
            remote.
        RemoteError: A remote failed.
        UsageError: There are fewer than two, or a range is none.
        IntegrityError: A manifest or a configuration file is damaged.
    """
    repository.index.refresh()
    versions = list({version.name: version for version in _versions(repository, revisions)}.values())
    if len(versions) < 2:
        raise UsageError("Name two or more versions to compare.", "As in: mlver compare v3 v4 v6, or v3..v6")
    versions = _sorted(versions, sort)
    if reverse:
        versions.reverse()
    sources = _configurations(repository, versions)
    differing, same_count = _values(sources)
    return CompareResult(tuple(versions), tuple(_metrics(versions)), tuple(differing), same_count)


def _versions(repository: OpenRepository, revisions: Iterable[str]) -> Iterator[VersionRecord]:
    for revision in revisions:
        first, mark, last = revision.partition(_RANGE)
        if mark:
            yield from _range(repository, first or "latest", last or "latest")
        else:
            yield repository.resolve(revision).version


def _range(repository: OpenRepository, first: str, last: str) -> list[VersionRecord]:
    """Return all versions from one to another, in that order; what has no artifact's name is of the first's."""
    start = repository.resolve(first)
    if not any(mark in last for mark in ":@") and any(mark in first for mark in ":@"):
        last = f"{start.artifact.name}:{last}"
    end = repository.resolve(last)
    if start.artifact.key != end.artifact.key:
        raise UsageError(f"{first!r} and {last!r} are of two artifacts: there is nothing between them.")
    low, high = sorted((start.version.number, end.version.number))
    between = [version for version in repository.index.versions(start.artifact, None) if low <= version.number <= high]
    return between if start.version.number > end.version.number else between[::-1]


def _sorted(versions: list[VersionRecord], metric: str | None) -> list[VersionRecord]:
    if metric is None:
        return versions
    if not any(metric in version.metrics for version in versions):
        known = sorted({name for version in versions for name in version.metrics})
        hint = f"There are: {', '.join(known)}" if known else None
        raise NotFoundError(f"None of these versions has a metric {metric!r}.", hint)
    sign = 1 if better(metric) == "lower" else -1
    return sorted(
        versions, key=lambda version: sign * version.metrics[metric] if metric in version.metrics else float("inf")
    )


def _metrics(versions: Sequence[VersionRecord]) -> Iterator[ComparedMetric]:
    for name in sorted({name for version in versions for name in version.metrics}):
        values = tuple(version.metrics.get(name) for version in versions)
        yield ComparedMetric(name, values, better(name), best(name, values))


def _configurations(
    repository: OpenRepository, versions: Sequence[VersionRecord]
) -> dict[str, list[Mapping[str, Any]]]:
    """Return the metadata, and the configuration files that differ, of each version, by source."""
    sources: _Sources = {"metadata": [version.metadata for version in versions]}
    manifests = [manifest_of(repository, version) for version in versions]
    files = [{file.path: file for file in manifest.files if _is_configuration(file)} for manifest in manifests]
    paths = sorted({path for one in files for path in one})
    differing = [path for path in paths if len({one[path].digest if path in one else None for one in files}) > 1]
    for version, one in zip(versions, files, strict=True):
        entries = (one[path] for path in differing if path in one)
        obtain(repository, version, (chunk.id for entry in entries for chunk in entry.chunks), Silent())
    for path in differing:
        sources[path] = [_read(repository, one[path]) if path in one else {} for one in files]
    return sources


def _is_configuration(file: FileEntry) -> bool:
    return PurePosixPath(file.path).suffix.lower() in _SUFFIXES and file.size_bytes <= _FILE_BYTES


def _read(repository: OpenRepository, entry: FileEntry) -> Mapping[str, Any]:
    chunks = repository.chunk_reader().read_many([(chunk.id, chunk.size_bytes) for chunk in entry.chunks])
    return read_values(entry.path, b"".join(bytes(chunk) for chunk in chunks)) or {}


def _values(sources: _Sources) -> tuple[list[ComparedValue], int]:
    differing, same_count = [], 0
    for source, tables in sources.items():
        flat = [dict(leaves("", table)) if table else {} for table in tables]
        for key in sorted({key for one in flat for key in one}):
            values = [one.get(key) for one in flat]
            if all(equal_values(values[0], value) for value in values[1:]):
                same_count += 1
            else:
                differing.append(ComparedValue(source, key, tuple(values)))
    return differing, same_count
