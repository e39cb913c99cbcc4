"""How long chains of differences may be: size against the time of a restore: `python benchmarks/chains.py SERIES`.

SERIES is a folder of checkpoints of one training, in order. They are stored with every limit, once in their order, so
that the first is whole and each later one rests on the one before, and once in reverse, so that the newest is whole.
Restores are timed in this process, in turns, and compared with copies of one of the files.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from harness import table

from mlver import Repository
from mlver.chunks import encoding

LIMITS = (0, 1, 2, 3, 5, 8)
ROUNDS = 5


def store(home: Path, files: Sequence[Path], limit: int) -> Repository:
    """Return a repository of the files in this order, in chains of at most so many steps."""
    encoding.MAX_CHAIN = limit
    home.mkdir()
    repository = Repository.init(home)
    for file in files:
        repository.add(file, name="m", type="t")
    return repository


def seconds_to_restore(repository: Repository, number: int, target: Path) -> float:
    """Return how long it takes to restore one version."""
    shutil.rmtree(target, ignore_errors=True)
    start = time.perf_counter()
    repository.pull(f"m:v{number}", target)
    return time.perf_counter() - start


def seconds_to_copy(file: Path, target: Path) -> float:
    """Return how long it takes to copy a file."""
    target.unlink(missing_ok=True)
    start = time.perf_counter()
    shutil.copyfile(file, target)
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    files = sorted(Path(sys.argv[1]).iterdir())
    raw_bytes = sum(file.stat().st_size for file in files)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for order, name in ((files, "first whole"), (files[::-1], "newest whole")):
            for limit in LIMITS:
                if limit >= len(files) and limit != LIMITS[-1]:
                    continue
                rows.append([name, str(limit), *_measure(home / f"{name} {limit}", order, limit, raw_bytes)])
                print(rows[-1], file=sys.stderr, flush=True)
    print(table(["shape", "steps at most", "stored ÷ raw", "newest ÷ cp", "oldest ÷ cp", "mean ÷ cp"], rows))


def _measure(home: Path, files: Sequence[Path], limit: int, raw_bytes: int) -> list[str]:
    repository = store(home, files, limit)
    stored = sum(pack.stat().st_size for pack in (home / ".mlver" / "packs").iterdir())
    times: list[list[float]] = [[] for _ in files]
    copies = []
    for _ in range(ROUNDS):
        copies.append(seconds_to_copy(files[0], home / "copy"))
        for number, found in enumerate(times):
            found.append(seconds_to_restore(repository, number, home / "out"))
    repository.close()
    copy = statistics.median(copies)
    ratios = [statistics.median(found) / copy for found in times]
    newest, oldest = (ratios[0], ratios[-1]) if files != sorted(files) else (ratios[-1], ratios[0])
    shutil.rmtree(home)
    return [
        f"{stored / raw_bytes:.3f}",
        *(f"{ratio:.2f}" for ratio in (newest, oldest, statistics.mean(ratios))),
    ]


if __name__ == "__main__":
    main()
