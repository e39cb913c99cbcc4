"""What differs between versions: a part of the Python API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlver.ops.progress import Progress
from mlver.repository.opened import Opened

if TYPE_CHECKING:
    from mlver.ops.compare import CompareResult
    from mlver.ops.diff.result import DiffResult


class Comparisons(Opened):
    """What differs between versions."""

    def diff(
        self,
        first: str,
        second: str | None = None,
        *,
        tensors: Sequence[str] = (),
        names_only: bool = False,
        ranks: bool = False,
        key: Sequence[str] = (),
        label: str | None = None,
        prediction: str | None = None,
        progress: Progress | None = None,
    ) -> DiffResult:
        """Compare two versions, or a version and a folder on disk: what came, went and changed, and how much.

        Args:
            first: A version, a range `A..B`, or a path with a slash.
            second: A version or a path; without it `first` is compared with the version before it.
            tensors: Only tensors whose names match one of these patterns.
            names_only: Compare digests only: no weights are read.
            ranks: Find in how many directions each matrix changed.
            key: Columns to match the rows of tables by; none means to guess.
            label: The column of tables that says what is right; None means to guess.
            prediction: The column of tables that was predicted; None means to guess.
            progress: Told of the bytes read.

        Raises:
            NotFoundError: There is no such version, or none before it; no tensor matches, or no table has the columns
                named; or something is neither here nor at a remote.
            UsageError: It is no revision.
            RemoteError: A remote failed that has what is not here.
            IntegrityError: Something that was read is damaged.
            ConflictError: A file on disk changes while it is read.
            MlverError: A file on disk cannot be read.
        """
        from mlver.differences.rows.change import Wanted
        from mlver.ops.diff.diff import diff

        return self._run(
            lambda: diff(
                self._opened,
                first,
                second,
                tensor_globs=tensors,
                names_only=names_only,
                with_ranks=ranks,
                rows=Wanted(tuple(key), label, prediction),
                progress=progress,
            )
        )

    def compare(self, *revisions: str, sort: str | None = None, reverse: bool = False) -> CompareResult:
        """Put metrics, configuration and sizes of versions side by side; see `mlver.ops.compare.compare`.

        Raises:
            NotFoundError: There is no such version, or none of them has the metric to sort by.
            UsageError: There are fewer than two.
            IntegrityError: A manifest or a configuration file is damaged.
        """
        from mlver.ops.compare import compare

        return self._run(lambda: compare(self._opened, revisions, sort=sort, reverse=reverse))
