"""Time and memory of large checkpoints against `cp`: `python benchmarks/speed.py FOLDER [SERIES …]`.

FOLDER is what `large_checkpoints.py` made. At each level all versions but the last are stored; then adding the last is
measured, from the same state each round, and restoring each version. Whole processes, run in turn; medians, then
fastest–slowest. Sources and packs are in the page cache, free memory was just touched, and nothing dirty is left over
when a clock starts. mlver flushes what it wrote; `cp` is measured both with a flush within the clock and without any.
What it takes only to read, hash and write the file is measured beside adding (`floor.py`). A version that came back is
compared with what went in.

A base is read where it was added from, if it still lies there: adding is measured with the earlier files in place, as a
training that keeps its checkpoints has them, and with those files gone.

Level max is `add` at level max; nothing is repacked. Twice the series' size of disk is needed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
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
    size_of,
    table,
    verdict,
    workplace,
)

ADD_BARS = {"fast": 1.2, "balanced": 2.5}
RESTORE_BAR = 2.5
PEAK_BAR_BYTES = 700e6
TOUCHED = 3
"""How many times a version's size of free memory is touched before a clock starts."""
Command = Sequence[str | Path]


class Series:
    """Repositories with the versions of a series, one a level.

    Args:
        bench: Where to work.
        mlver: The program.
        files: The versions.
    """

    def __init__(self, bench: Bench, mlver: Path, files: Sequence[Path]) -> None:
        self._bench, self._mlver = bench, mlver
        self.sources = [self._source(number, file) for number, file in enumerate(files)]
        self.touched_bytes = TOUCHED * max(file.stat().st_size for file in files)

    def _source(self, number: int, file: Path) -> Path:
        """Put a version into a folder of its own, under the name they all have."""
        path = self._bench.fresh(f"source-{number}") / f"model{file.suffix}"
        try:
            os.link(file, path)
        except OSError:
            shutil.copyfile(file, path)
        return path

    def add(self, level: str, number: int) -> Command:
        """Return the command that adds a version."""
        return [self._mlver, "add", self.sources[number], "-n", "m", "-t", "t", "--compression", level, "-q"]

    def keep_earlier(self, kept: bool) -> None:
        """Have the files of all versions but the last where they were added from, or elsewhere."""
        for source in self.sources[:-1]:
            here, away = source.parent, source.parent.with_name(f"{source.parent.name}-away")
            if kept and away.exists():
                away.rename(here)
            elif not kept and here.exists():
                here.rename(away)

    def repository(self, level: str) -> Path:
        """Return the folder of a level's repository."""
        return self._bench.folder / level

    def store_all_but_last(self, level: str) -> None:
        """Make the state before the `add` that is measured."""
        folder = self._bench.fresh(f"{level}-before")
        self._bench.run([self._mlver, "init"], folder)
        for number in range(len(self.sources) - 1):
            self._bench.run(self.add(level, number), folder)

    def rewind(self, level: str, kept: bool) -> None:
        """Go back to that state, the files of the versions kept or gone."""
        self.keep_earlier(kept)
        folder = self.repository(level)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._bench.folder / f"{level}-before", folder, copy_function=link_packs)

    def remove(self, level: str) -> None:
        """Remove all that was made of a level."""
        for folder in (self.repository(level), self._bench.folder / f"{level}-before", self._bench.folder / "out"):
            shutil.rmtree(folder, ignore_errors=True)

    def pull(self, level: str, number: int) -> Job:
        """Return the job of restoring a version."""
        out = self._bench.folder / "out"
        command: Command = [self._mlver, "pull", f"m:v{number}", "-o", out, "-q"]
        return Job(command, self.repository(level), partial(shutil.rmtree, out, ignore_errors=True), out)

    def cp(self, number: int, flush: bool) -> Job:
        """Return the job of copying a version's file."""
        copy = self._bench.folder / "copy"
        prepare = partial(copy.unlink, missing_ok=True)
        return Job(["cp", self.sources[number], copy], self._bench.folder, prepare, copy if flush else None)

    def floor(self, number: int) -> Job:
        """Return the job of reading, hashing and writing a version's file."""
        out = self._bench.folder / "floor"
        prepare = partial(shutil.rmtree, out, ignore_errors=True)
        return Job([PYTHON, HERE / "floor.py", self.sources[number], out], self._bench.folder, prepare)

    def verify(self, level: str) -> None:
        """Restore every version and compare."""
        for number, source in enumerate(self.sources):
            job = self.pull(level, number)
            job.prepare()
            self._bench.run(job.command, job.folder)
            subprocess.run(["cmp", source, self._bench.folder / "out" / source.name], check=True)


def link_packs(source: str, target: str) -> None:
    """Copy a file; a pack, which nothing ever changes, by a link."""
    if source.endswith(".pack"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def line(name: str, result: Result, cp: Mapping[str, Result], bar: float | None) -> list[str]:
    """Return a line of a table."""
    flushed, unflushed = (result.seconds / cp[kind].seconds for kind in ("cp", "cp, not flushed"))
    kept = "" if bar is None else f"≤ {bar:g} ×: {verdict(flushed, bar)}; "
    kept += f"≤ 700 MB: {verdict(result.peak_bytes, PEAK_BAR_BYTES)}" if "mlver" in name else ""
    peak, cpu = megabytes(result.peak_bytes), f"{result.cpu_seconds:.2f}"
    return [name, f"{seconds(result.seconds)} ({result.spread})", f"{flushed:.2f}", f"{unflushed:.2f}", cpu, peak, kept]


HEAD = ["process", "wall", "÷ cp", "÷ cp, not flushed", "CPU s", "peak", "bar"]


def states(level: str) -> dict[str, bool]:
    """Return whether the earlier files are in their places, by what the measurement is called."""
    return {level: True} if level == "fast" else {level: True, f"{level}, earlier files gone": False}


def measure_add(bench: Bench, series: Series, level: str, rounds: int) -> list[list[str]]:
    """Return the lines on adding the last version."""
    last = len(series.sources) - 1
    references = {
        "cp": series.cp(last, True),
        "cp, not flushed": series.cp(last, False),
        "read, hash, write": series.floor(last),
    }
    jobs = dict(references)
    series.store_all_but_last(level)
    repository = series.repository(level)
    for name, kept in states(level).items():
        jobs[name] = Job(series.add(level, last), repository, partial(series.rewind, level, kept), repository)
    results = bench.compare(jobs, rounds, series.touched_bytes)
    series.keep_earlier(True)
    rows = [line(name, results[name], results, None) for name in references]
    return rows + [line(f"`mlver add`, {name}", results[name], results, ADD_BARS.get(level)) for name in states(level)]


def measure_restore(bench: Bench, series: Series, level: str, rounds: int) -> list[list[str]]:
    """Return the lines on restoring each version."""
    references = {"cp": series.cp(0, True), "cp, not flushed": series.cp(0, False)}
    names = {f"`mlver pull`, {level}, v{number}": number for number in range(len(series.sources))}
    jobs = references | {name: series.pull(level, number) for name, number in names.items()}
    results = bench.compare(jobs, rounds, series.touched_bytes)
    rows = [line(name, results[name], results, None) for name in references]
    return rows + [line(name, results[name], results, RESTORE_BAR) for name in names]


def measure(bench: Bench, mlver: Path, files: Sequence[Path], levels: Sequence[str], rounds: int) -> None:
    """Print the tables of a series, a level after the other: the bytes of both may be more than memory holds."""
    series = Series(bench, mlver, files)
    for level in levels:
        title = f"{files[0].parent.name}, {len(files)} versions of {files[0].stat().st_size / 1e9:.2f} GB, {level}"
        print(f"### Adding the last of {title}, {rounds} rounds\n")
        print(table(HEAD, measure_add(bench, series, level, rounds)) + "\n")
        stored = size_of(series.repository(level) / ".mlver") / sum(file.stat().st_size for file in files)
        print(f"Stored ÷ raw: {stored:.3f}.\n")
        print(f"### Restoring {title}, {rounds} rounds\n")
        print(table(HEAD, measure_restore(bench, series, level, rounds)) + "\n")
        series.verify(level)
        series.remove(level)
        print("Every version came back as it went in.\n", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what large_checkpoints.py made")
    parser.add_argument("series", nargs="*", help="the series to measure, by default all")
    parser.add_argument("--levels", default="fast,balanced", help="levels, with commas between")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions")
    parser.add_argument("--work", type=Path, help="where to work: a folder on the disk to measure")
    arguments = parser.parse_args()
    mlver = find_mlver()
    print(f"{machine(mlver)}.\n")
    names = arguments.series or sorted(path.name for path in arguments.folder.iterdir() if path.is_dir())
    for name in names:
        files = sorted((arguments.folder / name).resolve().iterdir())
        print(name, file=sys.stderr)
        with workplace(arguments.work) as bench:
            measure(bench, mlver, files, arguments.levels.split(","), arguments.rounds)


if __name__ == "__main__":
    main()
