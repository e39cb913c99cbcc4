"""Figures of `mlver diff`: `python benchmarks/diff.py [--series FOLDER] [--gb 1] [--only names,weights,rows]`.

Needs `pip install '.[bench]'` in the environment it is run with, and five times `--gb` of disk. With `--series` the
first two files of a folder of trained checkpoints are compared (see `large_checkpoints.py`); without it, random weights
of `--gb` and the same moved a little.

names    two versions with 1,000 tensors, `--names-only`, against `mlver --version`: whole processes
weights  magnitudes of two checkpoints in which all changed, from the store, against `cat` of both restored files;
         then the same pair again, which is remembered, against `--names-only`
rows     two tables of a million predictions, in the same order and with all rows moved
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness import (
    HERE,
    PYTHON,
    Bench,
    Job,
    Result,
    find_mlver,
    machine,
    megabytes,
    seconds,
    table,
    verdict,
    workplace,
)

PEAK_BAR_BYTES = 600e6
TENSORS = 1000
ROWS = 1_000_000
START_ROUNDS = 15
SAME = 1.25
"""A ratio up to which two times count as the same."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What to measure."""

    mlver: Path
    series: Path | None
    size_bytes: int
    rounds: int


def make_pair(bench: Bench, kind: str, amount: int) -> tuple[Path, Path]:
    """Make two files in a process of its own, and return them."""
    folder = bench.fresh("pair")
    bench.run([PYTHON, HERE / "make_pairs.py", kind, folder, str(amount)], bench.folder)
    before, after = sorted(folder.iterdir())
    return before, after


def add_both(bench: Bench, settings: Settings, name: str, pair: tuple[Path, Path]) -> Path:
    """Make a repository with both files as versions, and return its folder."""
    home = bench.fresh(name)
    bench.run([settings.mlver, "init"], home)
    place = home / f"file{pair[0].suffix}"
    for file in pair:
        place.unlink(missing_ok=True)
        place.symlink_to(file)
        bench.run([settings.mlver, "add", place, "--name", "m", "--type", "t", "-q"], home)
    return home


def line(name: str, result: Result, reference: Result, kept: str = "") -> list[str]:
    """Return a table line that compares a result with a reference."""
    ratio = result.seconds / reference.seconds
    shown = f"{seconds(result.seconds)} ({result.spread})"
    return [name, shown, f"{ratio:.2f}", f"{result.cpu_seconds:.2f}", megabytes(result.peak_bytes), kept]


def names(bench: Bench, settings: Settings) -> None:
    """Digests of 1,000 tensors."""
    home = add_both(bench, settings, "names", make_pair(bench, "tensors", TENSORS))
    diff = [settings.mlver, "diff", "v0", "v1", "--names-only"]
    results = bench.compare(
        {
            "version": Job([settings.mlver, "--version"], home),
            "names": Job(diff, home),
            "json": Job([*diff, "--json"], home),
        },
        START_ROUNDS,
    )
    bare, found = results["version"], results["names"]
    kept = f"≤ 4 ×: {verdict(found.seconds / bare.seconds, 4)}"
    rows = [
        line("`mlver --version`", bare, bare),
        line("`mlver diff --names-only`", found, bare, kept),
        line("the same, `--json`", results["json"], bare),
    ]
    print(f"### Which of {TENSORS:,} tensors changed, {START_ROUNDS} rounds\n")
    print(table(["process", "wall", "÷ `--version`", "CPU s", "peak", "bar"], rows) + "\n")


def forget(home: Path) -> None:
    """Forget what was measured."""
    with sqlite3.connect(home / ".mlver" / "index.sqlite") as connection:
        connection.execute("DELETE FROM tensor_changes")
    connection.close()


def weights(bench: Bench, settings: Settings) -> None:
    """Magnitudes of all weights."""
    if settings.series is not None:
        before, after = sorted(settings.series.iterdir())[:2]
    else:
        before, after = make_pair(bench, "weights", settings.size_bytes)
    home = add_both(bench, settings, "weights", (before, after))
    for number in (0, 1):
        bench.run([settings.mlver, "pull", f"m:v{number}", "-o", bench.folder / f"v{number}", "-q"], home)
    files = [str(next((bench.folder / f"v{number}").iterdir())) for number in (0, 1)]
    diff = [settings.mlver, "diff", "v0", "v1"]
    results = bench.compare(
        {
            "cat": Job(["sh", "-c", 'cat "$@" >/dev/null', "sh", *files], home),
            "cat | cat": Job(["sh", "-c", 'cat "$@" | cat >/dev/null', "sh", *files], home),
            "first": Job(diff, home, partial(forget, home)),
            "again": Job(diff, home),
            "names": Job([*diff, "--names-only"], home),
        },
        settings.rounds,
    )
    cat, first, again, fast = (results[name] for name in ("cat", "first", "again", "names"))
    kept = f"≤ 6 ×: {verdict(first.seconds / cat.seconds, 6)}; ≤ 600 MB: {verdict(first.peak_bytes, PEAK_BAR_BYTES)}"
    same = f"as `--names-only`: {again.seconds / fast.seconds:.2f} ×, {verdict(again.seconds / fast.seconds, SAME)}"
    rows = [
        line("`cat` of both files to /dev/null", cat, cat),
        line("the same through a pipe", results["cat | cat"], cat),
        line("`mlver diff`, first", first, cat, kept),
        line("`mlver diff`, again", again, cat, same),
        line("`mlver diff --names-only`", fast, cat),
    ]
    size_bytes = Path(files[0]).stat().st_size
    print(f"### Magnitudes of two files of {size_bytes / 1e9:.2f} GB, {settings.rounds} rounds\n")
    print(table(["process", "wall", "÷ cat", "CPU s", "peak", "bar"], rows) + "\n")


def rows(bench: Bench, settings: Settings) -> None:
    """Tables of predictions."""
    results = {}
    for kind in ("rows", "moved"):
        home = add_both(bench, settings, kind, make_pair(bench, kind, ROWS))
        results |= bench.compare({kind: Job([settings.mlver, "diff", "v0", "v1"], home)}, min(settings.rounds, 3))
    lines = [
        line("in the same order", results["rows"], results["rows"]),
        line("all moved", results["moved"], results["rows"]),
    ]
    print(f"### Two tables of {ROWS:,} predictions, by key\n")
    print(table(["rows", "wall", "÷ same order", "CPU s", "peak", "bar"], lines) + "\n")


SECTIONS: dict[str, Callable[[Bench, Settings], None]] = {"names": names, "weights": weights, "rows": rows}


def main() -> None:
    """Run the sections asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=Path, help="folder of checkpoints, the first two of which are compared")
    parser.add_argument("--gb", type=float, default=1, help="size of random weights in 10⁹ bytes")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of the long runs")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas between")
    parser.add_argument("--folder", type=Path, help="where to work: a folder on the disk to measure")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    mlver = find_mlver()
    settings = Settings(
        mlver, arguments.series and arguments.series.resolve(), int(arguments.gb * 1e9), arguments.rounds
    )
    print(f"{machine(mlver)}.\n")
    for name in chosen:
        with workplace(arguments.folder) as bench:
            SECTIONS[name](bench, settings)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
