from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest

from dev.generate import ROOT, stale_files
from mlver.cli.app import Example, load_command
from mlver.cli.command_table import COMMANDS, SECTIONS

FOLDER = Path(__file__).parents[2] / "mlver/cli/commands"


def test_every_module_is_listed_once() -> None:
    modules = {file.stem for file in FOLDER.glob("*.py")} - {"__init__"}
    assert modules == set(COMMANDS)
    assert sum(map(len, SECTIONS.values())) == len(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_listing_agrees_with_the_command(name: str) -> None:
    module = import_module(f"mlver.cli.commands.{name}")
    assert (inspect.getdoc(module.command) or "").split("\n")[0] == COMMANDS[name].summary
    assert module.EXAMPLES
    for example in module.EXAMPLES:
        assert isinstance(example, Example)
        assert f"mlver {name}" in example.line


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_common_options_and_explains_its_own(name: str) -> None:
    command = load_command(name)
    names = {option for parameter in command.params for option in parameter.opts}
    assert {"-C", "-q", "--quiet", "--json"} <= names
    assert [parameter.name for parameter in command.params if not getattr(parameter, "help", None)] == []


def test_completions_and_manual_pages_are_current() -> None:
    assert stale_files(ROOT) == [], "run dev/generate"
