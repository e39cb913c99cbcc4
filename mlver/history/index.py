"""The version index: the logs folded into tables of `index.sqlite`, a cache that can be deleted at any time.

`refresh` reads the events that are newer than what is folded already and applies each exactly once; everything
else here is a query. Several processes share one index: an event is applied only onto the state just before it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mlver.errors import IntegrityError
from mlver.history.log import EventLog, LogStorage, is_continuation, part_ranges
from mlver.history.queries import Queries
from mlver.history.records import RUNS_KEY, ArtifactRecord, VersionRecord
from mlver.history.sign_action import SignVersion
from mlver.ids import ManifestId
from mlver.names import LATEST, fold
from mlver.store.sqlite import CacheConnection, CacheDamaged, cached_json

if TYPE_CHECKING:
    from mlver.history.event import Event

NAMES_FOLDER = "names"
LOGS_FOLDER = "log"
RUNS_FOLDER = "runs/log"
NAMES_KEY = 0

_HIGHEST = 1 << 62
_ARTIFACT_COLUMNS = "key, name, folder, type, latest, version_count"


def log_folder(artifact: ArtifactRecord | None) -> str:
    """Return the folder of an artifact's log, of that of runs (`RUNS`), or (None) of that of names."""
    if artifact is None:
        return NAMES_FOLDER
    return RUNS_FOLDER if artifact.key == RUNS_KEY else f"{LOGS_FOLDER}/{artifact.folder}"


class VersionIndex(Queries):
    """Queries over all logs of a repository.

    Args:
        connection: The cache, with the tables of `mlver.history.tables`.
        storage: Where the logs live.
    """

    def __init__(self, connection: CacheConnection, storage: LogStorage) -> None:
        super().__init__(connection)
        self._storage = storage

    # Folding: log → tables

    def refresh(self, artifact: ArtifactRecord | None = None) -> None:
        """Fold what is new in the names' log, and in one artifact's log or (None) in all logs there are.

        Raises:
            IntegrityError: An event is damaged or missing.
        """
        self._fold(NAMES_KEY, NAMES_FOLDER)
        if artifact is not None:
            self._fold(artifact.key, log_folder(artifact))
            return
        for key, folder in self._rows("SELECT key, folder FROM artifacts WHERE key > 0"):
            self._fold(key, f"{LOGS_FOLDER}/{folder}")
        self._fold(RUNS_KEY, RUNS_FOLDER)

    def head(self, key: int) -> int:
        """Return the number of the newest folded event of an artifact's log, -1 if it has none."""
        return int(self._one("SELECT head FROM artifacts WHERE key = ?", key)[0])

    def tail(self, artifact: ArtifactRecord | None) -> tuple[EventLog, int]:
        """Return a log to append to, and the number that the next event has if nothing happened since it was folded."""
        # One query: a number of one part of a log must not be used in another one.
        key = artifact.key if artifact else NAMES_KEY
        head, part = self._one("SELECT head, part FROM artifacts WHERE key = ?", key)
        return EventLog(self._storage, log_folder(artifact), part), int(head) + 1

    def _fold(self, key: int, folder: str) -> None:
        head, part = self._one("SELECT head, part FROM artifacts WHERE key = ?", key)
        log = EventLog(self._storage, folder, part)
        # Where the newest folded event is gone, the log was replaced by an older copy: nothing folded can be trusted.
        is_known = head >= 0 and log.exists(head)
        # An event that is missing below others is found by looking one further.
        if is_known and not (log.exists(head + 1) or log.exists(head + 2)):
            return
        if head < 0 and not part and not log.exists(0) and not self._storage.list(folder):
            return  # most repositories have logs that nothing happened in
        if not is_known or not self._fold_news(key, log, head):
            self._fold_anew(key, folder)

    def _fold_news(self, key: int, log: EventLog, head: int) -> bool:
        """Apply what follows event `head`; False where the log goes on in another part, from an earlier number."""
        from mlver.history.fold import apply  # most commands find nothing new and need none of it

        with self._connection.transaction():
            for event in log.events(head + 1):
                if is_continuation(event):
                    return False
                apply(self._connection, key, event)
        return True

    def _fold_anew(self, key: int, folder: str) -> None:
        """Fold a whole log, part by part, each up to where the next begins."""
        from mlver.history.fold import apply, drop_nameless, enter, restart

        with self._connection.transaction():
            restart(self._connection, key)
            for part, end in part_ranges(self._storage, folder):
                enter(self._connection, key, part.name)
                for event in EventLog(self._storage, folder, part.name).events_until(part.start, end):
                    apply(self._connection, key, event)
            if key == NAMES_KEY:
                drop_nameless(self._connection)

    def apply(self, artifact: ArtifactRecord | None, event: Event) -> None:
        """Fold one event that was just appended."""
        from mlver.history.fold import apply

        with self._connection.transaction():
            apply(self._connection, artifact.key if artifact else NAMES_KEY, event)

    def try_out(self, artifact: ArtifactRecord | None, events: Iterable[Event]) -> None:
        """Fold events that are to follow in a log and forget them again: what contradicts a log must not get into it.

        Raises:
            IntegrityError: One of them contradicts the ones before it, or has no place in this log.
        """
        from mlver.history.fold import apply

        with suppress(_Forgotten), self._connection.transaction():
            for event in events:
                apply(self._connection, artifact.key if artifact else NAMES_KEY, event)
            raise _Forgotten

    # Queries

    def artifact(self, name: str) -> ArtifactRecord | None:
        """Return the artifact that bears `name` now."""
        row = self._first(f"SELECT {_ARTIFACT_COLUMNS} FROM artifacts WHERE name = ?", name)
        return ArtifactRecord(*row) if row else None

    def renamed_artifact(self, former_name: str) -> ArtifactRecord | None:
        """Return the artifact that once bore `former_name`."""
        row = self._first(
            f"SELECT {_ARTIFACT_COLUMNS} FROM artifacts WHERE key = (SELECT artifact FROM former_names WHERE name = ?)",
            former_name,
        )
        return ArtifactRecord(*row) if row else None

    def artifacts(self, *, empty: bool = False) -> list[ArtifactRecord]:
        """Return all artifacts that ever had a version, or (`empty`) all of them, by name."""
        condition = "" if empty else "AND next_version > 0"
        rows = self._rows(f"SELECT {_ARTIFACT_COLUMNS} FROM artifacts WHERE key > 0 {condition} ORDER BY name")
        return [ArtifactRecord(*row) for row in rows]

    def name_in_use(self, name: str) -> str | None:
        """Return the present or former name that `name` would collide with, case and Unicode form ignored."""
        wanted = fold(name)
        rows = self._rows("SELECT name FROM artifacts WHERE key > 0 UNION ALL SELECT name FROM former_names")
        folders = self._rows("SELECT folder FROM artifacts WHERE key > 0")
        return next((used for (used,) in [*rows, *folders] if fold(used) == wanted), None)

    def artifact_like(self, name: str) -> ArtifactRecord | None:
        """Return the artifact whose log is in the folder `name`, else one that has or had a name like it."""
        row = self._first(f"SELECT {_ARTIFACT_COLUMNS} FROM artifacts WHERE key > 0 AND folder = ?", name)
        if row:
            return ArtifactRecord(*row)
        used = self.name_in_use(name)
        return None if used is None else self.artifact(used) or self.renamed_artifact(used)

    def next_version(self, artifact: ArtifactRecord) -> int:
        """Return the number that the artifact's next version gets; never one that was used."""
        return int(self._one("SELECT next_version FROM artifacts WHERE key = ?", artifact.key)[0])

    def versions(
        self, artifact: ArtifactRecord, limit: int | None = None, *, removed: bool = False, newest: int | None = None
    ) -> list[VersionRecord]:
        """Return an artifact's versions, newest first.

        Args:
            artifact: Whose versions.
            limit: At most so many.
            removed: Removed ones too.
            newest: None above this number.
        """
        return self._versions(
            "v.artifact = ? AND v.number <= ?" + ("" if removed else " AND NOT v.removed"),
            [artifact.key, _HIGHEST if newest is None else newest],
            "ORDER BY v.number DESC LIMIT ?",
            [-1 if limit is None else limit],
        )

    def count_older(self, artifact: ArtifactRecord, number: int, *, removed: bool = False) -> int:
        """Return how many versions have a number below `number`."""
        condition = "" if removed else " AND NOT removed"
        query = f"SELECT count(*) FROM versions WHERE artifact = ? AND number < ?{condition}"
        return int(self._one(query, artifact.key, number)[0])

    def version(self, artifact: ArtifactRecord, number: int) -> VersionRecord | None:
        """Return one version, also a removed one."""
        found = self._versions("v.artifact = ? AND v.number = ?", [artifact.key, number])
        return found[0] if found else None

    def predecessor(self, artifact: ArtifactRecord, number: int, steps: int) -> int | None:
        """Return the number of the version `steps` before `number`, removed ones not counted."""
        row = self._first(
            "SELECT number FROM versions WHERE artifact = ? AND number <= ? AND NOT removed "
            "ORDER BY number DESC LIMIT 1 OFFSET ?",
            artifact.key,
            number,
            steps,
        )
        return int(row[0]) if row else None

    def live_versions_of(self, identity: str) -> list[VersionRecord]:
        """Return all versions with this content that are not removed, in any artifact."""
        return self._versions("v.manifest = ? AND NOT v.removed", [identity])

    def versions_by_id_prefix(self, digits: str) -> list[VersionRecord]:
        """Return all versions whose id starts with `blake3:` and these hex digits."""
        low = f"blake3:{digits}"
        return self._versions("v.manifest >= ? AND v.manifest < ? AND NOT v.removed", [low, low + "g"])

    def version_with_weights(self, weights: str, preferred: ArtifactRecord) -> VersionRecord | None:
        """Return the newest version with these weights that is not removed, one of `preferred` if there is one."""
        found = self._versions(
            "v.weights = ? AND NOT v.removed",
            [weights],
            "ORDER BY v.artifact = ? DESC, v.number DESC LIMIT 1",
            [preferred.key],
        )
        return found[0] if found else None

    def alias(self, artifact: ArtifactRecord, alias: str) -> int | None:
        """Return the version number that an alias names; `latest` is known too."""
        if alias == LATEST:
            row = self._first("SELECT latest FROM artifacts WHERE key = ?", artifact.key)
        else:
            row = self._first(
                "SELECT version FROM aliases WHERE artifact = ? AND alias = ?",
                artifact.key,
                alias,
            )
        return None if row is None or row[0] is None else int(row[0])

    def aliases(self, artifact: ArtifactRecord) -> dict[str, int]:
        """Return all aliases of an artifact with their version numbers, `latest` first."""
        rows = self._rows(
            "SELECT alias, version FROM aliases WHERE artifact = ? ORDER BY alias",
            artifact.key,
        )
        latest = self.alias(artifact, LATEST)
        return ({} if latest is None else {LATEST: latest}) | dict(rows)

    def signatures(self, artifact: ArtifactRecord, number: int) -> list[SignVersion]:
        """Return the signatures that a version bears, checked by nobody."""
        query = "SELECT key, signature, statement FROM signatures WHERE artifact = ? AND number = ? ORDER BY signature"
        return [
            SignVersion(number, key, signature, statement, True)
            for key, signature, statement in self._rows(query, artifact.key, number)
        ]

    def tracked(self, artifact: ArtifactRecord) -> dict[str, str]:
        """Return the aliases that follow a metric by themselves, each with its rule, such as `max(val_acc)`."""
        return dict(self._rows("SELECT alias, rule FROM tracked WHERE artifact = ? ORDER BY alias", artifact.key))

    def protected(self, artifact: ArtifactRecord) -> tuple[str, ...]:
        """Return the aliases that nobody is to move by mistake."""
        rows = self._rows("SELECT alias FROM protected WHERE artifact = ? ORDER BY alias", artifact.key)
        return tuple(alias for (alias,) in rows)

    def followed(self, artifact: ArtifactRecord) -> dict[int, list[tuple[str, int | None, int | None]]]:
        """Return which aliases moved by themselves, by event: alias, version before, version after."""
        moves: dict[int, list[tuple[str, int | None, int | None]]] = {}
        for event, *move in self._rows(
            "SELECT event, alias, was, version FROM followed WHERE artifact = ? AND was IS NOT version "
            "ORDER BY event, alias",
            artifact.key,
        ):
            moves.setdefault(event, []).append((move[0], move[1], move[2]))
        return moves

    def all_manifests(self) -> dict[str, list[tuple[str, int, bool]]]:
        """Return each manifest id with the (artifact, version, removed) it belongs to."""
        found: dict[str, list[tuple[str, int, bool]]] = {}
        for manifest, name, number, removed in self._rows(
            "SELECT v.manifest, a.name, v.number, v.removed FROM versions v JOIN artifacts a ON a.key = v.artifact "
            "ORDER BY a.name, v.number"
        ):
            found.setdefault(manifest, []).append((name, number, bool(removed)))
        return found

    def removed_manifests(self) -> list[str]:
        """Return the manifests that no version has but removed ones."""
        rows = self._rows(
            "SELECT DISTINCT manifest FROM versions v WHERE removed AND NOT EXISTS "
            "(SELECT 1 FROM versions w WHERE w.manifest = v.manifest AND NOT w.removed)"
        )
        return [manifest for (manifest,) in rows]

    def extent(self) -> tuple[int, float]:
        """Return how many versions there are, removed or not, and about how many bytes all their files have."""
        ((count, logical_bytes),) = self._rows("SELECT count(*), total(logical_bytes) FROM versions")
        return count, logical_bytes

    def events(self, artifact: ArtifactRecord | None, limit: int | None = None) -> list[Event]:
        """Return the newest events of a log, newest first."""
        return self._events("artifact = ? ORDER BY number DESC LIMIT ?", artifact, -1 if limit is None else limit)

    def events_from(self, artifact: ArtifactRecord | None, first: int) -> list[Event]:
        """Return the events of a log from number `first` on, oldest first."""
        return self._events("artifact = ? AND number >= ? ORDER BY number", artifact, first)

    def _events(self, condition: str, artifact: ArtifactRecord | None, value: int) -> list[Event]:
        from mlver.history.event import decode_event

        key = artifact.key if artifact else NAMES_KEY
        rows = self._rows(f"SELECT number, data FROM events WHERE {condition}", key, value)
        try:
            return [decode_event(data, number, f"{number} in the index") for number, data in rows]
        except IntegrityError as error:
            raise CacheDamaged(sqlite3.DatabaseError(error.message)) from error

    def _versions(self, where: str, values: list[Any], tail: str = "", more: Iterable[Any] = ()) -> list[VersionRecord]:
        rows = self._rows(
            "SELECT a.name, a.type, v.number, v.manifest, v.created_at, v.created_by, v.message, v.note, "
            "v.number = a.latest, (SELECT json_group_array(alias) FROM (SELECT alias FROM aliases l WHERE "
            "l.artifact = v.artifact AND l.version = v.number ORDER BY alias)), v.tags, v.metadata, v.metrics, "
            "v.provenance, v.logical_bytes, v.new_bytes, v.stored_bytes, v.file_count, v.tensor_count, v.weights, "
            "v.removed, v.reference_count, v.reference_bytes "
            f"FROM versions v JOIN artifacts a ON a.key = v.artifact WHERE {where} {tail}",
            *values,
            *more,
        )
        try:
            return [_version_from(row) for row in rows]
        except (ValueError, TypeError) as error:
            raise CacheDamaged(sqlite3.DatabaseError(str(error))) from error


class _Forgotten(Exception):
    """Ends a transaction that was only to see whether it can be."""


def _version_from(row: tuple[Any, ...]) -> VersionRecord:
    (
        name,
        kind,
        number,
        manifest,
        at,
        by,
        message,
        note,
        is_latest,
        aliases,
        tags,
        *rest,
    ) = row
    (
        metadata,
        metrics,
        provenance,
        logical,
        new,
        stored,
        files,
        tensors,
        weights,
        removed,
        references,
        reference_bytes,
    ) = rest
    return VersionRecord(
        artifact=name,
        type=kind,
        number=number,
        id=ManifestId(manifest),
        created_at=at,
        created_by=by,
        message=message,
        note=note,
        aliases=((LATEST,) if is_latest else ()) + tuple(cached_json(aliases)),
        tags=tuple(cached_json(tags)),
        metadata=cached_json(metadata),
        metrics=cached_json(metrics),
        provenance=cached_json(provenance),
        logical_bytes=logical,
        new_bytes=new,
        stored_bytes=stored,
        file_count=files,
        tensor_count=tensors,
        weights=weights,
        removed=bool(removed),
        reference_count=references,
        reference_bytes=reference_bytes,
    )
