"""Aliases that follow a metric by themselves: what `max(val_acc)` says, and which version it names.

Such an alias is nobody's to move. Every reader computes it from the versions' metrics, so that it is the same on all
machines, and two people who add versions at the same time do not meet over it.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Mapping
from typing import Any, NamedTuple

from mlver.errors import UsageError
from mlver.store.sqlite import cached_json

_RULE = re.compile(r"(max|min)\(\s*(.*?)\s*\)", re.DOTALL)


class Rule(NamedTuple):
    """What an alias follows.

    Attributes:
        largest: The version with the largest value, rather than the smallest.
        metric: The metric's name.
    """

    largest: bool
    metric: str

    @property
    def text(self) -> str:
        """The rule as it is stored, such as `max(val_acc)`."""
        return f"{'max' if self.largest else 'min'}({self.metric})"

    def value(self, metrics: Mapping[str, Any]) -> float | None:
        """Return what a version has to offer, greater for better; None if it does not count."""
        value = metrics.get(self.metric)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            return None
        return value if self.largest else -value


def parse_rule(text: str) -> Rule:
    """Read a rule.

    Raises:
        UsageError: It is none.
    """
    match = _RULE.fullmatch(text.strip())
    if match is None or not match[2]:
        raise UsageError(f"{text!r} is nothing that an alias can follow.", "Write max(METRIC) or min(METRIC).")
    return Rule(match[1] == "max", match[2])


def best(db: sqlite3.Connection, key: int, rule: Rule) -> int | None:
    """Return the number of the version that a rule names: of equally good ones the oldest, of removed ones none."""
    found: tuple[float, int] | None = None
    rows = db.execute("SELECT number, metrics FROM versions WHERE artifact = ? AND NOT removed ORDER BY number", (key,))
    for number, metrics in rows:
        value = rule.value(cached_json(metrics))
        if value is not None and (found is None or value > found[0]):
            found = value, number
    return None if found is None else found[1]
