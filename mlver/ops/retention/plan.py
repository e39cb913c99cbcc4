"""`gc --plan` and `gc --apply`: **rules → which versions go, and what that frees → reviewed → exactly that**.

A plan is a value. It remembers the newest event of every log and which packs there were; if any of it is otherwise when
it is carried out, nothing is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mlver.digests import blake3_hex
from mlver.errors import ConflictError, MlverError
from mlver.history.event import Action, SetRemoved
from mlver.history.index import LOGS_FOLDER
from mlver.history.records import ArtifactRecord, Graph, VersionKey, VersionRecord
from mlver.ids import ManifestId, RunId
from mlver.ops.collect.collect import CollectResult, collect, planned_result
from mlver.ops.collect.kept import Horizon, in_order
from mlver.ops.collect.plan import plan_packs
from mlver.ops.collect.stock import contains, united, with_bases
from mlver.ops.collect.survey import Survey
from mlver.ops.commit import commit
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress
from mlver.ops.retention.rules import describe, going, needed_sources
from mlver.ops.retention.settings import policy_of, read_policies
from mlver.store.pack import PACKS_FOLDER

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mlver.ops.collect.stock import Keys, Stock


@dataclass(frozen=True, slots=True)
class GoingVersion:
    """A version that no rule keeps. Sizes are what chunks take in packs, in bytes.

    Attributes:
        version: As `NAME:vN`.
        policy: Whose rules they are, such as `type resnet50`.
        kept_is: What those rules keep, and this version is not.
        exclusive_bytes: What no other version uses.
        shared_bytes: What others use too, and stays therefore.
        held_bytes: Of what would go with it, what stays since something is stored as a difference to it.
    """

    version: str
    policy: str
    kept_is: tuple[str, ...]
    exclusive_bytes: int
    shared_bytes: int
    held_bytes: int


@dataclass(frozen=True, slots=True)
class GcPlan:
    """What `gc` is to do.

    Attributes:
        grace_seconds: How long what is removed stays.
        remove: Versions to be marked removed, since no rule keeps them.
        delete: Removed versions whose content is to be deleted.
        packs_state: Digest of the names of all packs when the plan was made.
        heads: The newest event of each log then, by folder.
        result: What comes of it, as far as is known before; what is to be marked removed goes later, unless there is
            no grace.
        later_bytes: What more is freed once all that is removed then has been so for longer than the grace period.
    """

    grace_seconds: float
    remove: tuple[GoingVersion, ...]
    delete: tuple[str, ...]
    packs_state: str
    heads: Mapping[str, str]
    result: CollectResult
    later_bytes: int


@dataclass(frozen=True, slots=True)
class GcResult:
    """What `gc` did, or would do.

    Attributes:
        removed: Versions that were marked removed, since no rule keeps them.
        collected: What was deleted.
    """

    removed: tuple[str, ...]
    collected: CollectResult


class _Fate:
    """Which versions no policy keeps, by artifact."""

    def __init__(self, repository: OpenRepository, now: datetime) -> None:
        policies = read_policies(repository)
        self.groups: list[tuple[ArtifactRecord, str, tuple[str, ...], list[VersionRecord]]] = []
        spared: set[VersionKey] = set()
        for artifact in repository.index.artifacts() if policies else ():
            found = policy_of(repository, policies, artifact)
            if found is None:
                continue
            scope, policy = found
            versions, _ = going(repository.index.versions(artifact), policy, now)
            if versions:
                self.groups.append((artifact, scope.name, tuple(describe(policy)), versions))
            if policy.sources:
                spared.update(map(_key, versions))
        if spared:
            self._keep_sources(repository, spared)

    def _keep_sources(self, repository: OpenRepository, spared: set[VersionKey]) -> None:
        """Take out of the groups what others that stay were made from, as far as the rules are for sparing that."""
        graph = repository.runs.graph()
        gone = {_key(version) for *_, versions in self.groups for version in versions}
        stays = (key for key, version in graph.versions.items() if not version.removed and key not in gone)
        needed = needed_sources(stays, spared, _sources(graph))
        groups = [
            (*group[:3], [version for version in group[3] if _key(version) not in needed]) for group in self.groups
        ]
        self.groups = [group for group in groups if group[3]]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(version.name for *_, versions in self.groups for version in versions)


def _key(version: VersionRecord) -> VersionKey:
    return version.artifact, version.number


def _sources(graph: Graph) -> dict[VersionKey, set[VersionKey]]:
    """Return what each version was made from: what the run used that made it, or what it was said to follow from."""
    inputs: dict[RunId, set[VersionKey]] = {}
    for version, run in graph.used:
        inputs.setdefault(run, set()).add(version)
    found: dict[VersionKey, set[VersionKey]] = {}
    for run, version in graph.made:
        found.setdefault(version, set()).update(inputs.get(run, ()))
    for source, version in graph.derived:
        found.setdefault(version, set()).add(source)
    return found


def gc(
    repository: OpenRepository,
    grace_seconds: float,
    progress: Progress | None = None,
    *,
    dry_run: bool = False,
    now: datetime | None = None,
) -> GcResult:
    """Mark removed what no policy keeps, and delete what has been removed for long enough.

    Args:
        repository: The repository.
        grace_seconds: See `collect`.
        progress: See `collect`.
        dry_run: Only say what would be done.
        now: The present, for ages of versions; None asks this machine.

    Raises:
        MlverError: `config.toml` is malformed, or see `collect`.
    """
    repository.index.refresh()
    fate = _Fate(repository, now or datetime.now(UTC))
    if not dry_run:
        for artifact, *_, versions in fate.groups:
            _mark(repository, artifact, [version.number for version in versions], None)
    return GcResult(fate.names, collect(repository, grace_seconds, progress, dry_run=dry_run))


def make_plan(repository: OpenRepository, grace_seconds: float, now: datetime | None = None) -> GcPlan:
    """Say what `gc` would do, in a form that can be reviewed and then carried out; nothing is done.

    Args:
        repository: The repository.
        grace_seconds: See `collect`.
        now: The present, for ages of versions; None asks this machine.

    Raises:
        IntegrityError: Something is damaged or missing, so that nobody can tell what is used.
        MlverError: `config.toml` is malformed, or something cannot be listed or read.
    """
    repository.index.refresh()
    fate = _Fate(repository, now or datetime.now(UTC))
    survey = Survey(repository, Horizon(repository.storage.now_ns(), round(grace_seconds * 1e9)))
    try:
        survey.look_until_whole()
        after = _used_after(survey, fate)
        is_now = grace_seconds == 0
        used = united(*after.values()) if is_now else survey.used()
        planned = planned_result(survey, plan_packs(survey.stock(), used, survey.settled()), is_dry_run=True)
        delete = in_order({*planned.versions, *(fate.names if is_now else ())})
        return GcPlan(
            grace_seconds,
            tuple(_weigh(survey, fate, after)),
            delete,
            _packs_state(repository),
            survey.heads(),
            planned,
            max(0, _freed_later(survey, fate) - planned.freed_bytes),
        )
    finally:
        survey.close()


def apply_plan(repository: OpenRepository, plan: GcPlan, progress: Progress | None = None) -> GcResult:
    """Do exactly what a plan says.

    Raises:
        ConflictError: Something happened since the plan was made; nothing was done.
        MlverError: See `collect`.
    """
    _check_unmoved(repository, plan)
    chosen: dict[int, tuple[ArtifactRecord, list[int]]] = {}
    for item in plan.remove:
        resolved = repository.resolve(item.version)
        chosen.setdefault(resolved.artifact.key, (resolved.artifact, []))[1].append(resolved.version.number)
    for artifact, numbers in chosen.values():
        _mark(repository, artifact, numbers, plan)
    return GcResult(
        tuple(item.version for item in plan.remove),
        collect(repository, plan.grace_seconds, progress, only=plan.delete),
    )


def _mark(repository: OpenRepository, artifact: ArtifactRecord, numbers: Sequence[int], plan: GcPlan | None) -> None:
    """Mark versions of one artifact removed, all in one event, which one `undo` takes back."""

    def decide() -> list[Action]:
        if plan is not None and _head(repository, artifact) != plan.heads.get(f"{LOGS_FOLDER}/{artifact.folder}"):
            raise _moved(f"{artifact.name!r} was changed")
        versions = [repository.index.version(artifact, number) for number in numbers]
        # Whatever happened since the rules were asked: an alias protects.
        fit = [version for version in versions if version is not None and not version.removed and not version.aliases]
        return [SetRemoved(version.number, removed=True) for version in fit]

    commit(repository, artifact, decide)


def _check_unmoved(repository: OpenRepository, plan: GcPlan) -> None:
    repository.index.refresh()
    index = repository.index
    heads = {f"{LOGS_FOLDER}/{artifact.folder}": artifact for artifact in index.artifacts(empty=True)}
    if heads.keys() != plan.heads.keys() - {"names"}:
        raise _moved("there are other artifacts")
    for folder, artifact in heads.items():
        if _head(repository, artifact) != plan.heads[folder]:
            raise _moved(f"{artifact.name!r} was changed")
    if _head(repository, None) != plan.heads.get("names"):
        raise _moved("something was renamed")
    if _packs_state(repository) != plan.packs_state:
        raise _moved("there are other packs")


def _moved(what: str) -> MlverError:
    return ConflictError(f"The plan does not fit any more: {what} since it was made.", "Make one anew: mlver gc --plan")


def _head(repository: OpenRepository, artifact: ArtifactRecord | None) -> str:
    events = repository.index.events(artifact, limit=1)
    return f"{events[0].number} {events[0].write_id}" if events else "-"


def _packs_state(repository: OpenRepository) -> str:
    return blake3_hex("\n".join(sorted(repository.storage.list(PACKS_FOLDER))).encode())


# What is freed


def _used_after(survey: Survey, fate: _Fate) -> dict[ManifestId, Keys]:
    """Return what each manifest uses that stays once the versions are gone that no policy keeps."""
    names = set(fate.names)
    return {
        identity: survey.keys(identity)
        for identity, state in survey.states.items()
        if set(state.live) - names or (not state.live and survey.stays(identity))
    }


def _freed_later(survey: Survey, fate: _Fate) -> int:
    """Return what a collection frees once nothing waits for the grace period any more."""
    names = set(fate.names)
    live = [survey.keys(identity) for identity, state in survey.states.items() if set(state.live) - names]
    stock = survey.stock()
    plan = plan_packs(stock, united(*live), dict.fromkeys(stock.packs, True))
    return planned_result(survey, plan, is_dry_run=True).freed_bytes


def _weigh(survey: Survey, fate: _Fate, after: Mapping[ManifestId, Keys]) -> list[GoingVersion]:
    stock = survey.stock()
    sizes = _Sizes(stock)
    used = united(*after.values())
    needed = with_bases(stock, used)
    users = _Users(survey)
    found = []
    for _, policy, rules, versions in fate.groups:
        for version in versions:
            keys = survey.keys(version.id)
            own = keys[users.count(keys) == 1]
            shared = keys[users.count(keys) > 1]
            lost = keys[~contains(used, keys)]
            held = lost[contains(needed, lost)]
            weights = (sizes.of(own), sizes.of(shared), sizes.of(held))
            found.append(GoingVersion(version.name, policy, rules, *weights))
    return found


class _Sizes:
    """What chunks take in packs, the smallest frame of each."""

    def __init__(self, stock: Stock) -> None:
        import numpy as np

        order = np.lexsort((stock.lengths, stock.keys))
        keys = stock.keys[order]
        is_first = np.ones(len(keys), np.bool_)
        np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
        self._keys, self._lengths = keys[is_first], stock.lengths[order][is_first]

    def of(self, keys: Keys) -> int:
        """Return what chunks take together, in bytes."""
        import numpy as np

        here = keys[contains(self._keys, keys)]
        return int(self._lengths[np.searchsorted(self._keys, here)].sum())


class _Users:
    """How many manifests use each chunk that versions which are not removed use."""

    def __init__(self, survey: Survey) -> None:
        import numpy as np

        live = [survey.keys(identity) for identity, state in survey.states.items() if state.live]
        every = np.sort(np.concatenate(live)) if live else np.empty(0, np.uint64)
        self._every = every

    def count(self, keys: Keys) -> npt.NDArray[np.int64]:
        """Return int64 [keys], how many use each."""
        import numpy as np

        return np.searchsorted(self._every, keys, "right") - np.searchsorted(self._every, keys, "left")
