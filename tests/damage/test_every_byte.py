"""A sample of what `python -m tests.damage.sweep` tries in full."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.damage import sweep as sweeping
from tests.damage.cache import sweep_cache
from tests.damage.sweep import build, build_long, sweep

EVERY = int(os.environ.get("MLVER_TEST_EVERY", "997"))
"""One damage in so many is tried; a prime, so that flips and cuts of all files come up."""


@pytest.mark.parametrize("make", [build, build_long], ids=lambda make: str(make.__name__))
def test_damage_is_noticed_or_without_effect(make: Callable[[Path], None]) -> None:
    tally, files, size_bytes = sweep(make, EVERY)
    assert tally.problems == []
    assert files > 60
    assert size_bytes >= 50_000
    assert tally.cases.total() == -(-2 * size_bytes // EVERY)
    # All but what a segment says, which its events say too.
    assert tally.noticed.total() > tally.cases.total() * (0.9 if make is build else 0.7)


def test_a_repository_that_notices_nothing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep is no proof unless it can fail."""
    answer = lambda home, asked: {"verify": True, "x": (home / ".mlver/format").read_bytes()}  # noqa: E731
    monkeypatch.setattr(sweeping, "answers", answer)
    for name, problems in (("names/000000000000.json", 0), ("format", 1)):
        monkeypatch.setattr(sweeping, "damages", lambda _, name=name: iter([sweeping.Damage(name, 0, False)]))
        tally, _, _ = sweep(build, 1)
        assert len(tally.problems) == problems


def test_a_damaged_cache_never_changes_content_and_is_made_anew() -> None:
    tally, problems = sweep_cache(7 * EVERY)
    assert problems == []
    assert tally["tried"] > 20
