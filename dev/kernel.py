"""Compiles the loops over elements, `kernel.c` in some rooms of mlver, to where the Python beside it looks for them.

`dev/build` runs this after an edit of the C files; building and installing mlver does by way of `dev/hatch_build.py`.
It calls `$CC`, or `cc`, with `$CFLAGS` after its own flags. Without a compiler mlver works all the same, more slowly.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

_MLVER = Path(__file__).parent.parent / "mlver"
_ROOMS = (_MLVER / "codec", _MLVER / "differences")
_FLAGS = ["-std=c99", "-O3", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden"]
_VARIANTS = {"_kernel.so": [], "_kernel_avx2.so": ["-mavx2", "-mbmi2"]}
_VARIANTS_ELSEWHERE = {"_kernel.so": list[str]()}


class NotCompiled(Exception):
    """There is no compiler, or it failed."""


def compile_kernel() -> list[Path]:
    """Compile the kernels for this machine.

    Returns:
        The libraries that were made.

    Raises:
        NotCompiled: There is no compiler, or it failed; no library is left.
    """
    is_x86_64 = platform.machine().lower() in ("x86_64", "amd64")
    variants = _VARIANTS if is_x86_64 else _VARIANTS_ELSEWHERE
    made = {room / name: flags for room in _ROOMS for name, flags in variants.items()}
    for path in [room / name for room in _ROOMS for name in _VARIANTS]:
        path.unlink(missing_ok=True)
    try:
        for path, flags in made.items():
            _compile(path, flags)
    except NotCompiled:
        for path in made:
            path.unlink(missing_ok=True)
        raise
    return list(made)


def _compile(path: Path, flags: list[str]) -> None:
    compiler = shlex.split(os.environ.get("CC") or "cc")
    added = shlex.split(os.environ.get("CFLAGS", ""))
    # Beside its place first: a library that runs must not change.
    staged = path.with_suffix(f".{os.getpid()}.tmp")
    command = [*compiler, *_FLAGS, *flags, *added, str(path.parent / "kernel.c"), "-o", str(staged)]
    try:
        subprocess.run(command, check=True, stdout=sys.stderr)
        staged.replace(path)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotCompiled(f"{shlex.join(command)}: {error}") from error
    finally:
        staged.unlink(missing_ok=True)


def main() -> int:
    """Compile, and print what was made."""
    try:
        made = compile_kernel()
    except NotCompiled as error:
        print(
            f"The kernels were not compiled; mlver will do without them, many times as slowly. {error}",
            file=sys.stderr,
        )
        return 1
    print(*made, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
