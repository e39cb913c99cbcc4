"""The README's tour and its Python are run as they stand, and say what the README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import PROJECT, environment

PAGE = (PROJECT / "README.md").read_text("utf-8")
SHOWN_HOME = "/home/ada/demo"


def blocks(language: str) -> list[str]:
    """Return the blocks of a language in the README."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def steps() -> list[tuple[str, str]]:
    """Return the commands of the tour, each with what it is said to print."""
    parts = re.split(r"^\$ ", "".join(blocks("console")), flags=re.MULTILINE)[1:]
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def numberless(text: str, home: Path) -> str:
    """Return `text` without what depends on the machine: places, ages, and numbers that are no names."""
    text = text.replace(str(home), SHOWN_HOME)
    text = re.sub(r"just now|\d+ (?:second|minute)s? ago", "AGE", text)
    text = re.sub(r"(?<![\w.])\d+(?:\.\d+)? ?(?:[kM]?B)\b", "SIZE", text)
    text = re.sub(r"(?<![\w.=])\d+\.\d+", "N", text)
    return re.sub(r"[ \t]+", " ", text)


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a folder with train.py in it, and an environment in which `mlver` and `python` are ours."""
    home = tmp_path_factory.mktemp("tour")
    programs = tmp_path_factory.mktemp("programs")
    for name, command in (("mlver", f'"{sys.executable}" -m mlver'), ("python", f'"{sys.executable}"')):
        (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (programs / name).chmod(0o755)
    (home / "train.py").write_text(blocks("python")[0])
    return home, environment(PATH=f"{programs}:{os.environ['PATH']}", PYTHONPATH=str(PROJECT))


def test_tour_and_python(tour: tuple[Path, dict[str, str]]) -> None:
    home, variables = tour
    assert len(steps()) > 10
    for command, output in steps():
        done = subprocess.run(
            command,
            shell=True,
            cwd=home,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}"
        assert numberless(done.stdout, home).rstrip() == numberless(output, home).rstrip(), command
    python = [block for block in blocks("python") if "import mlver" in block]
    done = subprocess.run(
        ["python", "-W", "error", "-c", python[0]], cwd=home, env=variables, capture_output=True, text=True, check=True
    )
    assert done.stdout == blocks("text")[0]


def test_links_lead_somewhere() -> None:
    pages = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_anchors_exist() -> None:
    for page in [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]:
        for target, anchor in re.findall(r"\]\(([^)#]*)#([^)]+)\)", page.read_text("utf-8")):
            text = (page.parent / target).read_text("utf-8") if target else page.read_text("utf-8")
            headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{page.name}: {target}#{anchor}"


def test_commands_for_a_fresh_machine_are_there() -> None:
    section = PAGE.partition("## On a fresh machine")[2].partition("\n## ")[0]
    commands = re.findall(r"\| `([\w/.]+)` \|$", section, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert os.access(PROJECT / command, os.X_OK), command
