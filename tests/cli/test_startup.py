from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import PROJECT, environment

HEAVY = {"rich", "numpy", "fsspec", "s3fs", "gcsfs", "pydantic", "yaml", "xxhash", "blake3", "zstandard", "sqlite3"}
PROGRAM = """
import sys
from mlver.cli.main import run
code = run(sys.argv[1:])
sys.stderr.write(" ".join(sorted(sys.modules)))
sys.exit(code)
"""


def _modules(folder: Path, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_nothing_heavy_is_imported(tmp_path: Path, arguments: list[str]) -> None:
    modules = _modules(tmp_path, *arguments)
    assert not HEAVY & modules
    assert not [name for name in modules if name.startswith("mlver.cli.commands")]


def test_only_the_called_command_is_imported(tmp_path: Path) -> None:
    modules = _modules(tmp_path, "init", "--help")
    assert [name for name in modules if name.startswith("mlver.cli.commands.")] == ["mlver.cli.commands.init"]
    assert not {"rich", "numpy", "fsspec", "pydantic"} & modules


def test_pull_does_without_what_logs_tracebacks_by_itself(tmp_path: Path) -> None:
    # hashlib does where one of its algorithms cannot be loaded, and `secrets` imports it.
    modules = _modules(tmp_path, "pull", "--help")
    assert "mlver.cli.commands.pull" in modules
    assert not {"hashlib", "secrets"} & modules


def test_completion_runs_without_typer(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mlver", "__complete", "artifacts"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "mlver.cli.completion" in imported
    assert not {"typer", "click", "rich", "numpy"} & imported


def test_the_library_knows_nothing_of_the_terminal() -> None:
    program = "import sys, mlver; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert not {"typer", "click", "rich", "numpy"} & set(done.stdout.split())
