from __future__ import annotations

import pytest

from mlver.cli.diff_lines import unified_lines
from mlver.cli.style import Styled, plain

DIFF = (
    "@@ -1,3 +1,3 @@",
    ' x = """one',
    '-two"""',
    '+2"""',
    " # end",
    "@@ -9,1 +9,1 @@",
    "-lr = 0.1",
    "+lr = '\x1b[2J'",
)


def shown(path: str, *, colour: bool, lines: tuple[str, ...] = DIFF) -> list[list[str | Styled]]:
    return list(unified_lines(path, lines, colour=colour))


def test_without_colour_and_language_only_whole_lines_have_styles() -> None:
    for found in (shown("a.py", colour=False), shown("a.unknown", colour=True), shown("README", colour=True)):
        assert found[:3] == [[Styled(DIFF[0], "name")], [DIFF[1]], [Styled(DIFF[2], "bad")]]
        assert found[3] == [Styled(DIFF[3], "good")]


def test_the_colours_of_a_language() -> None:
    found = shown("train.py", colour=True)
    assert found[0] == [Styled(DIFF[0], "name")]
    assert found[2] == [Styled("-", "removed"), Styled("two", "string"), Styled('"""', "string")]
    assert found[3] == [Styled("+", "added"), Styled("2", "string"), Styled('"""', "string")]
    assert found[4][0] == " "
    assert Styled("# end", "muted") in found[4]
    assert found[6] == [Styled("-", "removed"), "lr", " ", "=", " ", Styled("0.1", "number")]


@pytest.mark.parametrize("path", ["train.py", "a.md", "a.sh", "a.unknown", "a.yaml", "a.html", "a.c"])
def test_every_character_is_shown_and_none_obeyed(path: str) -> None:
    lines = (*DIFF, "+", " ", "+\tend\r", "-" + "x" * 300_000)
    found = ["".join(map(plain, pieces)) for pieces in shown(path, colour=True, lines=lines)]
    wanted = ["".join(map(plain, pieces)) for pieces in shown(path, colour=False, lines=lines)]
    assert found == wanted
    assert "\x1b" not in "".join(found)
