"""Which manifests stay, from the logs themselves: **logs → manifests → what is used**.

A version that is not removed keeps its manifest. One that was removed keeps it for the grace period after, and a
manifest that no version has, as an `add` under way has it, for the grace period after it was written. Ages are by the
store's clock, from the file of the event that removed a version and from the manifest's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlver.errors import IntegrityError
from mlver.history import tables as history_tables
from mlver.history.event import SetRemoved
from mlver.history.index import LOGS_FOLDER, NAMES_FOLDER, VersionIndex
from mlver.history.log import EventLog, part_ranges
from mlver.history.manifest_blob import MANIFESTS_FOLDER, manifest_id_of, manifest_name
from mlver.history.records import ArtifactRecord, VersionRecord
from mlver.ids import ManifestId
from mlver.store.aside import AsideStorage
from mlver.store.sqlite import CacheConnection, open_cache


@dataclass(frozen=True, slots=True)
class ManifestState:
    """What is known of a manifest that decides whether it stays.

    Attributes:
        live: Names of the versions that have it and are not removed.
        removed: Names of those that are.
        idle_since_ns: When it was last written, or a version with it removed, whichever was later; None for one that
            is not here.
    """

    live: tuple[str, ...]
    removed: tuple[str, ...]
    idle_since_ns: int | None


@dataclass(frozen=True, slots=True)
class Horizon:
    """From when on what is not used is too old to stay.

    Attributes:
        now_ns: The time by the store's clock, in nanoseconds.
        grace_ns: How long what is not used stays; 0: not at all, whatever clocks say.
    """

    now_ns: int
    grace_ns: int

    def is_past(self, time_ns: int) -> bool:
        """Tell whether something idle since then is too old to stay."""
        return self.grace_ns == 0 or self.now_ns - time_ns >= self.grace_ns


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of versions by artifact, and then by number."""
    split = sorted((name.rpartition(":v")[::2] for name in names), key=lambda pair: (pair[0], int(pair[1])))
    return tuple(f"{artifact}:v{number}" for artifact, number in split)


def stays(state: ManifestState, horizon: Horizon) -> bool:
    """Tell whether a manifest stays."""
    return bool(state.live) or state.idle_since_ns is None or not horizon.is_past(state.idle_since_ns)


class Logs:
    """The logs of a repository, folded anew for this purpose: what is deleted must not depend on a cache.

    Args:
        storage: The repository's.
    """

    def __init__(self, storage: AsideStorage) -> None:
        self._storage = storage
        self._cache: CacheConnection = open_cache(None, (history_tables.SCHEMA,))
        self.index = VersionIndex(self._cache, storage)
        self._removals: dict[tuple[str, int], int] = {}
        """Numbers of the events that removed versions, by folder and version."""

    def close(self) -> None:
        """Let the memory go."""
        self._cache.close()

    def states(self) -> dict[ManifestId, ManifestState]:
        """Return what is known of every manifest that a version has, or that is here, as of now.

        Raises:
            IntegrityError: An event is damaged or missing, or a log belongs to no artifact.
            MlverError: Something cannot be listed or read.
        """
        folders = self._storage.list(LOGS_FOLDER)  # first: who makes an artifact tells of it before there is its log
        self.index.refresh()
        self._check_folders(folders)
        states: dict[ManifestId, ManifestState] = {}
        for artifact in self.index.artifacts():
            versions = self.index.versions(artifact, removed=True)
            removed_at = self._removed_at(artifact, [version for version in versions if version.removed])
            for version in versions:
                note_version(states, version, removed_at.get(version.number, 0))
        for name in self._storage.list(MANIFESTS_FOLDER):
            if (identity := manifest_id_of(name)) is not None:
                states.setdefault(identity, ManifestState((), (), 0))
        return {identity: self._dated(identity, state) for identity, state in states.items()}

    def heads(self) -> dict[str, str]:
        """Return the number and write id of the newest event of each log, by folder, as it was folded last."""
        found = {NAMES_FOLDER: self._head(None)}
        return found | {f"{LOGS_FOLDER}/{a.folder}": self._head(a) for a in self.index.artifacts(empty=True)}

    def _head(self, artifact: ArtifactRecord | None) -> str:
        events = self.index.events(artifact, limit=1)
        return f"{events[0].number} {events[0].write_id}" if events else "-"

    def _check_folders(self, folders: list[str]) -> None:
        """Refuse logs of artifacts that the log of names does not have: then it is not all there."""
        known = {artifact.folder for artifact in self.index.artifacts(empty=True)}
        if strange := sorted(set(folders) - known):
            raise IntegrityError(
                f"There is a log of {strange[0]!r}, which no event in names/ tells of.",
                "Nothing was deleted. mlver verify tells more.",
            )

    def _removed_at(self, artifact: ArtifactRecord, versions: list[VersionRecord]) -> dict[int, int]:
        """Return when each of the versions was removed, by number: the time of the file of the event that did it."""
        if not versions:
            return {}
        parts = part_ranges(self._storage, f"{LOGS_FOLDER}/{artifact.folder}")
        events = self._removal_events(artifact, {version.number for version in versions})
        found: dict[int, int] = {}
        for version, event in events.items():
            part = next(part for part, end in parts if part.start <= event < end)
            log = EventLog(self._storage, f"{LOGS_FOLDER}/{artifact.folder}", part.name)
            modified_ns = self._storage.modified_ns(log.event_name(event))
            if modified_ns is None:
                raise IntegrityError(f"Event {log.event_name(event)} is missing.", "Nothing was deleted.")
            found[version] = modified_ns
        return found

    def _removal_events(self, artifact: ArtifactRecord, wanted: set[int]) -> dict[int, int]:
        """Return the number of the last event that removed each of the versions."""
        found: dict[int, int] = {}
        for event in self.index.events(artifact):
            for action in event.actions:
                if isinstance(action, SetRemoved) and action.removed and action.version in wanted:
                    found.setdefault(action.version, event.number)
            if len(found) == len(wanted):
                break
        return found

    def _dated(self, identity: ManifestId, state: ManifestState) -> ManifestState:
        if state.live:
            return ManifestState(state.live, state.removed, 0)
        written_ns = self._storage.modified_ns(manifest_name(identity))
        idle_ns = None if written_ns is None else max(written_ns, state.idle_since_ns or 0)
        return ManifestState(state.live, state.removed, idle_ns)


def note_version(states: dict[ManifestId, ManifestState], version: VersionRecord, removed_at_ns: int) -> None:
    """Note a version with the state of its manifest.

    Args:
        states: The states so far.
        version: The version.
        removed_at_ns: When it was removed, if it was.
    """
    before = states.get(version.id, ManifestState((), (), 0))
    if version.removed:
        idle_ns = max(before.idle_since_ns or 0, removed_at_ns)
        states[version.id] = ManifestState(before.live, (*before.removed, version.name), idle_ns)
    else:
        states[version.id] = ManifestState((*before.live, version.name), before.removed, before.idle_since_ns)
