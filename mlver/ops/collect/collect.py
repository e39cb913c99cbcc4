"""`gc`: **what is used → what may go → set aside → looked at once more → deleted**.

Manifests go before packs, whole packs before any is written anew, and small ones before large ones: so it works on a
full disk. Killed at any instant it leaves things as they are or aside, where readers find them and the next one begins.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlver.errors import IntegrityError, MlverError
from mlver.history.manifest_blob import MANIFESTS_FOLDER, manifest_id_of, manifest_name
from mlver.ids import ManifestId, PackId
from mlver.ops.collect.clock import start_collection
from mlver.ops.collect.kept import Horizon, in_order
from mlver.ops.collect.plan import PackPlan, plan_packs
from mlver.ops.collect.rewriting import DamagedPackError, Rewriter
from mlver.ops.collect.stock import contains, united, with_bases
from mlver.ops.collect.survey import Survey
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress, Silent
from mlver.store.aside import Aside, find_aside, put_all_back
from mlver.store.pack import PACK_TARGET_BYTES, PACKS_FOLDER, pack_name
from mlver.store.sqlite import CacheDamaged

if TYPE_CHECKING:
    from mlver.ops.collect.stock import Keys
    from mlver.ops.remotes.collect.survey import RemoteSurvey

DEFAULT_GRACE_SECONDS = 14 * 86_400.0
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MAX_LOOKS = 10


@dataclass(frozen=True, slots=True)
class CollectResult:
    """What `gc` did, or would do. Sizes are bytes.

    Attributes:
        is_dry_run: Nothing was done.
        versions: Removed versions whose content goes, as `NAME:vN`: they cannot be restored any more.
        deleted_packs: Packs that go as they are.
        rewritten_packs: Packs that are written anew without what nobody uses.
        bytes_before: Size of all packs before.
        bytes_after: Size of all packs after; an estimate in a dry run.
        waiting: Versions that were removed lately, whose content stays for the grace period.
        left_bytes: What nobody uses and stays yet: it is young, or in packs of which it is too small a part.
        held_bytes: What no version uses and stays because something rests on it.
        stopped: Why not everything was done that could have been, if so.
        damaged: What is wrong with packs that could not be written anew, and were left alone.
        remote: Where, if it was not here.
    """

    is_dry_run: bool
    versions: tuple[str, ...]
    deleted_packs: int
    rewritten_packs: int
    bytes_before: int
    bytes_after: int
    left_bytes: int
    held_bytes: int
    waiting: tuple[str, ...] = ()
    stopped: str | None = None
    damaged: tuple[str, ...] = ()
    remote: str | None = None

    @property
    def freed_bytes(self) -> int:
        """How much smaller the packs are."""
        return self.bytes_before - self.bytes_after


def collect(
    repository: OpenRepository,
    grace_seconds: float = DEFAULT_GRACE_SECONDS,
    progress: Progress | None = None,
    *,
    dry_run: bool = False,
    only: Collection[str] | None = None,
    max_rewrite_bytes: int | None = None,
) -> CollectResult:
    """Delete what no version uses, and has not used for a while. Others may work meanwhile.

    Args:
        repository: The repository.
        grace_seconds: How long what is not used stays; 0: nothing does, which is for someone who knows to be alone.
        progress: Told of the bytes written anew.
        dry_run: Only say what would be done.
        only: Removed versions whose content may go, as `NAME:vN`; None for all.
        max_rewrite_bytes: How much to write anew at most; None for all that is worth it.

    Raises:
        IntegrityError: Something is damaged or missing, so that nobody can tell what is used; nothing was deleted.
        MlverError: Something cannot be listed, read or written; what was set aside is back in its place.
    """
    storage = repository.storage
    if dry_run:
        now_ns = storage.now_ns()
    else:
        storage.sweep()
        put_all_back(storage, PACKS_FOLDER)  # of a collection that was killed
        now_ns = start_collection(storage)
    survey = Survey(repository, Horizon(now_ns, round(grace_seconds * 1e9)), only)
    try:
        survey.look_until_whole()
        plan = plan_packs(survey.stock(), survey.used(), survey.settled())
        planned = planned_result(survey, plan, is_dry_run=dry_run)
        if dry_run:
            return planned
        return _Collection(repository, survey, plan, progress or Silent(), max_rewrite_bytes).run(planned)
    finally:
        survey.close()


def planned_result(survey: Survey | RemoteSurvey, plan: PackPlan, *, is_dry_run: bool) -> CollectResult:
    """Return what carrying out a plan would come to, as far as is known before."""
    before = sum(file.size_bytes for file in survey.files.values())
    freed = sum(survey.files[pack].size_bytes for pack in plan.delete)
    freed += sum(plan.figures[pack].dead_bytes for pack in plan.rewrite)
    return CollectResult(
        is_dry_run=is_dry_run,
        versions=in_order(name for identity in survey.going() for name in survey.states[identity].removed),
        deleted_packs=len(plan.delete),
        rewritten_packs=len(plan.rewrite),
        bytes_before=before,
        bytes_after=before - freed,
        left_bytes=plan.dead_bytes_left,
        held_bytes=plan.held_bytes,
        waiting=survey.waiting(),
    )


class _Collection:
    """One collection under way. Whatever fails, what was set aside and not deleted is put back."""

    def __init__(
        self,
        repository: OpenRepository,
        survey: Survey,
        plan: PackPlan,
        progress: Progress,
        max_rewrite_bytes: int | None,
    ) -> None:
        self._repository = repository
        self._storage = repository.storage
        self._aside = Aside(repository.storage)
        self._survey = survey
        self._plan = plan
        self._progress = progress
        self._max_rewrite_bytes = max_rewrite_bytes
        self._deleted = 0
        self._rewritten = 0
        self._stopped: str | None = None
        self._damaged: list[str] = []
        self._going = {*plan.delete, *plan.rewrite}

    def run(self, planned: CollectResult) -> CollectResult:
        """Carry out the plan."""
        try:
            versions = self._drop_unused()
            self._rewrite()
        except BaseException:
            self._aside.put_all_back()
            raise
        finally:
            self._tell_index()
        self._survey.look()
        return replace(
            planned,
            versions=versions,
            deleted_packs=self._deleted,
            rewritten_packs=self._rewritten,
            bytes_after=sum(file.size_bytes for file in self._survey.files.values()),
            stopped=self._stopped,
            damaged=tuple(self._damaged),
        )

    # Manifests, and packs in which nothing is used

    def _drop_unused(self) -> tuple[str, ...]:
        """Delete manifests that do not stay and packs that nobody needs; return the versions that are gone."""
        going = self._survey.going()
        names = {identity: state.removed for identity, state in self._survey.states.items()}
        aside = [identity for identity in going if self._aside.take(manifest_name(identity))]
        aside += self._take_over()
        packs = [pack for pack in self._plan.delete if self._aside.take(pack_name(pack))]
        gone = self._look_again(aside, packs)
        for identity in gone:
            self._aside.delete(manifest_name(identity))
        self._deleted = self._settle(packs, self._plan.needed)
        return in_order(name for identity in gone for name in names.get(identity, ()))

    def _take_over(self) -> list[ManifestId]:
        """Take the manifests that a collection which was killed, or is under way too, has aside."""
        found = [(aside, name, manifest_id_of(name)) for aside, name in find_aside(self._storage, MANIFESTS_FOLDER)]
        mine = {self._aside.name(name) for _, name, _ in found}
        return [
            identity
            for aside, name, identity in found
            if identity is not None and aside not in mine and self._aside.take_over(aside, name)
        ]

    def _look_again(self, aside: Sequence[ManifestId], packs: Sequence[PackId]) -> list[ManifestId]:
        """Look until nothing that is aside turns out to be used; return the manifests that are not."""
        gone = list(aside)
        for _ in range(_MAX_LOOKS):
            self._survey.look(packs)
            used = [identity for identity in gone if self._is_used(identity)]
            if not used:
                return gone
            for identity in used:
                self._aside.put_back(manifest_name(identity))
            gone = [identity for identity in gone if identity not in used]
        raise MlverError("What is used changes all the time.", "Nothing was deleted; run mlver gc again.")

    def _is_used(self, identity: ManifestId) -> bool:
        """Tell whether a manifest that is aside is needed after all: by a version, or written anew before it was."""
        state = self._survey.states.get(identity)
        if state is not None and state.live:
            return True
        written_ns = self._storage.modified_ns(self._aside.name(manifest_name(identity)))
        return written_ns is not None and not self._survey.horizon.is_past(written_ns)

    # Packs that are written anew

    def _rewrite(self) -> None:
        packs = self._worth_the_time()
        self._progress.start(sum(needed_bytes for _, needed_bytes in packs), "Collecting")
        try:
            for group in groups_of(packs):
                if not self._rewrite_group(group):
                    return
        finally:
            self._progress.done()

    def _worth_the_time(self) -> list[tuple[PackId, int]]:
        """Return the packs to write anew, with what is needed of each in bytes."""
        chosen: list[tuple[PackId, int]] = []
        total = 0
        for pack in self._plan.rewrite:
            needed_bytes = self._plan.figures[pack].needed_bytes
            total += needed_bytes
            if self._max_rewrite_bytes is not None and total > self._max_rewrite_bytes:
                break
            chosen.append((pack, needed_bytes))
        return chosen

    def _rewrite_group(self, group: Sequence[PackId]) -> bool:
        """Write some packs anew; False if there is no room for it."""
        packs = list(group)
        while packs:
            try:
                Rewriter(self._storage, self._plan.needed, self._progress).copy(packs)
            except DamagedPackError as damage:
                if isinstance(damage.error, IntegrityError):
                    self._damaged.append(damage.error.message)  # else another collector was faster
                packs.remove(damage.pack)
                continue
            except MlverError as error:
                if getattr(error.__cause__, "errno", None) not in _NO_ROOM:
                    raise
                if len(packs) > 1:  # one after another needs less room at a time
                    return all(self._rewrite_group([pack]) for pack in packs)
                self._stopped = f"{error.message} That is where it was stopped; nothing was lost."
                return False
            aside = [pack for pack in packs if self._aside.take(pack_name(pack))]
            self._survey.look(aside)
            self._rewritten += self._settle(aside, self._plan.needed)
            return True
        return True

    def _settle(self, aside: Sequence[PackId], elsewhere: Keys) -> int:
        """Delete packs that are aside, but put those back in which something is needed now; return how many went.

        Args:
            aside: The packs.
            elsewhere: uint64, sorted: chunks that are not lost with them, since they were copied or are not in them.
        """
        needed = self._needed_now()
        deleted = 0
        for pack in aside:
            keys = self._survey.contents[pack].keys
            if contains(needed, keys[~contains(elsewhere, keys)]).any():
                self._aside.put_back(pack_name(pack))
                continue
            self._aside.delete(pack_name(pack))
            deleted += 1
        return deleted

    def _needed_now(self) -> Keys:
        """Return uint64, sorted: what is needed as of the last look, and all that packs which stay rest on."""
        stock = self._survey.stock()
        import numpy as np

        stays = np.array([pack not in self._going for pack in stock.packs], np.bool_)
        held = stock.bases[stays[stock.base_pack_of]]
        return with_bases(stock, united(self._survey.used(), self._plan.needed, held))

    def _tell_index(self) -> None:
        try:
            self._repository.refresh_packs()
        except CacheDamaged as damage:  # it is only a cache, and what was done is done
            self._repository.reopen(damage)


def groups_of(packs: Sequence[tuple[PackId, int]]) -> Iterator[list[PackId]]:
    """Yield packs in groups that fill one new pack, given what is needed of each in bytes."""
    group: list[PackId] = []
    size_bytes = 0
    for pack, needed_bytes in packs:
        if group and size_bytes + needed_bytes > PACK_TARGET_BYTES:
            yield group
            group, size_bytes = [], 0
        group.append(pack)
        size_bytes += needed_bytes
    if group:
        yield group
