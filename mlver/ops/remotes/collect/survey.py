"""What a remote uses and what it has: **one listing → logs → manifests → chunks; packs → chunks**. Looked at twice.

Everything is compared with what the listing says: an event, a manifest or a pack that can be read and is not listed
means that the listing cannot be relied on, and then nothing is deleted. Manifests are read here if they are here, since
their names are their digests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from mlver.errors import IntegrityError, MlverError, NotFoundError
from mlver.history import tables as history_tables
from mlver.history.event import Event, SetRemoved
from mlver.history.index import LOGS_FOLDER, NAMES_FOLDER, VersionIndex
from mlver.history.manifest_blob import MANIFESTS_FOLDER, chunk_ids, manifest_id_of, manifest_name
from mlver.history.records import ArtifactRecord
from mlver.ids import ManifestId, PackId
from mlver.ops.collect.kept import Horizon, ManifestState, in_order, note_version, stays
from mlver.ops.collect.stock import (
    PackContent,
    Stock,
    contains,
    gather,
    keys_of,
    read_content,
    undecodable,
    united,
    with_bases,
)
from mlver.ops.opening import OpenRepository
from mlver.ops.parallel import run_ordered
from mlver.ops.remotes.fetch import CONNECTIONS, log_of
from mlver.ops.remotes.opening import OpenRemote
from mlver.store.pack import PACKS_FOLDER, pack_id_of, pack_name
from mlver.store.sqlite import open_cache
from mlver.store.storage import Blob

if TYPE_CHECKING:
    from mlver.ops.collect.stock import Keys

_LOOKS = 5
_REFUSAL = "Nothing was deleted. Mend it (see mlver verify --remote), then run mlver gc --remote again."


class RemoteSurvey:
    """What is used and what is there, at a remote. `look` brings it up to date.

    Args:
        repository: Who asks.
        remote: The remote.
    """

    def __init__(self, repository: OpenRepository, remote: OpenRemote) -> None:
        self.blobs: Mapping[str, Blob] = {}
        self.states: dict[ManifestId, ManifestState] = {}
        self.contents: dict[PackId, PackContent] = {}
        self.horizon = Horizon(0, 0)
        self._repository = repository
        self._remote = remote
        self._events: dict[str, list[Event]] = {}
        self._keys: dict[ManifestId, Keys] = {}
        self._first: dict[ManifestId, ManifestState] | None = None

    @property
    def files(self) -> dict[PackId, Blob]:
        """The packs that are listed."""
        found = {pack_id_of(name): blob for name, blob in self.blobs.items() if name.startswith(f"{PACKS_FOLDER}/")}
        return {pack: blob for pack, blob in found.items() if pack is not None}

    def list_all(self) -> None:
        """List the remote anew."""
        self.blobs = self._remote.storage.list_blobs("")

    def look(self, horizon: Horizon) -> None:
        """See what there is now.

        Args:
            horizon: What is too old to stay unused.

        Raises:
            IntegrityError: Something is damaged or missing, or the listing is not what is there.
            RemoteError: The remote failed.
        """
        self.horizon = horizon
        for _ in range(_LOOKS):
            self.list_all()
            if self._read_logs() and self._read_packs():
                break  # else something came or went meanwhile
        else:
            raise IntegrityError(f"{self._remote.name} does not list all that it has.", "Nothing was deleted.")
        self.states = self._manifest_states()
        self._first = self._first or self.states
        self._read_manifests()

    def stays(self, identity: ManifestId) -> bool:
        """Tell whether a manifest stays: it is in use, young, or was touched since the first look."""
        state = self.states[identity]
        return stays(state, self.horizon) or (self._first or {}).get(identity) != state

    def going(self) -> list[ManifestId]:
        """Return the manifests that are there and do not stay."""
        return sorted(identity for identity in self.states if not self.stays(identity))

    def stock(self) -> Stock:
        """Return what is in the packs."""
        return gather(self.contents)

    def used(self) -> Keys:
        """Return uint64, sorted: the chunks that manifests use which stay."""
        return united(*(keys for identity, keys in self._keys.items() if self.stays(identity)))

    def users_of(self, keys: Keys) -> list[ManifestId]:
        """Return the manifests that stay and use some of the chunks, or what rests on them."""
        stock = self.stock()
        return [
            identity
            for identity, own in self._keys.items()
            if self.stays(identity) and contains(keys, with_bases(stock, own)).any()
        ]

    def settled(self) -> dict[PackId, bool]:
        """Return of each pack whether it is so old that whoever wrote it has said by now what it is for."""
        return {pack: self.horizon.is_past(blob.modified_ns) for pack, blob in self.files.items()}

    def waiting(self) -> tuple[str, ...]:
        """Return the removed versions whose content stays only because they were removed lately."""
        return in_order(
            name
            for identity, state in self.states.items()
            if not state.live and state.idle_since_ns is not None and self.stays(identity)
            for name in state.removed
        )

    def refuse_losses(self) -> None:
        """Refuse to go on where a version that is in use is not wholly there: what looks superfluous may mend it.

        Raises:
            IntegrityError: One is not.
        """
        stock = self.stock()
        mine = {identity: keys for identity, keys in self._keys.items() if self.states[identity].live}
        every = united(*mine.values())
        if contains(united(stock.keys), with_bases(stock, every)).all():
            return
        lost = undecodable(self.contents.values(), every)
        for identity, keys in mine.items():
            if lost.intersection(keys.tolist()):
                raise IntegrityError(f"Chunks of {self.states[identity].live[0]} are missing there.", _REFUSAL)

    # Logs

    def _read_logs(self) -> bool:
        """Read what is new in all logs; False if something of them is not listed."""
        names = self._names_by_folder()
        self._read_log(NAMES_FOLDER, names)
        folders = [f"{LOGS_FOLDER}/{artifact.folder}" for artifact in self._artifacts()]
        strange = sorted(folder for folder in names if folder.startswith(f"{LOGS_FOLDER}/") and folder not in folders)
        if strange:
            raise IntegrityError(f"There is {strange[0]} at {self._remote.name}, which no event in names/ tells of.")
        with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="mlver-logs") as pool:
            list(pool.map(lambda folder: self._read_log(folder, names), folders))
        return all(
            f"{folder}/{event.number:012d}.json" in self.blobs
            for folder, events in self._events.items()
            for event in events
        )

    def _names_by_folder(self) -> dict[str, set[str]]:
        names: dict[str, set[str]] = {}
        for path in self.blobs:
            folder, _, last = path.rpartition("/")
            if folder == NAMES_FOLDER or folder.startswith(f"{LOGS_FOLDER}/"):
                names.setdefault(folder, set()).add(last)
        return names

    def _read_log(self, folder: str, names: Mapping[str, set[str]]) -> None:
        events = self._events.setdefault(folder, [])
        events += log_of(self._remote, folder).read_from(len(events), names.get(folder, set()))
        known = self._remote.known_head(folder)
        if len(events) <= known:
            raise IntegrityError(f"Event {known} of {folder} is missing at {self._remote.name}.", _REFUSAL)

    def _folded(self) -> VersionIndex:
        index = VersionIndex(open_cache(None, (history_tables.SCHEMA,)), self._remote.storage)
        for event in self._events[NAMES_FOLDER]:
            index.apply(None, event)
        return index

    def _artifacts(self) -> list[ArtifactRecord]:
        return self._folded().artifacts(empty=True)

    # Manifests

    def _manifest_states(self) -> dict[ManifestId, ManifestState]:
        """Return what is known of every manifest that a version has, or that is there."""
        index = self._folded()
        states: dict[ManifestId, ManifestState] = {}
        for artifact in index.artifacts(empty=True):
            folder = f"{LOGS_FOLDER}/{artifact.folder}"
            for event in self._events.get(folder, ()):
                index.apply(artifact, event)
            removals = self._removals(folder)
            for version in index.versions(artifact, removed=True):
                note_version(states, version, removals.get(version.number, 0))
        for path in self.blobs:
            if path.startswith(f"{MANIFESTS_FOLDER}/") and (identity := manifest_id_of(path)) is not None:
                states.setdefault(identity, ManifestState((), (), 0))
        return {identity: self._dated(identity, state) for identity, state in states.items()}

    def _removals(self, folder: str) -> dict[int, int]:
        """Return when versions were removed last, by number: the times of the events' files."""
        return {
            action.version: self.blobs[f"{folder}/{event.number:012d}.json"].modified_ns
            for event in self._events.get(folder, ())
            for action in event.actions
            if isinstance(action, SetRemoved) and action.removed
        }

    def _dated(self, identity: ManifestId, state: ManifestState) -> ManifestState:
        blob = self.blobs.get(manifest_name(identity))
        if state.live:
            if blob is None:
                raise IntegrityError(f"The manifest of {state.live[0]} is not at {self._remote.name}.", _REFUSAL)
            return ManifestState(state.live, state.removed, 0)
        idle_ns = None if blob is None else max(blob.modified_ns, state.idle_since_ns or 0)
        return ManifestState(state.live, state.removed, idle_ns)

    def _read_manifests(self) -> None:
        wanted = [
            identity
            for identity, state in self.states.items()
            if state.idle_since_ns is not None and identity not in self._keys and self.stays(identity)
        ]
        found = run_ordered((partial(self._used_by, identity) for identity in wanted), CONNECTIONS, 4 * CONNECTIONS)
        self._keys.update(zip(wanted, found, strict=True))

    def _used_by(self, identity: ManifestId) -> Keys:
        try:
            return keys_of(chunk_ids(self._repository.storage, identity))
        except MlverError:
            pass  # it is not here, or damaged
        try:
            return keys_of(chunk_ids(self._remote.storage, identity))
        except IntegrityError as error:
            state = self.states[identity]
            name = (*state.live, *state.removed, identity)[0]
            raise IntegrityError(f"What {name} uses cannot be told: {error.message}", _REFUSAL) from error

    # Packs

    def _read_packs(self) -> bool:
        """Read the indexes of packs that were not read yet; False if one is gone."""
        files = self.files
        for pack in self.contents.keys() - files.keys():
            del self.contents[pack]
        news = sorted(files.keys() - self.contents.keys())
        try:
            for pack, content in zip(news, self._contents(news), strict=True):
                self.contents[pack] = content
        except NotFoundError:
            return False
        return True

    def _contents(self, packs: list[PackId]) -> Iterator[PackContent]:
        tasks = (partial(read_content, self._remote.storage, pack_name(pack)) for pack in packs)
        try:
            yield from run_ordered(tasks, CONNECTIONS, 4 * CONNECTIONS)
        except IntegrityError as error:
            raise IntegrityError(error.message, _REFUSAL) from error
