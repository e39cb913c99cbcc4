"""The verb: manifests → pairs → figures → one result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from mlver.differences.rows.change import Wanted
from mlver.differences.values import ValueChange, compare_values
from mlver.errors import NotFoundError
from mlver.ops.diff.files import compare_files
from mlver.ops.diff.metrics import compare_metrics
from mlver.ops.diff.provenance import compare_provenance, settings_and_inputs
from mlver.ops.diff.result import DiffResult, FileChanges, TensorChanges
from mlver.ops.diff.sides import Side, find_sides
from mlver.ops.diff.summary import summarise
from mlver.ops.diff.tensors import pair_tensors, similar_glob
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress, Silent


def diff(
    repository: OpenRepository,
    first: str,
    second: str | None = None,
    *,
    tensor_globs: Sequence[str] = (),
    names_only: bool = False,
    with_ranks: bool = False,
    rows: Wanted | None = None,
    progress: Progress | None = None,
) -> DiffResult:
    """Compare two versions, or a version and a folder on disk.

    Args:
        repository: The repository.
        first: A revision, a range `A..B`, or a path.
        second: A revision or a path; see `mlver.ops.diff.sides.find_sides`.
        tensor_globs: Compare only tensors whose names match one of these; none means all.
        names_only: Compare digests only: of stored versions, nothing but the manifests is read.
        with_ranks: Find in how many directions each matrix changed.
        rows: How tables are to be compared; None guesses everything.
        progress: Told of the bytes read.

    Raises:
        NotFoundError: There is no such version, or none before it; no tensor matches one of `tensor_globs`; or no
            table has the columns of `rows`.
        UsageError: It is no revision.
        IntegrityError: Something that was read is damaged.
        ConflictError: A file on disk changes while it is read.
        MlverError: A file on disk cannot be read.
    """
    progress = progress or Silent()
    before, after = find_sides(repository, first, second, progress)
    files = compare_files(before, after, rows or Wanted(), progress, look_inside=not names_only)
    tensors = pair_tensors(before.manifest, after.manifest)
    if tensor_globs:
        tensors = _matching(tensors, tensor_globs)
    if not names_only:
        tensors = _measured(repository, before, after, tensors, with_ranks, progress)
    weights = before.manifest.weights, after.manifest.weights
    identical_weights = None if weights == (None, None) else weights[0] == weights[1]
    metrics = compare_metrics(before.version.metrics, after.version.metrics) if before.version and after.version else ()
    metadata = _compare(before, after, "metadata")
    provenance = compare_provenance(repository, before.version, after.version)
    values = (*metadata, *settings_and_inputs(provenance), *_configuration(files))
    return DiffResult(
        before=before.name,
        after=after.name,
        identical=before.manifest == after.manifest,
        identical_weights=identical_weights,
        summary=summarise(tensors, files, metrics, values, identical_weights),
        metrics=metrics,
        metadata=metadata,
        provenance=provenance,
        files=files,
        tensors=tensors,
        is_measured=not names_only,
    )


def _matching(tensors: TensorChanges, globs: Sequence[str]) -> TensorChanges:
    def matches(name: str) -> bool:
        return any(fnmatchcase(name, glob) for glob in globs)

    names = [*tensors.unchanged, *tensors.added, *tensors.removed]
    names += [pair.name for pair in (*tensors.changed, *tensors.moved)]
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            raise NotFoundError(f"No tensor matches {glob!r}.", similar_glob(glob, names))
    return TensorChanges(
        added={name: tensor for name, tensor in tensors.added.items() if matches(name)},
        removed={name: tensor for name, tensor in tensors.removed.items() if matches(name)},
        changed=tuple(pair for pair in tensors.changed if matches(pair.name)),
        moved=tuple(pair for pair in tensors.moved if matches(pair.name)),
        unchanged=tuple(filter(matches, tensors.unchanged)),
    )


def _measured(
    repository: OpenRepository,
    before: Side,
    after: Side,
    tensors: TensorChanges,
    with_ranks: bool,
    progress: Progress,
) -> TensorChanges:
    from mlver.ops.diff.magnitudes import measure_pairs
    from mlver.ops.diff.measured import MeasuredChanges

    measured = MeasuredChanges(repository.cache)
    changed = measure_pairs(before, after, tensors.changed, measured, progress)
    if with_ranks:
        from mlver.ops.diff.ranks import rank_pairs

        changed = rank_pairs(before, after, changed, measured, progress)
    return replace(tensors, changed=tuple(changed))


def _compare(before: Side, after: Side, field: str) -> tuple[ValueChange, ...]:
    """Compare what the log says of two versions; of a folder it says nothing."""
    if before.version is None or after.version is None:
        return ()
    return tuple(compare_values(getattr(before.version, field), getattr(after.version, field)))


def _configuration(files: FileChanges) -> Iterator[ValueChange]:
    for file in files.modified:
        if file.content is not None:
            yield from file.content.values
