"""Aliases that follow a metric: the fold that moves them by single comparisons, against a reader that looks anew."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlver.errors import IntegrityError, UsageError
from mlver.history.event import (
    Action,
    AddVersion,
    MoveAlias,
    ProtectAlias,
    SetRemoved,
    SetTag,
    SetValue,
    TrackAlias,
    encode_event,
    new_event,
)
from mlver.history.following import Rule, parse_rule
from mlver.history.happenings import alias_moves, happenings, identity
from mlver.history.records import ArtifactRecord
from mlver.ops.remotes.replay import Scratch
from tests.golden import reader

RULES = ("max(acc)", "min(acc)", "max(loss)")
METRICS: tuple[dict[str, Any], ...] = ({}, {"acc": 1}, {"acc": 2.5}, {"acc": -1}, {"loss": 3, "acc": 1}, {"acc": 2.5})


def added(number: int, metrics: dict[str, Any]) -> AddVersion:
    return AddVersion(number, "blake3:" + f"{number:064x}", 1, 1, 1, 1, 0, metrics=metrics)


class Story:
    """What happens to one artifact, folded as it is told."""

    def __init__(self) -> None:
        self.scratch = Scratch(ArtifactRecord(1, "net", "net", "t", None, 0))
        self.metrics: list[dict[str, Any]] = []
        self.removed: set[int] = set()
        self.told = reader.Artifact("net", "net", "t")

    def tell(self, *actions: Action) -> None:
        event = new_event(self.scratch.next_number, "ada", actions)
        self.scratch.apply([event])
        reader.fold(self.told, iter([reader.parse_event(encode_event(event), event.number)]))

    def step(self, choice: int, which: int, what: int) -> None:
        index, artifact = self.scratch.index, self.scratch.artifact
        alias, metrics = f"a{which % 2}", METRICS[what % len(METRICS)]
        number = which % len(self.metrics) if self.metrics else 0
        rule = index.tracked(artifact).get(alias)
        if choice == 0 or not self.metrics:
            self.tell(added(len(self.metrics), metrics))
            self.metrics.append(dict(metrics))
        elif choice == 1:
            was = [self.metrics[number]["acc"]] if "acc" in self.metrics[number] else []
            to = [metrics["acc"]] if "acc" in metrics else []
            self.tell(SetValue(number, "metrics", "acc", to, was))
            self.metrics[number] = {k: v for k, v in self.metrics[number].items() if k != "acc"}
            self.metrics[number] |= {"acc": to[0]} if to else {}
        elif choice == 2:
            self.tell(SetRemoved(number, number not in self.removed))
            self.removed ^= {number}
        elif choice == 3:
            self.tell(TrackAlias(alias, RULES[what % len(RULES)], rule))
        elif choice == 4:
            self.tell(TrackAlias(alias, None, rule))
        else:
            now = None if rule else index.alias(artifact, alias)
            self.tell(MoveAlias(alias, None if what % 4 == 0 else number, now))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 11)), max_size=30))
def test_fold_agrees_with_the_second_reader(steps: list[tuple[int, int, int]]) -> None:
    story = Story()
    for step in steps:
        story.step(*step)
        aliases = story.scratch.index.aliases(story.scratch.artifact)
        aliases.pop("latest", None)
        assert aliases == story.told.aliases
        assert story.scratch.index.tracked(story.scratch.artifact) == story.told.tracked
    story.scratch.close()


def test_what_moved_by_itself_is_known_by_event() -> None:
    story = Story()
    story.tell(added(0, {"acc": 1}))
    story.tell(TrackAlias("best", "max(acc)", None))
    story.tell(added(1, {"acc": 1}))
    story.tell(added(2, {"acc": 5}))
    story.tell(SetRemoved(2, True), SetRemoved(2, False))
    story.tell(SetRemoved(2, True))
    moves = story.scratch.index.followed(story.scratch.artifact)
    assert moves == {1: [("best", None, 0)], 3: [("best", 0, 2)], 5: [("best", 2, 0)]}, "equals do not move it"


def test_a_rule_that_is_none_is_damage() -> None:
    story = Story()
    story.tell(added(0, {}))
    with pytest.raises(IntegrityError, match="no rule"):
        story.tell(TrackAlias("best", "median(acc)", None))


@pytest.mark.parametrize("text", ["", "acc", "max()", "max( )", "avg(acc)", "max(acc", "max(acc) + 1"])
def test_what_no_rule_is(text: str) -> None:
    with pytest.raises(UsageError, match="nothing that an alias can follow"):
        parse_rule(text)


def test_rules_are_stored_in_one_form() -> None:
    assert parse_rule(" max( val acc ) ").text == "max(val acc)"
    assert parse_rule("min(a(b))") == Rule(False, "a(b)")
    assert [Rule(True, "x").value({"x": value}) for value in (2, True, "2", float("nan"), None)] == [2, *[None] * 4]


def test_what_moves_come_to() -> None:
    forced = (ProtectAlias("p", False), MoveAlias("p", 2, 1), ProtectAlias("p", True))
    assert alias_moves(forced) == [("p", 1, 2)]
    tracked = (MoveAlias("b", None, 2), TrackAlias("b", "max(acc)", None))
    assert alias_moves(tracked, [("b", None, 9)]) == [("b", 2, 9)]
    let_go = (TrackAlias("b", None, "max(acc)"), MoveAlias("b", 9, None))
    assert alias_moves(let_go, [("b", 9, None)]) == [], "it stays where it is"
    assert alias_moves((TrackAlias("b", None, "max(acc)"),), [("b", 9, None)]) == [("b", 9, None)]


def test_things_that_happen_have_an_identity_of_their_own() -> None:
    actions = (added(3, {}), SetTag(3, "x", True), SetTag(3, "y", True), MoveAlias("b", 3, None))
    event = new_event(7, "ada", actions)
    found = list(happenings(actions))
    assert [happening.kind for happening in found] == ["add", "tag", "tag", "alias"]
    identities = {identity(event, happening, "m") for happening in found}
    assert len(identities) == 4
    renumbered = new_event(9, "ada", actions)
    same = identity(event, found[0], "m")
    assert identity(renumbered, found[0], "m") != same, "another event"
    assert identity(event, found[0]._replace(version=8), "m") == same, "a number is not what it is known by"
