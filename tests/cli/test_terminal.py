from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.process import run_in_terminal

TABLE = """
import os, sys
from mlver.cli.output import Column, Mode, Output, Styled
from mlver.cli.terminal import detect
out = Output(Mode.HUMAN, sys.stdout, sys.stderr, detect(sys.stdout, sys.stderr, os.environ), os.environ)
with out.paged():
    out.table(
        [Column("version"), Column("size", "right"), Column("message", elastic=True)],
        [[Styled("v1", "name"), "1.2 GB", "[bold]no markup[/bold] \\x1b[2J :smile: " + "word " * 30]]
        * int(os.environ.get("ROWS", 1)),
    )
out.warn("careful")
"""
PROGRESS = """
import sys, time
from mlver.cli.progress import ProgressBar
bar = ProgressBar(sys.stderr, float(sys.argv[1]))
bar.start(1000_000, "Adding \\x1b[2J model/")
for _ in range(10):
    bar.advance(100_000)
    time.sleep(0.05)
bar.done()
print("end")
"""


def test_table_fits_the_terminal_and_is_styled(tmp_path: Path) -> None:
    code, screen = run_in_terminal(sys.executable, "-c", TABLE, folder=tmp_path, variables={"PAGER": "cat"})
    lines = screen.splitlines()
    assert code == 0
    assert "\x1b[36mv1\x1b[0m" in screen
    assert "\x1b[33mWarning:\x1b[0m careful" in screen
    assert "\x1b[2J" not in screen
    assert "[bold]no markup[/bold]" in screen
    assert ":smile:" in screen
    assert len(lines) > 3
    assert max(map(len, lines[2:-1])) <= 80


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_when_it_is_not_wanted(tmp_path: Path, variables: dict[str, str]) -> None:
    code, screen = run_in_terminal(
        sys.executable, "-c", TABLE, folder=tmp_path, variables={"PAGER": "cat", **variables}
    )
    assert code == 0
    assert "\x1b" not in screen
    assert "v1" in screen


def test_long_output_goes_through_the_chosen_pager(tmp_path: Path) -> None:
    variables = {"PAGER": "no-such-pager", "MLVER_PAGER": "sed 's/^/paged: /'"}
    code, screen = run_in_terminal(sys.executable, "-c", TABLE, folder=tmp_path, variables=variables)
    assert code == 0
    assert "paged: " in screen


def test_absent_pager_is_told_and_the_output_shown(tmp_path: Path) -> None:
    variables = {"PAGER": "no-such-pager"}
    code, screen = run_in_terminal(sys.executable, "-c", TABLE, folder=tmp_path, variables=variables)
    assert code == 0
    assert "The pager 'no-such-pager' cannot be run." in screen
    assert "v1" in screen


def test_pager_that_ends_early_is_no_error(tmp_path: Path) -> None:
    variables = {"PAGER": "true", "ROWS": "2000"}
    code, screen = run_in_terminal(sys.executable, "-c", TABLE, folder=tmp_path, variables=variables)
    assert code == 0
    assert "Traceback" not in screen


def test_bar_is_shown_for_long_work_and_disappears(tmp_path: Path) -> None:
    code, screen = run_in_terminal(sys.executable, "-c", PROGRESS, "0.1", folder=tmp_path)
    assert code == 0
    assert "Adding \\x1b[2J model/" in screen
    assert "1.0 MB" in screen
    assert "/s" in screen
    assert "\x1b[2K" in screen  # erased at the end
    assert screen.splitlines()[-1].endswith("end")


def test_no_bar_for_short_work(tmp_path: Path) -> None:
    assert run_in_terminal(sys.executable, "-c", PROGRESS, "5", folder=tmp_path) == (0, "end\r\n")
