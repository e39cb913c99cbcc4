"""Halving: from one that is good and a later one that is bad to the first bad one, some of which cannot be judged."""

from __future__ import annotations

from enum import Enum


class Verdict(Enum):
    """What was said of one version."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


class Search:
    """Positions from 0, which is good, to `count - 1`, which is bad.

    Args:
        count: How many there are; at least 2.

    Attributes:
        good: The last one known to be good.
        bad: The first one known to be bad.
    """

    def __init__(self, count: int) -> None:
        self.good = 0
        self.bad = count - 1
        self._skipped: set[int] = set()

    @property
    def candidates(self) -> list[int]:
        """Those whose verdict would tell more: between good and bad, and not skipped."""
        return [position for position in range(self.good + 1, self.bad) if position not in self._skipped]

    @property
    def suspects(self) -> list[int]:
        """Those that may be the first bad one, as far as is known."""
        return list(range(self.good + 1, self.bad + 1))

    @property
    def steps_left(self) -> int:
        """About how many more verdicts it takes."""
        return min((self.bad - self.good - 1).bit_length(), len(self.candidates))

    def following(self) -> int | None:
        """Return the one to judge next: that nearest to the middle; None if there is nothing left to judge."""
        middle = (self.good + self.bad) / 2
        return min(self.candidates, key=lambda position: abs(position - middle), default=None)

    def note(self, position: int, verdict: Verdict) -> None:
        """Note what was said of one."""
        if verdict is Verdict.GOOD:
            self.good = max(self.good, position)
        elif verdict is Verdict.BAD:
            self.bad = min(self.bad, position)
        else:
            self._skipped.add(position)
