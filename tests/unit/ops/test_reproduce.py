"""Making a version again: what was recorded, what is missing, a worktree; and that nothing recorded is ever run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mlver.errors import ConflictError, MlverError, NotFoundError
from mlver.lineage.capture.git import capture_code
from mlver.ops.reproduce.prepare import patch_of, reproduce
from mlver.ops.reproduce.recipe import find_recipe
from mlver.ops.reproduce.script import INPUTS_NAME, REQUIREMENTS_NAME, SCRIPT_NAME, script
from mlver.ops.runs.begin import begin_run
from mlver.ops.runs.current import run_variable
from mlver.ops.runs.end import RunOutcome, end_run
from mlver.repository import Repository
from tests.support.process import environment

GIT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b",
}


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environment(**GIT), check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def code(repository: Repository) -> Path:
    """The folder of the repository, which is one of git too: `train.py` was committed and then changed."""
    folder = repository.path.parent
    git(folder, "init", "-q")
    (folder / ".gitignore").write_text(".mlver\n")
    (folder / "train.py").write_text("print('committed')\n")
    git(folder, "add", "train.py", ".gitignore")
    git(folder, "commit", "-qm", "first")
    (folder / "train.py").write_text("print('changed')\n")
    return folder


def made(repository: Repository, folder: Path, record: Mapping[str, Any] | None = None) -> None:
    """Let a run with these circumstances make `net:v0` from `data:v0`."""
    opened = repository._opened
    (folder / "data").write_text("data")
    repository.add(folder / "data", name="data", type="dataset")
    captured = capture_code(folder, environment(**GIT))
    patch = None if record and "code" in record else captured.patch
    document = {"command": ["sh", "-c", "echo $X 'a b'"], "folder": str(folder), "code": captured.document}
    run = begin_run(opened, name="first", record={**document, **(record or {})}, patch=patch, uses=["data:v0"])
    repository._own_run = run_variable(opened, run)
    (folder / "w").write_text("weights")
    repository.add(folder / "w", name="net", type="t")
    repository._own_run = None
    end_run(opened, run, RunOutcome("finished", 0, 1.0, {}, None, None))


def test_what_was_recorded(repository: Repository, code: Path) -> None:
    made(repository, code, {"python": {"version": "2.7.1"}, "packages": {"numpy": "0.1"}, "environment": {"X": "1"}})
    found = reproduce(repository._opened, "net:v0", code, environment(**GIT))
    recipe = found.recipe
    assert recipe.title == "net:v0"
    assert recipe.run is not None
    assert recipe.command == ("sh", "-c", "echo $X 'a b'")
    assert recipe.commit == git(code, "rev-parse", "HEAD")
    assert recipe.dirty
    assert [each.name for each in recipe.inputs] == ["data:v0"]
    assert any("It ran with Python 2.7.1" in sentence for sentence in found.missing)
    assert any("numpy 0.1" in sentence for sentence in found.missing)
    assert any("git did not know were not recorded" in sentence and "data" in sentence for sentence in found.missing)
    assert "sh -c 'echo $X '\"'\"'a b'\"'\"''" in found.script
    assert reproduce(repository._opened, "first", code, environment(**GIT)).recipe.version is None
    assert b"+print('changed')" in patch_of(repository._opened, "net:v0")


def test_a_worktree(repository: Repository, code: Path, tmp_path: Path) -> None:
    made(repository, code, {"packages": {"numpy": "0.1"}})
    place = tmp_path / "again"
    found = reproduce(repository._opened, "net:v0", code, environment(**GIT), place)
    assert found.worktree == place
    assert (place / "train.py").read_text() == "print('changed')\n"
    assert (place / "data").read_text() == "data", "where the run had it"
    assert (place / REQUIREMENTS_NAME).read_text() == "numpy==0.1\n"
    assert not os.access(place / SCRIPT_NAME, os.X_OK), "a person reads it first"
    ran = subprocess.run(
        ["sh", place / SCRIPT_NAME], env=environment(X="42"), check=True, capture_output=True, text=True, cwd="/"
    )
    assert ran.stdout == "42 a b\n"
    assert (code / "train.py").read_text() == "print('changed')\n"
    with pytest.raises(ConflictError, match="there already"):
        reproduce(repository._opened, "net:v0", code, environment(**GIT), place)
    git(code, "worktree", "remove", "--force", str(place))


def test_inputs_that_were_elsewhere(
    repository: Repository, code: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One that was not in the folder of the code cannot be put back where it was; of another, nobody knows."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "far").write_text("far")
    repository.add(outside, name="far", type="dataset")
    (code / "gone").write_text("gone")
    repository.add(code / "gone", name="gone", type="dataset")
    (code / "gone").unlink()
    captured = capture_code(code, environment(**GIT))
    record = {"command": ["x"], "folder": str(code), "code": captured.document}
    begin_run(repository._opened, name="r", record=record, patch=captured.patch, uses=["far:v0", "gone:v0"])
    place = tmp_path / "again"
    found = reproduce(repository._opened, "r", code, environment(**GIT), place)
    assert f"Its input far:v0 was in {outside}, which is not in the folder of the code." in found.missing
    assert "# Where the command had gone:v0 was not recorded: see its arguments." in found.script
    assert (place / INPUTS_NAME / "far-v0" / "far").read_text() == "far"
    assert (place / INPUTS_NAME / "gone-v0" / "gone").read_text() == "gone"
    git(code, "worktree", "remove", "--force", str(place))


@pytest.mark.parametrize("name", [INPUTS_NAME, SCRIPT_NAME])
def test_links_of_the_code_are_not_followed(repository: Repository, code: Path, tmp_path: Path, name: str) -> None:
    """Whoever wrote the commit must not say what is written where, and what failed leaves nothing behind."""
    (tmp_path / "outside").mkdir()
    (code / name).symlink_to(tmp_path / "outside" / "file")
    git(code, "add", name)
    git(code, "commit", "-qm", "link")
    made(repository, code, {"folder": None})
    (code / "data").unlink()
    begun = begin_run(
        repository._opened,
        name="r",
        record={"command": ["x"], "code": capture_code(code, environment(**GIT)).document},
        uses=["data:v0"],
    )
    with pytest.raises(MlverError):
        reproduce(repository._opened, begun, code, environment(**GIT), tmp_path / "again")
    assert not list((tmp_path / "outside").iterdir())
    assert not (tmp_path / "again").exists()
    assert len(git(code, "worktree", "list").splitlines()) == 1


def test_what_is_missing(repository: Repository, code: Path, tmp_path: Path) -> None:
    made(repository, code, {"command": None, "code": {"commit": "c" * 40, "dirty": True, "remote": "https://x.org/r"}})
    found = reproduce(repository._opened, "net:v0", code, environment(**GIT))
    assert found.missing == (
        "The command was not recorded.",
        "Commit cccccccccccc is not in this git repository: fetch it, or look for it in another clone.",
        *found.missing[2:],
    )
    with pytest.raises(NotFoundError, match=r"Commit c+ is not in"):
        reproduce(repository._opened, "net:v0", code, environment(**GIT), tmp_path / "again")
    assert not (tmp_path / "again").exists()
    elsewhere = reproduce(repository._opened, "net:v0", Path("/"), environment(**GIT))
    assert any("git clone https://x.org/r" in sentence for sentence in elsewhere.missing)
    without_git = reproduce(repository._opened, "net:v0", code, {"PATH": str(tmp_path)})
    assert any("in no git repository" in sentence for sentence in without_git.missing)


def test_a_version_that_no_run_made(repository: Repository, code: Path, tmp_path: Path) -> None:
    (code / "w").write_text("w")
    repository._opened.run_variable = None
    repository.add(code / "w", name="net", type="t")
    found = reproduce(repository._opened, "net", code, environment(**GIT))
    assert found.recipe.run is None
    with pytest.raises(NotFoundError, match=r"There is no version"):
        reproduce(repository._opened, "nothing", code, environment(**GIT))


def test_records_of_others_run_nothing(repository: Repository, code: Path, tmp_path: Path) -> None:
    """Whatever a record from elsewhere holds is no option of git's, and stays in its line of the script."""
    evil = tmp_path / "evil"
    record = {
        "command": [
            "true; touch " + str(evil),
            "$(touch " + str(evil) + ")",
            "`touch " + str(evil) + "`\ntouch " + str(evil),
        ],
        "folder": "/x/../../..",
        "code": {
            "commit": "--upload-pack=touch " + str(evil),
            "remote": "x\ntouch " + str(evil),
            "branch": ["x"],
            "patch": "../../../etc/passwd",
            "root": "/x",
            "untracked": "abc",
        },
        "packages": {"numpy": "1\n--index-url http://evil", "-r x": "1", "good": "1.0+cpu"},
        "environment": {"X\ntouch " + str(evil): "1", "Y": "1\ntouch " + str(evil), "Z": "$(touch " + str(evil) + ")"},
        "python": "3",
    }
    made(repository, code, record)
    recipe = find_recipe(repository._opened, "net:v0")
    assert (recipe.commit, recipe.patch, recipe.untracked, recipe.python) == (None, None, (), None)
    assert recipe.packages == {"good": "1.0+cpu"}
    assert recipe.environment.keys() == {"Z"}
    for text in (script(recipe), script(recipe, str(repository.path))):
        path = tmp_path / "x.sh"
        path.write_text(text.replace("mlver ", "true "))
        subprocess.run(["sh", path], env=environment(), check=False, capture_output=True, cwd=tmp_path)
        assert not evil.exists()
    with pytest.raises(NotFoundError, match="not recorded"):
        reproduce(repository._opened, "net:v0", code, environment(**GIT), tmp_path / "again")


def test_git_runs_no_hooks_and_a_patch_stays_inside(repository: Repository, code: Path, tmp_path: Path) -> None:
    hook = code / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path / 'evil'}\n")
    hook.chmod(0o755)
    made(repository, code)
    reproduce(repository._opened, "net:v0", code, environment(**GIT), tmp_path / "again")
    assert not (tmp_path / "evil").exists()
    git(code, "worktree", "remove", "--force", str(tmp_path / "again"))
    opened = repository._opened
    patch = b"--- /dev/null\n+++ b/../outside\n@@ -0,0 +1 @@\n+x\n"
    commit = git(code, "rev-parse", "HEAD")
    begin_run(opened, name="evil", record={"command": ["x"], "code": {"commit": commit, "dirty": True}}, patch=patch)
    with pytest.raises(MlverError, match="git apply failed"):
        reproduce(opened, "evil", code, environment(**GIT), tmp_path / "other")
    assert not (tmp_path / "outside").exists()
