from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mlver.ops.add import AddRequest, add
from mlver.ops.init import init_repository
from mlver.ops.opening import open_repository
from mlver.ops.remotes.configure import add_remote
from mlver.ops.runs.begin import begin_run
from tests.support.process import COMMAND, PROJECT, environment, run_mlver


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder whose repository has `net` (v0 `best`, v1, tag `good`) and `other:v0` (`prod`); `net` is current."""
    init_repository(tmp_path)
    opened = open_repository(tmp_path / ".mlver")
    for name, content, aliases, tags in (
        ("other", "a", ["prod"], []),
        ("net", "b", ["best"], ["good"]),
        ("net", "c", [], []),
    ):
        file = tmp_path / "weights.bin"
        file.write_text(content)
        add(opened, AddRequest([file], name=name, type="model", aliases=aliases, tags=tags))
    begin_run(opened, name="first")
    add_remote(opened, "here", str(tmp_path / "remote"))
    opened.close()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["artifacts"], ["net", "other"]),
        (["artifacts", "o"], ["other"]),
        (["aliases"], ["latest", "best"]),
        (["tags", "g"], ["good"]),
        (["revisions"], ["latest", "best", "v1", "v0", "net", "other"]),
        (["revisions", "v"], ["v1", "v0"]),
        (["revisions", "other:"], ["other:latest", "other:prod", "other:v0"]),
        (["revisions", "other@p"], ["other@prod"]),
        (["revisions", "absent:"], []),
        (["origins", "f"], ["first"]),
        (["origins", "n"], ["net"]),
        (["remotes"], ["here"]),
        (["conditions", "a"], ["add", "alias"]),
        (["conditions", "alias"], ["alias", "alias:latest", "alias:best"]),
        (["conditions", "tag:"], ["tag:good"]),
        (["conditions", "add:o"], ["add:other"]),
        (["conditions", "rm:"], []),
    ],
)
def test_words(repository: Path, arguments: list[str], words: list[str]) -> None:
    done = run_mlver("__complete", *arguments, folder=repository)
    assert (done.code, done.out.split(), done.err) == (0, words, "")


def test_outside_a_repository_nothing_is_offered_or_said(tmp_path: Path) -> None:
    done = run_mlver("__complete", "artifacts", folder=tmp_path)
    assert (done.code, done.out, done.err) == (1, "", "")


def _in_bash(folder: Path, line: str) -> list[str]:
    program = (
        'mlver() { "${MLVER[@]}" "$@"; }; source "$1"; shift; line=$1; shift; MLVER=("$@")\n'
        'COMP_LINE=$line COMP_POINT=${#line}; _mlver; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    script = str(PROJECT / "completions/mlver.bash")
    done = subprocess.run(
        ["bash", "-c", program, "bash", script, line, *COMMAND],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mlver ini", ["init"]),
        ("mlver -C / ini", ["init"]),
        ("mlver -q ini", ["init"]),
        ("mlver init --j", ["--json"]),
        ("mlver switch ", ["net", "other"]),
        ("mlver show net:b", ["best"]),  # readline replaces only what follows the colon
        ("mlver show v", ["v1", "v0"]),
        ("mlver watch --on alias:b", ["best"]),
        ("mlver bisect --good v", ["v1", "v0"]),
        ("mlver reproduce f", ["first"]),
        ("mlver export --format cr", ["croissant"]),
        ("mlver push --remote ", ["here"]),
    ],
)
def test_bash(repository: Path, line: str, words: list[str]) -> None:
    assert _in_bash(repository, line) == words


@pytest.mark.parametrize(("shell", "script"), [("bash", "mlver.bash"), ("zsh", "_mlver"), ("fish", "mlver.fish")])
def test_scripts_parse(shell: str, script: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    subprocess.run([shell, "-n", str(PROJECT / "completions" / script)], check=True, timeout=60)
