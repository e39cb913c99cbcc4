"""What is recorded of the code, in every state that a git repository may be in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mlver.lineage.capture import git
from mlver.lineage.capture.git import CapturedCode, capture_code
from mlver.lineage.capture.processes import ask

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
WHO = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
ENVIRONMENT = {**os.environ, **WHO, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
Git = Callable[..., str]


@pytest.fixture
def at(tmp_path: Path) -> Git:
    """Run git in a folder, `tmp_path` by default; what it says is returned."""

    def run(*arguments: str, folder: Path = tmp_path) -> str:
        done = subprocess.run(["git", *arguments], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)
        return done.stdout.decode()

    return run


@pytest.fixture
def code(tmp_path: Path, at: Git) -> Path:
    """A repository of one commit of `train.py`."""
    at("init", "-q", "-b", "main")
    (tmp_path / "train.py").write_text("lr = 0.1\n")
    at("add", ".")
    at("commit", "-qm", "first")
    return tmp_path


def captured(folder: Path) -> CapturedCode:
    return capture_code(folder, ENVIRONMENT)


def applied(found: CapturedCode, code: Path, at: Git, folder: Path) -> Path:
    """Return a new clone of the commit with the patch in it."""
    assert found.patch is not None
    at("clone", "-q", str(code), str(folder))
    (folder / "patch").write_bytes(found.patch)
    at("apply", "patch", folder=folder)
    return folder


def test_a_clean_tree(code: Path, at: Git) -> None:
    at("remote", "add", "origin", "https://ada:hunter22@x.org/r.git")
    found = captured(code)
    assert found.document == {
        "commit": at("rev-parse", "HEAD").strip(),
        "branch": "main",
        "remote": "https://x.org/r.git",
        "root": str(code.resolve()),
        "dirty": False,
        "patch": None,
        "untracked": [],
        "untracked_count": 0,
    }
    assert (found.patch, found.notes) == (None, ())


def test_what_was_changed_staged_deleted_renamed_and_made_is_a_patch(code: Path, at: Git, tmp_path: Path) -> None:
    for name in ("gone.py", "old name.py", "ümlaut.py"):
        (code / name).write_text(f"{name}\n" * 5)
    (code / "sub").mkdir()
    at("add", ".")
    at("commit", "-qm", "more")
    (code / "gone.py").unlink()
    at("mv", "old name.py", "new name.py")
    (code / "ümlaut.py").write_text("else\n")
    (code / "binary.bin").write_bytes(bytes(range(256)) * 4)
    at("add", "binary.bin")
    (code / "train.py").write_text("lr = 0.2\n")
    found = capture_code(code / "sub", ENVIRONMENT)  # from below, all of it is meant
    assert found.document["dirty"]
    assert "left_out" not in found.document
    clone = applied(found, code, at, tmp_path / "clone")
    files = {path.name: path.read_bytes() for path in clone.iterdir() if path.is_file() and path.name != "patch"}
    assert files == {path.name: path.read_bytes() for path in code.iterdir() if path.is_file()}


def test_files_that_git_does_not_know_are_named_and_only_named(code: Path) -> None:
    (code / ".mlver").mkdir()
    (code / ".mlver" / "x").write_text("ours")
    for number in range(150):
        (code / f"notes{number:03}.txt").write_text("x")
    found = captured(code)
    assert len(found.document["untracked"]) == git.MAX_UNTRACKED
    assert found.document["untracked_count"] == 150
    assert (found.document["dirty"], found.patch) == (False, None)
    assert found.notes == (
        "Not in git, and so not recorded as code: notes000.txt, notes001.txt, notes002.txt, … (150 in all).",
    )


@pytest.mark.parametrize("then", ["grown", "shrunk", "deleted"])
def test_large_changes_are_left_out_of_the_patch_and_named(
    code: Path, at: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    monkeypatch.setattr(git, "MAX_CHANGED_BYTES", 1000)
    (code / "weights.bin").write_bytes(bytes(10 if then == "grown" else 2000))
    at("add", ".")
    at("commit", "-qm", "weights")
    if then == "deleted":
        (code / "weights.bin").unlink()
    else:
        (code / "weights.bin").write_bytes(bytes(5000 if then == "grown" else 3))
    (code / "train.py").write_text("lr = 0.2\n")
    found = captured(code)
    assert found.document["left_out"] == ["weights.bin"]
    assert found.notes == ("Too large for the patch of what was changed since the commit: weights.bin.",)
    assert (applied(found, code, at, tmp_path / "clone") / "train.py").read_text() == "lr = 0.2\n"


def test_a_patch_has_a_limit(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "MAX_PATCH_BYTES", 1 << 20)
    (code / "train.py").write_bytes(os.urandom(2 << 20))
    found = captured(code)
    assert (found.document["dirty"], found.patch) == (True, None)
    assert found.notes == ("What was changed since the commit is not recorded: git diff wrote more than 1 MiB.",)


def test_too_many_unknown_files_do_not_hide_the_commit(code: Path, tmp_path: Path) -> None:
    # A git that fails where it is asked for unknown files, as one does whose answer is too long or too late.
    programs = tmp_path / "programs"
    programs.mkdir()
    refuse = 'for word; do [ "$word" != --untracked-files=normal ] || exit 3; done'
    script = f'#!/bin/sh\n{refuse}\nexec {shutil.which("git")} "$@"\n'
    (programs / "git").write_text(script)
    (programs / "git").chmod(0o755)
    found = capture_code(code, {**ENVIRONMENT, "PATH": f"{programs}:{os.environ['PATH']}"})
    assert len(found.document["commit"]) == 40
    assert found.notes == ("Which files git does not know is not recorded: git failed with exit code 3.",)


def test_no_commit_yet(tmp_path: Path, at: Git) -> None:
    at("init", "-q", "-b", "main")
    (tmp_path / "train.py").write_text("x")
    at("add", ".")
    found = captured(tmp_path)
    assert (found.document["commit"], found.document["branch"], found.document["dirty"]) == (None, "main", True)
    assert found.notes == ("The git repository has no commit: which code ran is not recorded.",)


def test_a_detached_head_has_no_branch(code: Path, at: Git) -> None:
    at("checkout", "-q", "--detach")
    found = captured(code)
    assert (found.document["branch"], len(found.document["commit"]), found.notes) == (None, 40, ())


def test_bare_repositories_and_git_folders_are_no_code(code: Path, at: Git, tmp_path: Path) -> None:
    at("clone", "-q", "--bare", str(code), str(tmp_path / "bare"))
    for folder in (tmp_path / "bare", code / ".git"):
        found = captured(folder)
        assert (found.document, found.patch) == ({}, None)
        assert len(found.notes) == 1
        assert found.notes[0].startswith("Which code ran is not recorded:")


def test_a_submodule_of_another_commit_is_in_the_patch(code: Path, at: Git, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    at("clone", "-q", str(code), str(inner))
    at("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "lib")
    at("commit", "-qm", "with lib")
    (code / "lib" / "more.py").write_text("x")
    assert captured(code).document["dirty"] is False, "what is untracked in there is its own affair"
    at("add", ".", folder=code / "lib")
    at("commit", "-qm", "more", folder=code / "lib")
    found = captured(code)
    assert found.patch is not None
    assert b"+Subproject commit " + at("rev-parse", "HEAD", folder=code / "lib").strip().encode() in found.patch


def test_no_repository_and_no_git(tmp_path: Path) -> None:
    assert captured(Path("/")).notes == ("Which code ran is not recorded: the folder is in no git repository.",)
    without = capture_code(tmp_path, {"PATH": str(tmp_path)})
    assert without.notes == ("Which code ran is not recorded: git is not installed.",)
    assert (without.document, without.patch) == ({}, None)


def test_what_configuration_would_run_is_not_run(code: Path, at: Git, tmp_path: Path) -> None:
    trap = f"touch {tmp_path}/ran;"
    for key in ("core.fsmonitor", "core.pager", "diff.external", "diff.trap.textconv", "diff.trap.command"):
        at("config", key, trap)
    (code / ".gitattributes").write_text("*.py diff=trap\n")
    hook = code / ".git" / "hooks" / "post-index-change"
    hook.write_text(f"#!/bin/sh\n{trap}\n")
    hook.chmod(0o755)
    (code / "train.py").write_text("lr = 0.2\n")
    assert b"+lr = 0.2" in (captured(code).patch or b"")
    assert not (tmp_path / "ran").exists()


def test_names_that_are_no_text_are_written_all_the_same(code: Path) -> None:
    with open(os.fsencode(code) + b"/\xff.py", "w") as file:
        file.write("x")
    found = captured(code)
    assert found.document["untracked"] == ["\\udcff.py"]


def test_a_process_that_is_late_is_killed_with_what_it_started(tmp_path: Path) -> None:
    # What it started holds the pipe open: without killing it, the answer comes only when that has ended.
    script = f"(sleep 20; touch {tmp_path}/ended) & echo here; sleep 100"
    assert ask(["sh", "-c", script], os.environ, seconds=0.2).problem == "took longer than 0.2 s"
    assert not (tmp_path / "ended").exists()
