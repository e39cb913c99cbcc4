"""What a policy keeps of an artifact's versions. Pure: versions and rules in, reasons out."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeVar

from mlver.history.records import VersionRecord
from mlver.ops.diff.metrics import Direction

T = TypeVar("T")


class Best(NamedTuple):
    """The best versions by a metric.

    Attributes:
        amount: How many.
        metric: Its name.
        direction: Which values are better.
    """

    amount: int
    metric: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class Policy:
    """What is kept. A version goes if nothing keeps it; aliases, `latest` among them, always do.

    Attributes:
        everything: All versions.
        tagged: Those with a tag.
        last: The newest so many.
        best: The best by metrics.
        daily_seconds: The last of each day (UTC) so long back.
        weekly_seconds: The last of each week (UTC, from Monday) so long back.
        younger_seconds: All younger than this.
        sources: What other versions, which are kept, were made from.
    """

    everything: bool = False
    tagged: bool = True
    last: int = 0
    best: tuple[Best, ...] = ()
    daily_seconds: float = 0.0
    weekly_seconds: float = 0.0
    younger_seconds: float = 0.0
    sources: bool = False


def kept(versions: Sequence[VersionRecord], policy: Policy, now: datetime) -> dict[int, tuple[str, ...]]:
    """Return the numbers of the versions that a policy keeps, each with the rules that keep it.

    Args:
        versions: Those of one artifact that are not removed, in any order.
        policy: The rules.
        now: The present, with a time zone.
    """
    ordered = sorted(versions, key=lambda version: -version.number)
    reasons: dict[int, list[str]] = {}

    def keep(rule: str, chosen: Sequence[VersionRecord]) -> None:
        for version in chosen:
            reasons.setdefault(version.number, []).append(rule)

    keep("everything", ordered if policy.everything else [])
    keep("alias", [version for version in ordered if version.aliases])
    keep("tag", [version for version in ordered if version.tags and policy.tagged])
    keep(f"last {policy.last}", ordered[: policy.last])
    for best in policy.best:
        keep(describe_best(best), _best(ordered, best))
    keep("daily", _one_each(ordered, policy.daily_seconds, now, _day))
    keep("weekly", _one_each(ordered, policy.weekly_seconds, now, _week))
    keep("younger", [version for version in ordered if _is_within(version, policy.younger_seconds, now)])
    return {number: tuple(found) for number, found in reasons.items()}


def describe_best(best: Best) -> str:
    """Return a rule as people read it, such as `best 3 by val_acc`."""
    return f"best {best.amount} by {best.metric}" + (" (lowest)" if best.direction == "lower" else "")


def describe(policy: Policy) -> list[str]:
    """Return what a policy keeps as phrases."""
    if policy.everything:
        return ["everything"]
    phrases = ["what bears an alias or a tag" if policy.tagged else "what bears an alias"]
    phrases += [f"the last {policy.last}"] if policy.last else []
    phrases += [f"the {describe_best(best)}" for best in policy.best]
    for seconds, phrase in (
        (policy.daily_seconds, "one a day for"),
        (policy.weekly_seconds, "one a week for"),
        (policy.younger_seconds, "all younger than"),
    ):
        phrases += [f"{phrase} {seconds / 86_400:g} days"] if seconds else []
    phrases += ["what those that are kept were made from"] if policy.sources else []
    return phrases


def needed_sources(kept: Iterable[T], going: Collection[T], sources: Mapping[T, Collection[T]]) -> set[T]:
    """Return those of `going` that something kept was made from, directly or by way of others that stay thereby.

    Args:
        kept: Versions that stay, of all artifacts.
        going: Versions that go, unless something was made from them.
        sources: What each version was made from.
    """
    found: set[T] = set()
    rest = list(kept)
    while rest:
        for source in sources.get(rest.pop(), ()):
            if source in going and source not in found:
                found.add(source)
                rest.append(source)
    return found


def created_at(version: VersionRecord) -> datetime | None:
    """Return when a version was added, None if that cannot be read."""
    try:
        at = datetime.fromisoformat(version.created_at)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _best(ordered: Sequence[VersionRecord], best: Best) -> list[VersionRecord]:
    """Return the best versions by a metric, the newer of two that are equal first."""
    sign = 1 if best.direction == "lower" else -1
    having = [version for version in ordered if _is_number(version.metrics.get(best.metric))]
    return sorted(having, key=lambda version: sign * version.metrics[best.metric])[: best.amount]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _one_each(
    ordered: Sequence[VersionRecord], seconds: float, now: datetime, period: Callable[[datetime], object]
) -> list[VersionRecord]:
    """Return the newest version of each period that is not longer ago than `seconds`."""
    chosen: dict[object, VersionRecord] = {}
    for version in ordered:
        at = created_at(version)
        if at is not None and _is_within(version, seconds, now):
            chosen.setdefault(period(at.astimezone(UTC)), version)
    return list(chosen.values())


def _day(at: datetime) -> object:
    return at.date()


def _week(at: datetime) -> object:
    return at.isocalendar()[:2]


def _is_within(version: VersionRecord, seconds: float, now: datetime) -> bool:
    """Tell whether a version is younger; one whose age nobody knows is, if age counts at all."""
    at = created_at(version)
    return seconds > 0 and (at is None or now - at < timedelta(seconds=seconds))


def going(
    versions: Sequence[VersionRecord], policy: Policy, now: datetime
) -> tuple[list[VersionRecord], Mapping[int, tuple[str, ...]]]:
    """Return the versions that a policy does not keep, newest first, and why the others are kept, by number."""
    reasons = kept(versions, policy, now)
    return [v for v in sorted(versions, key=lambda v: -v.number) if v.number not in reasons], reasons
