"""What a policy keeps, against a model that asks each version by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlver.history.records import VersionRecord
from mlver.ids import ManifestId
from mlver.ops.retention.rules import Best, Policy, describe, going, kept

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
HOUR = 3600


def version(number: int, age_hours: float = 0, **values: Any) -> VersionRecord:
    at = (NOW - timedelta(hours=age_hours)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    fields = {"aliases": (), "tags": (), "metrics": {}, **values}
    return VersionRecord(
        "m", "t", number, ManifestId("blake3:" + "0" * 64), at, "x", None, None, fields["aliases"], fields["tags"], {},
        fields["metrics"], {}, 0, 0, 0, 0, 0, None, False,
    )  # fmt: skip


policies = st.builds(
    Policy,
    everything=st.just(False) | st.booleans(),
    tagged=st.booleans(),
    last=st.integers(0, 4),
    best=st.lists(
        st.builds(Best, st.integers(1, 3), st.sampled_from(["a", "b"]), st.sampled_from(["higher", "lower"])),
        max_size=2,
    ).map(tuple),
    daily_seconds=st.sampled_from([0, 30 * HOUR, 100 * HOUR]),
    weekly_seconds=st.sampled_from([0, 200 * HOUR, 1000 * HOUR]),
    younger_seconds=st.sampled_from([0, 10 * HOUR]),
)
values: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "age_hours": st.integers(-5, 1200),
        "aliases": st.sampled_from([(), (), (), ("best",)]),
        "tags": st.sampled_from([(), (), ("t",)]),
        "metrics": st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 3) | st.just("text")),
    }
)
histories = st.lists(values, max_size=12).map(
    lambda found: [version(number, **one) for number, one in enumerate(found)]
)


def is_kept(one: VersionRecord, everyone: list[VersionRecord], policy: Policy) -> bool:
    """Ask for one version whether any rule keeps it, in the most literal way."""
    newer = [other for other in everyone if other.number > one.number]
    if policy.everything or one.aliases or (one.tags and policy.tagged) or len(newer) < policy.last:
        return True
    for best in policy.best:
        mine = one.metrics.get(best.metric)
        if not isinstance(mine, int):
            continue
        ahead = 0
        for other in everyone:
            theirs = other.metrics.get(best.metric)
            if isinstance(theirs, int) and other is not one:
                is_better = theirs < mine if best.direction == "lower" else theirs > mine
                ahead += is_better or (theirs == mine and other.number > one.number)
        if ahead < best.amount:
            return True
    at = datetime.fromisoformat(one.created_at)

    def newer_of(period: Any, seconds: float) -> bool:
        return any(
            period(datetime.fromisoformat(other.created_at)) == period(at)
            and NOW - datetime.fromisoformat(other.created_at) < timedelta(seconds=seconds)
            for other in newer
        )

    for seconds, period in (
        (policy.daily_seconds, lambda time: time.date()),
        (policy.weekly_seconds, lambda time: time.isocalendar()[:2]),
    ):
        if seconds and NOW - at < timedelta(seconds=seconds) and not newer_of(period, seconds):
            return True
    return bool(policy.younger_seconds) and NOW - at < timedelta(seconds=policy.younger_seconds)


@given(histories, policies)
def test_it_keeps_what_the_model_keeps(versions: list[VersionRecord], policy: Policy) -> None:
    found = kept(versions, policy, NOW)
    assert found.keys() == {one.number for one in versions if is_kept(one, versions, policy)}
    assert all(found.values())
    gone, _ = going(versions, policy, NOW)
    assert {one.number for one in gone} | found.keys() == {one.number for one in versions}
    assert not {one.number for one in gone} & found.keys()


@given(histories, policies)
def test_keeping_again_what_was_kept_keeps_all_of_it(versions: list[VersionRecord], policy: Policy) -> None:
    found = kept(versions, policy, NOW)
    left = [one for one in versions if one.number in found]
    assert kept(left, policy, NOW).keys() == found.keys()


def test_a_version_whose_age_nobody_can_read_counts_as_young() -> None:
    strange = version(0)._replace(created_at="yesterday")
    assert kept([strange], Policy(younger_seconds=HOUR), NOW)
    assert not kept([strange], Policy(), NOW)


def test_policies_are_said_in_words() -> None:
    policy = Policy(last=3, best=(Best(2, "loss", "lower"),), daily_seconds=14 * 86_400)
    assert describe(policy) == [
        "what bears an alias or a tag", "the last 3", "the best 2 by loss (lowest)", "one a day for 14 days",
    ]  # fmt: skip
    assert describe(Policy(everything=True, last=1)) == ["everything"]
