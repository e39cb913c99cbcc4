from __future__ import annotations

import shlex

import pytest

from mlver.differences.command_lines import compare_command_lines


def told(before: str, after: str) -> list[str]:
    """Return what changed, as lines."""
    changes = compare_command_lines("command", shlex.split(before), shlex.split(after))
    signs = {"added": "+", "removed": "-", "changed": "~"}
    return [f"{signs[each.kind]} {each.key}: {each.before} → {each.after}" for each in changes]


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ("train.py --lr 0.1 -e 3", "train.py --lr 0.01 -e 3", ["~ command --lr: 0.1 → 0.01"]),
        ("train.py --lr=0.1 -e 3", "train.py -e 3 --lr 0.1", []),
        ("train.py", "train.py --freeze", ["+ command --freeze: None → True"]),
        ("train.py --amp --lr 1", "train.py --lr 1", ["- command --amp: True → None"]),
        ("train.py --lr 0.1 small", "train.py --lr 0.1 large", ["~ command: small → large"]),
        ("add m --metric a=1 --metric b=2", "add m --metric a=1 --metric b=3", ["~ command --metric: b=2 → b=3"]),
        ("add m --tag a --tag b", "add m --tag b", ["- command --tag: a → None"]),
        ("add a a", "add a", ["- command: a → None"]),
        ("run --shift -0.5 -x", "run --shift -1 -x", ["~ command --shift: -0.5 → -1"]),
        ("run --name=", "run --name=x", ["~ command --name:  → x"]),
        ("", "run", ["+ command: None → run"]),
        ("b --z 1 --a 1", "c --z 2 --a 2", ["~ command --a: 1 → 2", "~ command --z: 1 → 2", "~ command: b → c"]),
    ],
)
def test_options_are_known_by_their_names(before: str, after: str, lines: list[str]) -> None:
    assert told(before, after) == lines
