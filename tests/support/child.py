"""mlver's Python API in a process of its own: to be killed, limited, or run by somebody without privileges."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.process import environment

_PRELUDE = "import os, sys\nfrom pathlib import Path\nimport mlver\nfrom mlver import Repository\n"


def start_python(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start Python on `code`, with `Repository` and `Path` at hand and the arguments in `sys.argv[1:]`."""
    return subprocess.Popen(
        [sys.executable, "-c", _PRELUDE + code, *map(str, arguments)],
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_python(code: str, *arguments: str | Path) -> str:
    """Run Python on `code` as `start_python` does, and return what it printed; it must succeed."""
    process = start_python(code, *arguments)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out
