"""Where versions came from: runs, lineage, the best version; a part of the Python API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mlver.history.records import LinkedVersion, VersionRecord
from mlver.repository.nodes import RecordedRun, Version
from mlver.repository.opened import Opened

if TYPE_CHECKING:
    from mlver.lineage.common import Common
    from mlver.ops.lineage import LineageRequest, LineageResult


class Tracing(Opened):
    """Runs, lineage, the best version."""

    def version(self, revision: str) -> Version:
        """Return a version to hold on to: to read it, and to walk to what it was made of and what was made of it.

        Raises:
            NotFoundError: There is no such version.
            UsageError: It is no revision.
        """
        return self._held(self._run(lambda: self._opened.resolve(revision).version))

    def runs(self, filter: str | None = None, sort: str | None = None, limit: int | None = None) -> list[RecordedRun]:  # noqa: A002
        """Return runs, the newest first.

        Args:
            filter: An expression that holds of them, such as `config.lr < 0.01 and val_acc > 0.9`.
            sort: What they are sorted by, least first; with a `-` before it greatest first.
            limit: At most so many.

        Raises:
            ExpressionError: An expression is malformed, cannot be computed, or a name in it means nothing of any run.
        """
        from mlver.ops.runs.listing import list_runs

        found = self._run(lambda: list_runs(self._opened, condition=filter, sort=sort, limit=limit))
        return [RecordedRun(self._opened.root, run.id) for run in found.runs]

    def find_run(self, name: str) -> RecordedRun:
        """Return a run by its id, its name (of several the newest), or the beginning of its id.

        Raises:
            NotFoundError: There is none.
            UsageError: Several ids begin so.
        """
        from mlver.ops.runs.find import find_run

        return RecordedRun(self._opened.root, self._run(lambda: find_run(self._opened, name).id))

    def best(
        self,
        metric: str,
        name: str | None = None,
        *,
        type: str | None = None,  # noqa: A002 - the word of the command line and of every record
        extreme: Literal["max", "min"] | None = None,
    ) -> Version:
        """Return the best version by a metric; of equally good ones the one with the lowest number.

        Args:
            metric: Its name, or an expression of several.
            name: Only versions of this artifact.
            type: Only versions of artifacts of this type.
            extreme: Whether more or less of it is better; None where its name tells, as of `val_acc` and `loss`.

        Raises:
            NotFoundError: There is no such artifact or type, or no version has the metric.
            UsageError: The metric's name does not tell what is better.
            ExpressionError: The expression is malformed, cannot be computed, or a name in it means nothing.
        """
        from mlver.ops.best_version import best_version

        return self._held(
            self._run(lambda: best_version(self._opened, metric, extreme=extreme, artifact=name, type=type))
        )

    def lineage(self, *references: str, request: LineageRequest | None = None) -> LineageResult:
        """Return the graph around versions and runs, or all of it, as nodes and edges.

        Args:
            references: Versions or runs; none for the whole graph.
            request: All that can be asked for, instead.

        Raises:
            NotFoundError: There is no such version or run.
            UsageError: A revision is malformed, or an id ambiguous.
        """
        from mlver.ops.lineage import LineageRequest, lineage

        asked = request or LineageRequest(references)
        return self._run(lambda: lineage(self._opened, asked))

    def common_lineage(self, first: str, second: str) -> Common:
        """Return what two versions have in common: what both rest on, and what both were used with, such as a test set.

        Raises:
            NotFoundError: There is no such version or run.
            UsageError: A revision is malformed, or an id ambiguous.
        """
        from mlver.ops.lineage import compare_lineage

        return self._run(lambda: compare_lineage(self._opened, first, second))

    def _held(self, version: VersionRecord) -> Version:
        return Version(self._opened.root, LinkedVersion(version.artifact, version.number, version.id))
