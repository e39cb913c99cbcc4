"""Plants each bug of the table in a copy of the source, and runs the tests that must notice it.

`python -m tests.mutants [PART OF A NAME...]` runs those whose names contain it, or all; `--table` prints them as rows
for docs/reliability.md, `--jobs N` runs so many at once. It ends with 1 if a bug lives.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.mutants.table import MUTANTS, Mutant

PROJECT = Path(__file__).parents[2]
_PARTS = ("mlver", "tests", "dev", "docs", "pyproject.toml", "README.md")
_TIMEOUT_SECONDS = 900
_FAILED = 1
"""pytest's exit code for tests that failed; all others are about the run itself."""


def mutated(mutant: Mutant) -> str:
    """Return the text of the file with the bug in it.

    Raises:
        ValueError: What it replaces does not occur exactly once.
    """
    text = (PROJECT / mutant.path).read_text()
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: {mutant.path} has what is replaced {text.count(mutant.old)} times.")
    return text.replace(mutant.old, mutant.new)


def catcher_of(mutant: Mutant, folder: Path) -> str | None:
    """Run the catchers on a copy with the bug; return the name of the first test that failed, None if none did.

    Raises:
        RuntimeError: The tests could not be run.
    """
    copy = folder / mutant.name.replace(" ", "-")
    for part in _PARTS:
        source = PROJECT / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, copy / part)
    (copy / mutant.path).write_text(mutated(mutant))
    for catcher in mutant.catchers:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=no", catcher],
            cwd=copy,
            check=False,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
        )
        if done.returncode not in (0, _FAILED):
            raise RuntimeError(
                f"{mutant.name}: {catcher} could not be run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        if done.returncode == _FAILED:
            shutil.rmtree(copy)
            failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
            return failed[0].split()[1] if failed else catcher
    return None


def main(arguments: list[str]) -> int:
    """Run what was asked for, and return 1 if a bug lives."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args(arguments)
    chosen = [mutant for mutant in MUTANTS if not asked.names or any(name in mutant.name for name in asked.names)]
    living = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(asked.jobs) as pool:
        caught = pool.map(partial(catcher_of, folder=Path(folder).resolve()), chosen)
        for mutant, catcher in zip(chosen, caught, strict=True):
            living += catcher is None
            said = f"`{catcher.removeprefix('tests/')}`" if catcher else "**nobody**"
            print(f"| {mutant.name} | {said} |" if asked.table else f"{mutant.name}: {catcher or 'LIVES'}", flush=True)
    print(f"{len(chosen) - living} of {len(chosen)} were caught", file=sys.stderr)
    return int(living > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
