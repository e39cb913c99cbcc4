"""The index of runs: who made which version from what, asked of the tables that the logs were folded into.

A run names what it used by the folder of an artifact's log, a number and a manifest. The number is only the first
guess: fetching may have given the version another one, and the artifact may have joined another one. The manifest
finds it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from mlver.history.queries import Queries
from mlver.history.records import (
    ArtifactRecord,
    Graph,
    LinkedVersion,
    MetricSummary,
    RunNode,
    RunRecord,
    VersionKey,
    VersionNode,
)
from mlver.ids import ManifestId, RunId, is_hex
from mlver.store.sqlite import CacheDamaged, cached_json

MIN_RUN_DIGITS = 4
NAME_PREFIX = "run:"
_RUN_COLUMNS = (
    "id, name, job_type, status, started_at, started_by, exit_code, duration_seconds, config, metrics, "
    "record, series, output, code"
)
_LINK_COLUMNS = (
    "l.folder, l.number, l.manifest, l.role, a.name, EXISTS (SELECT 1 FROM versions v WHERE v.artifact = a.key "
    "AND v.number = l.number AND v.manifest = l.manifest)"
)
_LINKS = "FROM run_versions l LEFT JOIN artifacts a ON a.folder = l.folder"
_OUTPUTS = (
    "FROM run_outputs o JOIN versions v ON v.artifact = o.artifact AND v.number = o.number "
    "JOIN artifacts a ON a.key = o.artifact"
)


class RunIndex(Queries):
    """Queries over runs; refresh the `VersionIndex` of the same cache before."""

    def runs(self, limit: int | None = None) -> list[RunRecord]:
        """Return runs, newest first.

        Args:
            limit: At most so many.
        """
        return self._runs("", (), "ORDER BY started_at DESC, id LIMIT ?", (-1 if limit is None else limit,))

    def count(self) -> int:
        """Return how many runs there are."""
        return int(self._one("SELECT count(*) FROM runs")[0])

    def run(self, run: RunId) -> RunRecord | None:
        """Return one run, if it is known."""
        found = self._runs("WHERE id = ?", (run,))
        return found[0] if found else None

    def find(self, text: str) -> list[RunRecord]:
        """Return the runs that `text` may mean: an id, `run:NAME`, a name, or the beginning of an id, in this order.

        Of one name the newest is first; several ids may begin alike.
        """
        if exact := self.run(RunId(text)):
            return [exact]
        name = text.removeprefix(NAME_PREFIX)
        named = self._runs("WHERE name = ?", (name,), "ORDER BY started_at DESC, id")
        if named or name != text or len(text) < MIN_RUN_DIGITS or not is_hex(text):
            return named
        return self._runs("WHERE id >= ? AND id < ?", (text, text + "g"), "ORDER BY started_at DESC, id")

    def names(self) -> list[str]:
        """Return the names that runs have, those of the newest first."""
        rows = self._rows("SELECT name FROM runs WHERE name NOT NULL GROUP BY name ORDER BY max(started_at) DESC")
        return [name for (name,) in rows]

    def maker_of(self, artifact: ArtifactRecord, number: int) -> list[RunId]:
        """Return the run that made a version, if one did, and then those that made its content again."""
        rows = self._rows("SELECT run FROM run_outputs WHERE artifact = ? AND number = ?", artifact.key, number)
        return list(dict.fromkeys([RunId(run) for (run,) in rows] + self._linked_runs(artifact, number, made=True)))

    def users_of(self, artifact: ArtifactRecord, number: int) -> list[RunId]:
        """Return the runs that used a version, the oldest first."""
        return self._linked_runs(artifact, number, made=False)

    def inputs_of(self, run: RunId) -> list[LinkedVersion]:
        """Return the versions that a run used, in the order it did."""
        return [link for _, made, link in self._links("WHERE l.run = ?", (run,)) if not made]

    def outputs_of(self, run: RunId) -> list[LinkedVersion]:
        """Return the versions that a run made, then those that it made again."""
        first = [link for _, link in self._outputs("WHERE o.run = ?", (run,))]
        return first + [link for _, made, link in self._links("WHERE l.run = ?", (run,)) if made]

    def derived_from(self, artifact: ArtifactRecord, number: int) -> list[LinkedVersion]:
        """Return the versions that a version follows from without a run, as was said when it was added."""
        rows = self._rows(
            f"SELECT {_LINK_COLUMNS} FROM (SELECT folder, input AS number, manifest, NULL AS role, position "
            "FROM version_inputs WHERE artifact = ? AND number = ?) l "
            "LEFT JOIN artifacts a ON a.folder = l.folder ORDER BY l.position",
            artifact.key,
            number,
        )
        return [self._linked(*row) for row in rows]

    def derived_to(self, artifact: ArtifactRecord, number: int) -> list[LinkedVersion]:
        """Return the versions that follow from a version without a run."""
        rows = self._rows(
            "SELECT i.folder, i.input, i.manifest, a.name, w.number, w.manifest FROM versions v "
            "JOIN version_inputs i ON i.manifest = v.manifest "
            "JOIN versions w ON w.artifact = i.artifact AND w.number = i.number "
            "JOIN artifacts a ON a.key = w.artifact WHERE v.artifact = ? AND v.number = ? ORDER BY w.created_at",
            artifact.key,
            number,
        )
        return [
            LinkedVersion(name, output, ManifestId(output_manifest))
            for folder, said, manifest, name, output, output_manifest in rows
            if self._is_it(artifact, number, folder, said, manifest)
        ]

    def graph(self) -> Graph:
        """Return all versions and runs with what leads from one to the other."""
        rows = self._rows(
            "SELECT a.name, a.type, v.number, v.manifest, v.created_at, v.removed FROM versions v "
            "JOIN artifacts a ON a.key = v.artifact"
        )
        nodes = [
            VersionNode(name, kind, number, ManifestId(manifest), at, bool(removed))
            for name, kind, number, manifest, at, removed in rows
        ]
        runs = self._rows("SELECT id, name, job_type, status, started_at FROM runs ORDER BY started_at")
        graph = Graph(
            {(node.artifact, node.number): node for node in nodes}, {run[0]: RunNode(*run) for run in runs}, [], [], []
        )
        for run, link in self._outputs("", ()):
            graph.made.append((run, (link.artifact, link.number)))
            graph.runs.setdefault(run, RunNode(run, None, None, "unknown", ""))
        for run, made, link in self._links("", ()):
            key = _key(graph, link)
            if made:
                graph.made.append((run, key))
            else:
                graph.used.append((key, run))
        for output, link in self._derivations():
            graph.derived.append((_key(graph, link), output))
        return graph

    def _runs(self, where: str, values: tuple[Any, ...], tail: str = "", more: tuple[Any, ...] = ()) -> list[RunRecord]:
        rows = self._rows(f"SELECT {_RUN_COLUMNS} FROM runs {where} {tail}", *values, *more)
        if not rows:
            return []
        chosen = f"(SELECT id FROM runs {where} {tail})"
        inputs: dict[RunId, list[LinkedVersion]] = {}
        outputs: dict[RunId, list[LinkedVersion]] = {}
        for run, link in self._outputs(f"WHERE o.run IN {chosen}", (*values, *more)):
            outputs.setdefault(run, []).append(link)
        for run, made, link in self._links(f"WHERE l.run IN {chosen}", (*values, *more)):
            (outputs if made else inputs).setdefault(run, []).append(link)
        try:
            return [_run_from(row, inputs.get(row[0], ()), outputs.get(row[0], ())) for row in rows]
        except (ValueError, TypeError, KeyError) as error:
            raise CacheDamaged(sqlite3.DatabaseError(str(error))) from error

    def _outputs(self, where: str, values: tuple[Any, ...]) -> Iterator[tuple[RunId, LinkedVersion]]:
        """Yield what runs made first, in the order they did."""
        rows = self._rows(
            f"SELECT o.run, a.name, v.number, v.manifest {_OUTPUTS} {where} ORDER BY v.created_at, a.name, v.number",
            *values,
        )
        for run, name, number, manifest in rows:
            yield run, LinkedVersion(name, number, ManifestId(manifest))

    def _links(self, where: str, values: tuple[Any, ...]) -> Iterator[tuple[RunId, bool, LinkedVersion]]:
        """Yield what the log of runs says they used, or made again."""
        rows = self._rows(f"SELECT l.run, l.made, {_LINK_COLUMNS} {_LINKS} {where} ORDER BY l.run, l.position", *values)
        for run, made, *link in rows:
            yield run, bool(made), self._linked(*link)

    def _derivations(self) -> Iterator[tuple[VersionKey, LinkedVersion]]:
        rows = self._rows(
            f"SELECT b.name, l.output, {_LINK_COLUMNS} FROM (SELECT artifact, number AS output, folder, "
            "input AS number, manifest, NULL AS role FROM version_inputs) l "
            "JOIN artifacts b ON b.key = l.artifact LEFT JOIN artifacts a ON a.folder = l.folder"
        )
        for name, output, *link in rows:
            yield (name, output), self._linked(*link)

    def _linked(
        self, folder: str, number: int, manifest: str, role: str | None, name: str | None, is_there: int
    ) -> LinkedVersion:
        """Return the version that a log names: under its number, or found by its manifest."""
        if name is not None and is_there:
            return LinkedVersion(name, number, ManifestId(manifest), role)
        row = self._first(
            "SELECT a.name, v.number FROM versions v JOIN artifacts a ON a.key = v.artifact WHERE v.manifest = ?1 "
            "ORDER BY a.folder = ?2 DESC, a.name, abs(v.number - ?3), v.number LIMIT 1",
            manifest,
            folder,
            number,
        )
        if row is None:
            return LinkedVersion(name or folder, number, ManifestId(manifest), role, is_known=False)
        return LinkedVersion(row[0], row[1], ManifestId(manifest), role)

    def _linked_runs(self, artifact: ArtifactRecord, number: int, made: bool) -> list[RunId]:
        rows = self._rows(
            "SELECT l.run, l.folder, l.number, l.manifest FROM versions v JOIN run_versions l "
            "ON l.manifest = v.manifest JOIN runs r ON r.id = l.run "
            "WHERE v.artifact = ? AND v.number = ? AND l.made = ? ORDER BY r.started_at, r.id",
            artifact.key,
            number,
            made,
        )
        return [RunId(run) for run, *link in rows if self._is_it(artifact, number, *link)]

    def _is_it(self, artifact: ArtifactRecord, number: int, folder: str, said: int, manifest: str) -> bool:
        """Tell whether what a log names is this version, and not another one with the same content."""
        there = folder == artifact.folder and said == number
        if there:
            return True
        row = self._one(
            "SELECT a.name, EXISTS (SELECT 1 FROM versions v WHERE v.artifact = a.key AND v.number = ?2 "
            "AND v.manifest = ?3) FROM (SELECT 1) LEFT JOIN artifacts a ON a.folder = ?1",
            folder,
            said,
            manifest,
        )
        link = self._linked(folder, said, manifest, None, *row)
        return (link.artifact, link.number) == (artifact.name, number)


def _run_from(row: tuple[Any, ...], inputs: Iterable[LinkedVersion], outputs: Iterable[LinkedVersion]) -> RunRecord:
    *said, config, metrics, record, series, output, code = row
    summaries = {
        name: MetricSummary(value["last"], value["min"], value["max"], value["count"], value["nan"])
        for name, value in cached_json(metrics).items()
    }
    links = (tuple(inputs), tuple(outputs))
    return RunRecord._make((*said, cached_json(config), summaries, record, series, output, *links, cached_json(code)))


def _key(graph: Graph, link: LinkedVersion) -> VersionKey:
    """Return a version's key in the graph; what is not known here gets a node, which no other is taken for."""
    if link.is_known:
        return link.artifact, link.number
    key = (f"{link.artifact}@{link.id.removeprefix('blake3:')[:12]}", link.number)
    graph.versions.setdefault(key, VersionNode(key[0], "", link.number, link.id, "", False))
    return key
