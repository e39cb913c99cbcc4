"""What a repository uses and what it has: **logs → manifests → chunks; packs → chunks**. Looked at more than once.

The order matters: who writes publishes packs, then the manifest, then the event. So events are looked at first here and
packs last, and what a manifest that was seen rests on is seen too. What appeared or was touched since the first look is
kept, whatever its age.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from mlver.errors import IntegrityError, NotFoundError
from mlver.history.manifest_blob import chunk_ids, manifest_name
from mlver.ids import ManifestId, PackId
from mlver.ops.collect.kept import Horizon, Logs, ManifestState, in_order, stays
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
from mlver.ops.remotes.elsewhere import published
from mlver.store.local import LocalStorage
from mlver.store.pack import PACKS_FOLDER, pack_id_of, pack_name

if TYPE_CHECKING:
    from mlver.ops.collect.stock import Keys

_INCOMING_FOLDER = "incoming"
_LOOKS = 3
_REFUSAL = "Nothing was deleted. Mend it (see mlver verify) or remove the version, then run mlver gc again."


@dataclass(frozen=True, slots=True)
class PackFile:
    """A pack as a file: its size in bytes, and when it was written by the store's clock."""

    size_bytes: int
    modified_ns: int


class Survey:
    """What is used and what is there. `look` brings it up to date.

    Args:
        repository: Which repository.
        horizon: What is too old to stay unused.
        only: Removed versions whose content may go; None for all.
    """

    def __init__(self, repository: OpenRepository, horizon: Horizon, only: Collection[str] | None = None) -> None:
        self.horizon = horizon
        self._only = None if only is None else frozenset(only)
        self.states: dict[ManifestId, ManifestState] = {}
        self.contents: dict[PackId, PackContent] = {}
        self.files: dict[PackId, PackFile] = {}
        self._repository = repository
        self._storage = repository.storage
        self._logs = Logs(repository.storage)
        self._first: dict[ManifestId, ManifestState] | None = None
        self._keys: dict[ManifestId, Keys] = {}
        """What each manifest uses that stays."""
        self._received: dict[PackId, Keys] = {}

    def close(self) -> None:
        """Let the memory go."""
        self._logs.close()

    def look(self, aside: Collection[PackId] = ()) -> None:
        """See what there is now.

        Args:
            aside: Packs that were set aside; what they hold is remembered.

        Raises:
            IntegrityError: Something is damaged or missing, so that nobody can tell what is used.
            MlverError: Something cannot be listed or read.
        """
        self.states = self._logs.states()
        if self._first is None:
            self._first = self.states
        for identity, state in self.states.items():
            is_here = state.live or state.idle_since_ns is not None
            if is_here and identity not in self._keys and self.stays(identity):
                self._read_manifest(identity, state)
        self._look_into_incoming()  # before the packs, since what was received becomes one of them
        self._look_into_packs()
        gone = self.contents.keys() - self.files.keys() - set(aside)
        for pack in gone:
            del self.contents[pack]

    def stays(self, identity: ManifestId) -> bool:
        """Tell whether a manifest stays: it is in use, young, or was touched since the first look."""
        state = self.states[identity]
        if self._only is not None and not self._only.issuperset(state.removed):
            return True
        return stays(state, self.horizon) or (self._first or {}).get(identity) != state

    def going(self) -> list[ManifestId]:
        """Return the manifests that are here and do not stay."""
        return sorted(identity for identity in self.states if not self.stays(identity))

    def keys(self, identity: ManifestId) -> Keys:
        """Return uint64, sorted: the chunks that a manifest uses which stays; none of one that is not here."""
        return self._keys.get(identity, united())

    def heads(self) -> dict[str, str]:
        """Return the number and write id of the newest event of each log, by folder, as of the last look."""
        return self._logs.heads()

    def stock(self) -> Stock:
        """Return what is in the packs, those among them that were set aside."""
        return gather(self.contents)

    def used(self) -> Keys:
        """Return uint64, sorted: the chunks that manifests which stay use, and what was received and waits."""
        return united(*self._keys.values(), *self._received.values())

    def settled(self) -> dict[PackId, bool]:
        """Return of each pack whether it is so old that whoever wrote it has said by now what it is for."""
        return {pack: self.horizon.is_past(self.files[pack].modified_ns) for pack in self.contents}

    def waiting(self) -> tuple[str, ...]:
        """Return the removed versions whose content stays only because they were removed lately."""
        states = self.states.items()
        names = (
            state.removed
            for identity, state in states
            if not state.live and state.idle_since_ns is not None and self.stays(identity)
        )
        return in_order(name for group in names for name in group)

    def look_until_whole(self) -> None:
        """Look, and refuse to go on where a version that is in use is not wholly here and nowhere else either.

        What is damaged may be mended yet, from what looks superfluous as long as it is.

        Raises:
            IntegrityError: See above, and `look`.
            MlverError: See `look`.
        """
        self.look()
        looks = 1
        while (lost := self._lost_version()) is not None:
            if looks == _LOOKS:
                raise IntegrityError(f"Chunks of {lost} are missing.", _REFUSAL)
            self.look()  # another collector may have moved them meanwhile
            looks += 1

    def _lost_version(self) -> str | None:
        """Return a version that is in use and not wholly here, nor at a remote."""
        stock = self.stock()
        mine = {
            identity: keys
            for identity, keys in self._keys.items()
            if self.states[identity].live and identity not in self._published
        }
        every = united(*mine.values())
        if contains(united(stock.keys), with_bases(stock, every)).all():
            return None
        lost = undecodable(self.contents.values(), every)
        hurt = (identity for identity, keys in mine.items() if lost.intersection(keys.tolist()))
        return next((self.states[identity].live[0] for identity in hurt), None)

    @cached_property
    def _published(self) -> set[ManifestId]:
        """Manifests of versions that some remote has."""
        if self._repository.config.remotes:
            self._repository.index.refresh()
        return published(self._repository)

    def _read_manifest(self, identity: ManifestId, state: ManifestState) -> None:
        try:
            self._keys[identity] = keys_of(chunk_ids(self._storage, identity))
        except IntegrityError as error:
            if identity in self._published and not self._storage.exists(manifest_name(identity)):
                return  # it is at a remote, and was never here
            name = state.live[0] if state.live else identity
            raise IntegrityError(f"What {name} uses cannot be told: {error.message}", _REFUSAL) from error

    def _look_into_packs(self) -> None:
        while not self._look_into_listed(self._listed_packs()):
            pass  # another collector was at work

    def _listed_packs(self) -> list[str]:
        """List the packs until two listings agree: else one that is replaced meanwhile may be in neither form."""
        names = self._storage.list(PACKS_FOLDER)
        while (again := self._storage.list(PACKS_FOLDER)) != names:
            names = again
        return names

    def _look_into_listed(self, names: list[str]) -> bool:
        """Read the indexes of packs that were not read yet; False if one is gone."""
        self.files = {}
        for pack in filter(None, map(pack_id_of, names)):
            name = pack_name(pack)
            try:
                self.files[pack] = PackFile(self._storage.size(name), self._storage.modified_ns(name) or 0)
                if pack not in self.contents:
                    self.contents[pack] = read_content(self._storage, name)
            except NotFoundError:
                return False
            except IntegrityError as error:
                raise IntegrityError(error.message, _REFUSAL) from error
        return True

    def _look_into_incoming(self) -> None:
        """Count what was received and is not in its place yet as used, and what it rests on too."""
        root = self._repository.own_folder(_INCOMING_FOLDER)
        if not root.is_dir():
            return
        storage = LocalStorage(root)
        for name in storage.list(PACKS_FOLDER):
            pack = pack_id_of(name)
            if pack is None or pack in self._received:
                continue
            try:
                content = read_content(storage, pack_name(pack))
            except (NotFoundError, IntegrityError):
                continue  # it is in its place by now, or whoever received it will throw it away
            self._received[pack] = united(content.keys, content.bases)
