"""Watches, bisection, queries, export and making again: a part of the Python API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlver.history.records import VersionRecord
from mlver.repository.opened import AnyPath, Opened

if TYPE_CHECKING:
    from mlver.ops.bisect.bisect import BisectResult
    from mlver.ops.query.parquet import ExportedTable
    from mlver.ops.query.query import Answer
    from mlver.ops.reproduce.prepare import Reproduction


class Automation(Opened):
    """Watches, bisection, queries, export and making again."""

    def watch(self, *conditions: str, name: str | None = None, from_start: bool = False) -> Iterator[dict[str, Any]]:
        """Yield what happened since the last time, each thing once; then end. Ask again to wait for more.

        What is yielded counts as done when the next one is asked for. Where the process ends before that, it comes once
        more, with the same `watch_id` and a greater `attempt`.

        Args:
            conditions: Such as `alias:production` or `add:type=model`.
            name: Under which it is known what was done; None makes one from the conditions.
            from_start: With a new name: begin with all that ever happened, rather than with what happens from now on.

        Raises:
            UsageError: A condition or the name is malformed.
            ConflictError: Another process waits under this name.
        """
        from mlver.ops.watch.watch import Watch, watched

        with Watch(self._opened, conditions, name=name, from_start=from_start) as watch:
            for pending in watched(watch, self._opened):
                yield pending.told()
                watch.end(pending)

    def bisect(
        self,
        good: str,
        bad: str,
        judge: Callable[[VersionRecord, Path | None], bool | None],
        *,
        pull: bool = True,
        record: AnyPath | None = None,
    ) -> BisectResult:
        """Find the version where something broke.

        Args:
            good: A version that is good.
            bad: A later one that is bad.
            judge: Says of a version, and the folder that it was pulled into, whether it is good; None: it cannot tell.
            pull: Pull each version into a folder for `judge`, which is gone afterwards.
            record: A file that keeps what was said, so that an interrupted search goes on with it.

        Raises:
            NotFoundError: There is no such version.
            UsageError: They are not of one artifact, or not in this order.
        """
        from mlver.ops.bisect.bisect import SKIP_CODE, bisect

        codes = {True: 0, False: 1, None: SKIP_CODE}
        return bisect(
            self._opened,
            good,
            bad,
            lambda version, folder: codes[judge(version, folder)],
            pulled=pull,
            record=None if record is None else Path(record),
        )

    def query(self, sql: str, timeout_seconds: float = 60.0) -> Answer:
        """Ask in SQL; docs/query.md has the views.

        Raises:
            UsageError: It is not SQL, or does something else than to read the views.
            MlverError: It takes longer than `timeout_seconds`.
        """
        from mlver.ops.query.query import query

        return self._run(lambda: query(self._opened, sql, timeout_seconds))

    def export_parquet(self, folder: AnyPath) -> Sequence[ExportedTable]:
        """Write the views of `query` into a folder, each as a Parquet file.

        Raises:
            MlverError: pyarrow is not installed, or the folder cannot be written.
        """
        from mlver.ops.query.parquet import export_parquet

        return self._run(lambda: export_parquet(self._opened, Path(folder)))

    def export(self, export_format: str, revision: str | None = None) -> list[dict[str, Any]]:
        """Return what is known as documents of other tools: `openlineage`, `croissant` or `ro-crate`.

        Raises:
            UsageError: There is no such format, or it is not of one version.
            NotFoundError: There is no such version.
            IntegrityError: It is damaged.
        """
        from mlver.ops.exchange.exchange import export

        return self._run(lambda: export(self._opened, export_format, revision))

    def reproduce(
        self,
        revision: str,
        worktree: AnyPath | None = None,
        folder: AnyPath = ".",
    ) -> Reproduction:
        """Say what it takes to make a version again; with `worktree`, prepare it there. Nothing of it is run.

        Args:
            revision: Which version, or a run's id or name.
            worktree: A new folder.
            folder: In the git repository of the code.

        Raises:
            NotFoundError: There is no such version or run, or (`worktree`) its code or an input is not here.
            ConflictError: The folder is there already.
            MlverError: git refuses, or a file cannot be written.
        """
        from mlver.ops.reproduce.prepare import reproduce
        from mlver.repository.surroundings import environment

        place = None if worktree is None else Path(worktree)
        return self._run(lambda: reproduce(self._opened, revision, Path(folder), environment(), place))
