from __future__ import annotations

import io

import pytest

from mlver.cli.terminal import Terminal, detect


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm"}, Terminal(True, True, True, True, "less")),
        ({"TERM": "xterm", "NO_COLOR": ""}, Terminal(True, True, True, True, "less")),
        ({"TERM": "xterm", "NO_COLOR": "1"}, Terminal(True, False, False, False, "less")),
        ({"TERM": "dumb"}, Terminal()),
        ({}, Terminal()),
        ({"TERM": "xterm", "PAGER": "more"}, Terminal(True, True, True, True, "more", True)),
        ({"TERM": "xterm", "PAGER": "more", "MLVER_PAGER": "cat"}, Terminal(True, True, True, True, "", True)),
        ({"TERM": "xterm", "MLVER_PAGER": ""}, Terminal(True, True, True, True, "", True)),
    ],
)
def test_terminal(environment: dict[str, str], expected: Terminal) -> None:
    assert detect(_Screen(), _Screen(), environment) == expected


def test_pipes_get_nothing() -> None:
    assert detect(io.StringIO(), io.StringIO(), {"TERM": "xterm"}) == Terminal()


def test_bars_need_only_stderr() -> None:
    found = detect(io.StringIO(), _Screen(), {"TERM": "xterm"})
    assert (found.bars, found.talk_colour, found.colour, found.interactive) == (True, True, False, False)
