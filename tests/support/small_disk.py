"""A small disk, to fill."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import PROJECT, environment

_MOUNT = """
import subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "-o", sys.argv.pop(), "none", sys.argv[1]], check=True)
"""
_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def on_small_disk(code: str, folder: Path, options: str = "size=24m") -> str:
    """Run Python in a process of its own that has such a disk, and return what it prints.

    Args:
        code: What to run. Its arguments are the disk's folder, and one on another disk.
        folder: Where both are made; empty.
        options: Of the disk, a tmpfs.
    """
    if shutil.which("unshare") is None or subprocess.run([*_NAMESPACE, "true"], check=False).returncode:
        pytest.skip("NO DISK COULD BE MADE: unshare does not work here")
    disk, outside = folder / "disk", folder / "outside"
    disk.mkdir()
    outside.mkdir()
    done = subprocess.run(
        [*_NAMESPACE, sys.executable, "-c", _MOUNT + code, disk, outside, options],
        capture_output=True, text=True, timeout=120, check=False, cwd=PROJECT, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
