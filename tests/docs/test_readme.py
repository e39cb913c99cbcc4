"""The README's tour, its Python and what follows `examples/pipeline.sh` are run as they stand, and say what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.process import PROJECT, environment

PAGE = (PROJECT / "README.md").read_text("utf-8")
SHOWN_HOME = "/home/ada/demo"
TRACED = "Where did these weights come from"


def blocks(language: str) -> list[str]:
    """Return the blocks of a language in the README."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """Return the part of the README under a heading."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def steps(page: str) -> list[tuple[str, str]]:
    """Return the commands of a part of the page, each with what it is said to print."""
    shown = re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    parts = re.split(r"^\$ ", "".join(shown), flags=re.MULTILINE)[1:]
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def numberless(text: str, home: Path) -> str:
    """Return `text` without what depends on the machine: places, ages, and numbers that are no names."""
    text = text.replace(str(home), SHOWN_HOME)
    text = re.sub(r"just now|\d+ (?:second|minute)s? ago", "AGE", text)
    text = re.sub(r"(?<![\w.])\d+(?:\.\d+)? ?(?:[kM]?B)\b", "SIZE", text)
    text = re.sub(r"(?<![\w.=])\d+\.\d+", "N", text)
    return re.sub(r"[ \t]+", " ", text)


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment in which `mlver` and `python` are ours."""
    programs = tmp_path_factory.mktemp("programs")
    for name, command in (("mlver", f'"{sys.executable}" -m mlver'), ("python", f'"{sys.executable}"')):
        (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (programs / name).chmod(0o755)
    return environment(PATH=f"{programs}:{os.environ['PATH']}", PYTHONPATH=str(PROJECT))


def follow(said: list[tuple[str, str]], home: Path, variables: dict[str, str], same: Callable[[str], str]) -> None:
    """Do what the page says; what is printed must be what it shows, but for what `same` takes away."""
    for command, output in said:
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
        assert same(done.stdout).rstrip() == same(output).rstrip(), command


def test_tour_and_python(variables: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(blocks("python")[0])
    said = steps(PAGE.replace(section(TRACED), ""))
    assert len(said) > 10
    follow(said, tmp_path, variables, lambda text: numberless(text, tmp_path))
    python = [block for block in blocks("python") if "import mlver" in block]
    done = subprocess.run(
        ["python", "-W", "error", "-c", python[0]],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == blocks("text")[0]


def test_where_weights_come_from(variables: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "pipeline"
    done = subprocess.run(
        [PROJECT / "examples" / "pipeline.sh", folder], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Success: digits_mlp:v2 is the best of 3" in done.stdout

    def same(text: str) -> str:
        """Runs have other ids, and another processor adds up a little differently."""
        text = re.sub(r"\b[0-9a-f]{8}\b", "RUN", text)
        return re.sub(r"[ \t]+", " ", re.sub(r"(?<=[ =])\d+(\.\d+)?(?= →|\b(?! of))", "N", text))

    said = steps(section(TRACED))
    assert len(said) >= 5
    follow(said, folder, variables, same)


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
    assert len(commands) == 3
    for command in commands:
        assert os.access(PROJECT / command, os.X_OK), command
