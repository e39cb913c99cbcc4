"""A sample of what `python -m tests.fault` does in full, for the commands that write most."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from tests.fault.commands import COMMANDS, Command, named
from tests.fault.crashes import check, crash_states
from tests.fault.injection import imports, inject, refuse_imports, targets
from tests.fault.order import published, violations
from tests.fault.scene import Scene, prepare
from tests.fault.starting import Warm
from tests.fault.tracing import HARMLESS, MUTATING, missing_tools, names_made
from tests.support.places import quick_folder

pytestmark = pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools()))
SAMPLED = ("init", "add-first", "add", "alias", "push", "pull", "fetch", "gc", "repack", "repair")
CRASHES = 24
T = TypeVar("T")


@pytest.fixture(scope="module", params=SAMPLED)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    with quick_folder() as folder:
        yield prepare(named(request.param), folder.resolve() / "scene")


@pytest.fixture(scope="module")
def warm(scene: Scene) -> Iterator[Warm]:
    with Warm(scene.modules) as warm:
        yield warm


def sample(scene: Scene, population: Sequence[T], count: int) -> list[T]:
    """Return some of it, the same ones every time."""
    return random.Random(scene.command.name).sample(population, min(count, len(population)))


def test_killed_it_leaves_the_old_state_or_the_new(scene: Scene, warm: Warm) -> None:
    outcome = inject(scene, "kill", sample(scene, targets(scene, "kill"), 2), warm)
    assert outcome.problems == []
    assert outcome.hit == 2


@pytest.mark.parametrize("fault", ["EIO", "ENOSPC"])
def test_a_call_that_fails_is_told_in_one_line_and_nothing_is_lost(scene: Scene, warm: Warm, fault: str) -> None:
    outcome = inject(scene, fault, sample(scene, targets(scene, fault), 1), warm)
    assert outcome.problems == []
    assert outcome.hit == 1


def test_a_power_cut_leaves_the_old_state_or_the_new(scene: Scene) -> None:
    states = list(crash_states(scene))
    problems = [
        check(scene, state, again=number % 6 == 0) for number, state in enumerate(sample(scene, states, CRASHES))
    ]
    assert [problem for problem in problems if problem] == []


def test_nothing_is_published_before_what_it_rests_on(scene: Scene) -> None:
    assert list(violations(scene)) == []
    if scene.command.name == "add-first":
        kinds = published(scene)
        assert kinds.index("packs") < kinds.index("manifests") < kinds.index("log")


@pytest.mark.parametrize("name", ["pull-into", "pull-deep"])
def test_what_was_pulled_is_durable_with_the_folders_on_the_way(name: str) -> None:
    with quick_folder() as folder:
        assert list(violations(prepare(named(name), folder.resolve() / "scene"))) == []


def test_a_library_of_which_there_are_too_many_open_files_is_told_in_one_line() -> None:
    with quick_folder() as folder:
        scene = prepare(named("alias"), folder.resolve() / "scene")
        libraries = [place for place in imports(scene) if re.search(r"_sqlite3.*\.so$|\bblake3.*\.so$", place)]
        outcome = refuse_imports(scene, libraries)
    assert outcome.problems == []
    assert outcome.hit == len(libraries) > 0


def test_packs_go_when_what_names_them_is_gone_for_good() -> None:
    with quick_folder() as folder:
        scene = prepare(named("gc-remote"), folder.resolve() / "scene")
    assert [call for call in scene.calls if call.name == "unlinkat" and call.paths[0].endswith(".pack")]
    assert list(violations(scene)) == []


@pytest.mark.parametrize("command", [named("push"), named("rename")], ids=str)
def test_every_call_that_changes_something_is_known(command: Command, tmp_path: Path) -> None:
    world = tmp_path / "world"
    world.mkdir()
    command.prepare(world)
    made = names_made(command.argv, world / "repo", tmp_path / "trace")
    assert made >= {"openat", "writev", "fsync"}
    assert made - HARMLESS - {*MUTATING} == set()


def test_no_two_commands_have_one_name() -> None:
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)
