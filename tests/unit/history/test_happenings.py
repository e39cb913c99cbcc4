"""What an event came to, action by action."""

from __future__ import annotations

from mlver.history.event import MoveAlias, RenameArtifact, SetNote, SetRemoved, SetTag, SetValue
from mlver.history.happenings import Happening, happenings


def test_every_action_of_a_version_is_a_happening_and_names_are_none() -> None:
    actions = (
        RenameArtifact("net", "net2"), SetTag(0, "kept", True), SetNote(1, "text", None),
        SetValue(1, "metrics", "acc", [0.5], []), SetValue(1, "metadata", "lr", [], [0.1]), SetRemoved(2, True),
        SetRemoved(3, False), MoveAlias("best", 1, None), MoveAlias("old", None, 4),
    )  # fmt: skip
    assert list(happenings(actions)) == [
        Happening("tag", 0, {"tag": "kept", "present": True}),
        Happening("note", 1, {"note": "text", "was": None}),
        Happening("meta", 1, {"field": "metrics", "key": "acc", "value": 0.5, "was": None}),
        Happening("meta", 1, {"field": "metadata", "key": "lr", "value": None, "was": 0.1}),
        Happening("rm", 2, {}),
        Happening("restore", 3, {}),
        Happening("alias", 1, {"alias": "best", "was": None}),
        Happening("alias", None, {"alias": "old", "was": "v4"}),
    ]
