"""`gc --remote`: **claim → copy what is needed → look once more → delete**. Others may push and pull meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from mlver.errors import IntegrityError, MlverError, RemoteError
from mlver.history.manifest_blob import MANIFESTS_FOLDER, chunk_ids, manifest_name
from mlver.ids import DIGEST_SIZE, ChunkId, ManifestId, PackId
from mlver.ops.collect.collect import CollectResult, groups_of, planned_result
from mlver.ops.collect.kept import Horizon, in_order
from mlver.ops.collect.plan import PackPlan, plan_packs
from mlver.ops.collect.rewriting import DamagedPackError, Rewriter
from mlver.ops.collect.stock import contains, united, with_bases
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress, Silent
from mlver.ops.remotes.collect.claims import CLAIMS_FOLDER, encode_claim, new_claim
from mlver.ops.remotes.collect.survey import RemoteSurvey
from mlver.ops.remotes.fetch import CONNECTIONS
from mlver.ops.remotes.opening import OpenRemote, open_remote
from mlver.ops.remotes.pack_listing import hint_name, refresh_packs, write_hint
from mlver.store.pack import pack_name

if TYPE_CHECKING:
    from mlver.ops.collect.stock import Keys

WORTH_SENDING = 0.5
"""Part of a pack that must be superfluous before it is fetched and sent anew: as much as that has to travel."""
CLAIM_SECONDS = 86_400.0
"""How long after its claim a collector may delete; a claim that is twice as old is nobody's any more."""


def collect_remote(
    repository: OpenRepository,
    remote_name: str | None,
    grace_seconds: float,
    progress: Progress | None = None,
    *,
    dry_run: bool = False,
) -> CollectResult:
    """Delete from a remote what no version there uses, and has not used for a while.

    Args:
        repository: Who asks.
        remote_name: As in `config.toml`; None is the usual one.
        grace_seconds: How long what is not used stays; 0: nothing does, which is for someone who knows to be alone.
        progress: Told of the bytes written anew.
        dry_run: Only say what would be done.

    Raises:
        NotFoundError: There is no such remote.
        IntegrityError: Something there is damaged or missing, so that nobody can tell what is used.
        RemoteError: The remote failed; what was not deleted then is by the next one.
    """
    with open_remote(repository, remote_name) as remote:
        if remote.is_read_only:
            raise RemoteError(f"Nothing can be deleted from {remote.address.url}.")
        repository.index.refresh()
        collection = _Collection(repository, remote, round(grace_seconds * 1e9), progress or Silent())
        return collection.only_plan() if dry_run else collection.run()


class _Collection:
    """One collection of a remote."""

    def __init__(self, repository: OpenRepository, remote: OpenRemote, grace_ns: int, progress: Progress) -> None:
        self._repository = repository
        self._remote = remote
        self._grace_ns = grace_ns
        self._progress = progress
        self._survey = RemoteSurvey(repository, remote)
        self._claim = new_claim()
        self._claimed_at = 0.0
        self._damaged: list[str] = []

    def only_plan(self) -> CollectResult:
        """Say what would be done, by this machine's clock: nothing is written there that would tell the remote's."""
        plan = self._plan(time.time_ns())
        return replace(planned_result(self._survey, plan, is_dry_run=True), remote=self._remote.name)

    def run(self) -> CollectResult:
        """Do it. Whatever fails, the claim is taken back: nothing is deleted after that."""
        try:
            self._remote.storage.put(self._claim, b"")  # whose time is what the remote's clock says
            now_ns = self._time_there()
            self._clear_old_claims(now_ns)
            plan = self._plan(now_ns)
            planned = planned_result(self._survey, plan, is_dry_run=False)
            return self._carry_out(plan, replace(planned, remote=self._remote.name))
        finally:
            with suppress(MlverError):  # one that stays costs pushes time, and is cleared away two days later
                self._remote.storage.delete(self._claim)

    def _time_there(self) -> int:
        """Return when the claim was written, by the remote's clock."""
        self._survey.list_all()
        if self._claim not in self._survey.blobs:
            raise IntegrityError(f"{self._remote.name} does not list all that it has.", "Nothing was deleted.")
        return self._survey.blobs[self._claim].modified_ns

    def _plan(self, now_ns: int) -> PackPlan:
        self._survey.look(Horizon(now_ns, self._grace_ns))
        self._survey.refuse_losses()
        return plan_packs(self._survey.stock(), self._survey.used(), self._survey.settled(), WORTH_SENDING)

    def _clear_old_claims(self, now_ns: int) -> None:
        """Remove the claims of collectors that are dead."""
        for name, blob in self._survey.blobs.items():
            if not name.startswith(f"{CLAIMS_FOLDER}/") or name == self._claim:
                continue
            if self._grace_ns == 0 or now_ns - blob.modified_ns > 2 * CLAIM_SECONDS * 1e9:
                self._remote.storage.delete(name)

    def _carry_out(self, plan: PackPlan, planned: CollectResult) -> CollectResult:
        manifests = self._survey.going()
        if not manifests and not plan.delete and not plan.rewrite:
            return planned
        names = {identity: self._survey.states[identity].removed for identity in manifests}
        self._claimed_at = _uptime()
        self._remote.storage.put(self._claim, encode_claim(manifests, (*plan.delete, *plan.rewrite)))
        rewritten = self._rewrite(plan)
        self._survey.look(self._survey.horizon)
        gone = [
            identity for identity in manifests if identity in self._survey.states and not self._survey.stays(identity)
        ]
        packs = self._deletable(plan, [*plan.delete, *rewritten])
        self._update_hints(plan, packs)
        self._delete_all(name for identity in gone for name in (hint_name(identity), manifest_name(identity)))
        self._remote.storage.sync(MANIFESTS_FOLDER)  # one that came back after a power cut would name what is gone
        self._delete_all(map(pack_name, packs))
        self._survey.list_all()
        return replace(
            planned,
            versions=in_order(name for identity in gone for name in names[identity]),
            deleted_packs=len(set(packs) & set(plan.delete)),
            rewritten_packs=len(set(packs) & set(rewritten)),
            bytes_after=sum(blob.size_bytes for blob in self._survey.files.values()),
            damaged=tuple(self._damaged),
        )

    def _rewrite(self, plan: PackPlan) -> list[PackId]:
        """Send what is needed of some packs in new ones; return the packs that are superfluous then."""
        needed_bytes = [(pack, plan.figures[pack].needed_bytes) for pack in plan.rewrite]
        self._progress.start(sum(size for _, size in needed_bytes), f"Collecting at {self._remote.name}")
        try:
            return [pack for group in groups_of(needed_bytes) for pack in self._rewrite_group(plan, group)]
        finally:
            self._progress.done()

    def _rewrite_group(self, plan: PackPlan, group: Sequence[PackId]) -> list[PackId]:
        packs = list(group)
        while packs:
            try:
                Rewriter(self._remote.storage, plan.needed, self._progress).copy(packs)
            except DamagedPackError as damage:
                if isinstance(damage.error, IntegrityError):
                    self._damaged.append(damage.error.message)  # else another collector was faster
                packs.remove(damage.pack)
            else:
                break
        return packs

    def _deletable(self, plan: PackPlan, packs: Sequence[PackId]) -> list[PackId]:
        """Return those of the claimed packs in which nothing is needed now that is not elsewhere."""
        needed = self._needed_now(plan, packs)
        found = []
        for pack in packs:
            content = self._survey.contents.get(pack)
            if content is None:
                continue  # another collector was faster
            if not contains(needed, content.keys[~contains(plan.needed, content.keys)]).any():
                found.append(pack)
        return found

    def _needed_now(self, plan: PackPlan, packs: Sequence[PackId]) -> Keys:
        """Return uint64, sorted: what is needed as of the last look, and all that packs which stay rest on."""
        import numpy as np

        stock = self._survey.stock()
        stays = np.array([pack not in packs for pack in stock.packs], np.bool_)
        held = stock.bases[stays[stock.base_pack_of]] if len(stock.packs) else stock.bases
        return with_bases(stock, united(self._survey.used(), plan.needed, held))

    def _update_hints(self, plan: PackPlan, packs: Sequence[PackId]) -> None:
        """Say anew where chunks are that were in packs which go: not every reader can list packs."""
        if not packs:
            return
        moved = united(*(self._survey.contents[pack].keys for pack in packs))
        users = self._survey.users_of(moved[contains(plan.needed, moved)])
        refresh_packs(self._remote, leave_out=packs)

        def update(identity: ManifestId) -> None:
            ids = self._chunk_ids(identity)
            chunks = [ChunkId(ids[at : at + DIGEST_SIZE]) for at in range(0, len(ids), DIGEST_SIZE)]
            write_hint(self._remote, identity, chunks)

        self._each(update, users)

    def _chunk_ids(self, identity: ManifestId) -> bytes:
        try:
            return chunk_ids(self._repository.storage, identity)
        except IntegrityError:
            return chunk_ids(self._remote.storage, identity)

    def _delete_all(self, names: Iterable[str]) -> None:
        def delete(name: str) -> None:
            if self._grace_ns and _uptime() - self._claimed_at > CLAIM_SECONDS:
                raise RemoteError(
                    "This took so long that others may not wait for it any more.",
                    "Run mlver gc --remote again: it goes on from here.",
                )
            self._remote.storage.delete(name)

        self._each(delete, list(names))

    def _each(self, work: Callable[..., None], items: Sequence[object]) -> None:
        with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="mlver-collect") as pool:
            list(pool.map(work, items))


def _uptime() -> float:
    """Return how long this machine is up, its sleep included, in seconds: nobody can set that."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
