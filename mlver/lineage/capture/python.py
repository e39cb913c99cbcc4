"""The Python that a command runs in, and which packages it has.

The interpreter is asked where it looks for modules, which takes some 20 ms; packages are then read from the names of
the folders there. None of them is imported.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlver.lineage.capture.processes import ask

_QUESTION = "import sys; print(sys.version.split()[0]); print(sys.prefix); print(*sys.path[1:], sep='\\n')"
"""It imports nothing that a file in the present folder could stand in for; the first place is that folder."""
_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*")
_DISTRIBUTION = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+?)(?:-py[0-9.]+)?\.(?:dist-info|egg-info|egg)", re.ASCII)
_MAX_LINE = 512
MAX_PACKAGES = 5000


@dataclass(frozen=True, slots=True)
class CapturedPython:
    """An interpreter.

    Attributes:
        document: `executable`, `version`, `prefix`, and `found`: `command` if the command is that interpreter, `script`
            if it is a script that names it, `path` if it is merely the first in PATH; empty if there is none.
        packages: Versions of installed packages, by name.
    """

    document: dict[str, Any]
    packages: dict[str, str]


def capture_python(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> CapturedPython:
    """Return the Python that a command uses, or else the first one in PATH.

    Args:
        command: The program and its arguments.
        environment: Its environment.
        folder: Where it runs.
    """
    executable, found = _interpreter(command[0], environment, folder)
    if executable is None:
        return CapturedPython({}, {})
    answer = ask([executable, "-c", _QUESTION], environment, folder, max_bytes=1 << 20)
    lines = os.fsdecode(answer.output).splitlines()
    if answer.problem is not None or len(lines) < 2:
        return CapturedPython({"executable": executable, "found": found}, {})
    document = {"executable": executable, "version": lines[0], "prefix": lines[1], "found": found}
    return CapturedPython(document, packages_in(lines[2:]))


def this_python() -> CapturedPython:
    """Return the interpreter of this process."""
    version = ".".join(map(str, sys.version_info[:3]))
    document = {"executable": sys.executable, "version": version, "prefix": sys.prefix, "found": "command"}
    return CapturedPython(document, packages_in(sys.path))


def packages_in(folders: Iterable[str]) -> dict[str, str]:
    """Return the versions of the packages in folders, by name; of two of one name, that in the first folder."""
    found: dict[str, str] = {}
    for folder in folders:
        try:
            names = sorted(os.listdir(folder or "."))
        except OSError:  # a place that does not exist, or a zip file
            continue
        for name in names:
            match = _DISTRIBUTION.fullmatch(name) if "-" in name else None
            if match and len(found) < MAX_PACKAGES:
                found.setdefault(re.sub(r"[-_.]+", "-", match["name"]).lower(), match["version"])
    return dict(sorted(found.items()))


def _interpreter(program: str, environment: Mapping[str, str], folder: Path) -> tuple[str | None, str]:
    """Return the interpreter of a program, and how it was found."""
    path = _which(program, environment, folder)
    if path is not None and _PYTHON.fullmatch(Path(path).name):
        return path, "command"
    if path is not None and (named := _named_in(path, environment, folder)) is not None:
        return named, "script"
    return _which("python", environment, folder) or _which("python3", environment, folder), "path"


def _named_in(script: str, environment: Mapping[str, str], folder: Path) -> str | None:
    """Return the interpreter that the first line of a script names, if it is a Python."""
    try:
        with open(script, "rb") as file:
            line = file.readline(_MAX_LINE)
    except OSError:
        return None
    words = os.fsdecode(line[2:]).split() if line.startswith(b"#!") else []
    if words and Path(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    if not words or not _PYTHON.fullmatch(Path(words[0]).name):
        return None
    return _which(words[0], environment, folder)


def _which(program: str, environment: Mapping[str, str], folder: Path) -> str | None:
    if os.sep in program:
        program = str(folder / program)
    return shutil.which(program, path=environment.get("PATH", os.defpath))
