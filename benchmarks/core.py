"""The core's figures: `python benchmarks/core.py [--gb 4] [--rounds 3] [--only large,memory,start,small,long]`.

Needs `pip install '.[bench]'` in the environment it is run with; restic (a Debian package) and the oxenai package for
the comparisons with them, which are left out, loudly, where those are absent. Takes half an hour or so, most of it to
make the long history, and four times `--gb` of disk.

Each table compares whole processes, run in turn; times are medians, then fastest–slowest. Source files are in the page
cache, copies and repositories are flushed before a clock stops (mlver does that itself; `cp` and Oxen are made to).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
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

PEAK_BAR_BYTES = 600e6
START_ROUNDS = 15
LONG_ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Settings:
    """What to measure: sizes in bytes, numbers of things, repetitions, and the mlver to run."""

    mlver: Path
    size_bytes: int
    rounds: int
    files: int
    versions: int


def skip(what: str, why: str) -> None:
    """Say on both streams that a comparison is left out."""
    line = f"SKIPPED: {what}: {why}"
    print(line, file=sys.stderr)
    print(f"**{line}**\n")


def has_oxen() -> bool:
    """Tell whether the oxenai package is there, and runs."""
    return subprocess.run([PYTHON, HERE / "oxen_add.py"], stderr=subprocess.DEVNULL, check=False).returncode == 0


def init(bench: Bench, settings: Settings, name: str) -> Path:
    """Make an empty repository."""
    folder = bench.fresh(name)
    bench.run([settings.mlver, "init"], folder)
    return folder


def row(name: str, result: Result, reference: Result, bar: float | None = None, unit: str = "") -> list[str]:
    """Return a table line that compares a result with a reference."""
    ratio = result.seconds / reference.seconds
    kept = "" if bar is None else f"≤ {bar:g} ×{unit}: {verdict(ratio, bar)}"
    return [
        name,
        f"{seconds(result.seconds)} ({result.spread})",
        f"{ratio:.2f}",
        f"{result.cpu_seconds:.2f}",
        megabytes(result.peak_bytes),
        kept,
    ]


def large_jobs(bench: Bench, settings: Settings) -> dict[str, Job]:
    """Return the jobs on one large file."""
    source = bench.make_data("weights", bench.folder / "model.safetensors", settings.size_bytes)
    copy, repository, pulled = bench.folder / "copy", bench.folder / "large", bench.folder / "pulled"
    remove_pulled = partial(shutil.rmtree, pulled, ignore_errors=True)
    add: list[str | Path] = [settings.mlver, "add", source, "--name", "m", "--type", "t", "-q"]
    jobs = {
        "cp": Job(["cp", source, copy], bench.folder, partial(copy.unlink, missing_ok=True), copy),
        "mlver add": Job(add, repository, partial(init, bench, settings, "large"), repository),
        "mlver add, untouched": Job(add, repository),
        "mlver pull": Job([settings.mlver, "pull", "m", "-o", pulled, "-q"], repository, remove_pulled, pulled),
    }
    if has_oxen():
        # A file of its own: a new link to the source would be a change of it.
        peer = bench.fresh("oxen")
        shutil.copy(source, peer / source.name)
        command: list[str | Path] = [PYTHON, HERE / "oxen_add.py", peer, source.name]
        forget = partial(shutil.rmtree, peer / ".oxen", ignore_errors=True)
        jobs["oxen add + commit"] = Job(command, peer, forget, peer / ".oxen")
    return jobs


def large(bench: Bench, settings: Settings) -> None:
    """First add, second add and pull of one large file."""
    jobs = large_jobs(bench, settings)
    if "oxen add + commit" not in jobs:
        skip("oxen add + commit", "the oxenai package is not installed (or not built for this system)")
    results = bench.compare(jobs, settings.rounds)
    cp, first, again = results["cp"], results["mlver add"], results["mlver add, untouched"]
    rows = [
        row("`cp`", cp, cp),
        row("`mlver add`, first", first, cp, 1.5),
        row("`mlver add`, untouched", again, cp),
        row("`mlver pull`", results["mlver pull"], cp, 1.5),
    ]
    rows[2][-1] = f"≤ 0.3 s: {verdict(again.seconds, 0.3)}"
    if oxen := results.get("oxen add + commit"):
        rows.append(row("`oxen add` + commit", oxen, cp))
        rows[1][-1] += f"; ≤ Oxen: {verdict(first.seconds, oxen.seconds)}"
    source = bench.folder / "model.safetensors"
    stored = size_of(bench.folder / "large" / ".mlver") / source.stat().st_size
    print(f"### One file of {source.stat().st_size / 1e9:.2f} GB (bf16, random normal), {settings.rounds} rounds\n")
    print(table(["process", "wall", "÷ cp", "CPU s", "peak", "bar"], rows))
    print(f"\nStored ÷ raw: {stored:.3f}.\n")
    verify_pulled(bench)


def verify_pulled(bench: Bench) -> None:
    """Compare what came back with what went in."""
    source = bench.folder / "model.safetensors"
    subprocess.run(["cmp", source, bench.folder / "pulled" / source.name], check=True)


def memory(bench: Bench, settings: Settings) -> None:
    """Peak memory at a quarter of the size and at the whole size."""
    sizes = (settings.size_bytes // 4, settings.size_bytes)
    peaks: dict[str, list[int]] = {"add": [], "add, untouched": [], "pull": []}
    for size_bytes in sizes:
        source = bench.make_data("weights", bench.folder / "model.safetensors", size_bytes)
        repository = init(bench, settings, "memory")
        shutil.rmtree(bench.folder / "pulled", ignore_errors=True)
        add: list[str | Path] = [settings.mlver, "add", source, "--name", "m", "--type", "t", "-q"]
        pull: list[str | Path] = [settings.mlver, "pull", "m", "-o", bench.folder / "pulled", "-q"]
        for name, command in {"add": add, "add, untouched": add, "pull": pull}.items():
            peaks[name].append(bench.run(command, repository).peak_bytes)
    rows = []
    for name, (quarter, whole) in peaks.items():
        kept = f"≤ 600 MB: {verdict(whole, PEAK_BAR_BYTES)}"
        rows.append([f"`mlver {name}`", megabytes(quarter), megabytes(whole), f"{whole / quarter:.2f}", kept])
    print("### Peak memory against size\n")
    names = [f"{size_bytes / 1e9:.2f} GB" for size_bytes in sizes]
    print(table(["process", *names, "ratio", "bar"], rows) + "\n")


def start(bench: Bench, settings: Settings) -> None:
    """The whole process of `log` against a bare Python."""
    repository = bench.make_data("versions", bench.folder / "hundred", 100)
    results = bench.compare(
        {
            "pass": Job([PYTHON, "-c", "pass"], repository),
            "log": Job([settings.mlver, "log"], repository),
            "log --json": Job([settings.mlver, "log", "--json"], repository),
            "--version": Job([settings.mlver, "--version"], repository),
        },
        START_ROUNDS,
    )
    bare = results["pass"]
    rows = [
        row("`python3 -c pass`", bare, bare),
        row("`mlver log`, 100 versions", results["log"], bare, 8),
        row("`mlver log --json`", results["log --json"], bare, 8),
        row("`mlver --version`", results["--version"], bare),
    ]
    print(f"### Start-up, {START_ROUNDS} rounds\n")
    print(table(["process", "wall", "÷ bare Python", "CPU s", "peak", "bar"], rows) + "\n")


def small(bench: Bench, settings: Settings) -> None:
    """Many small files, against restic."""
    source = bench.make_data("files", bench.fresh("files"), settings.files)
    repository, peer, copy = bench.folder / "small", bench.folder / "restic", bench.folder / "files-copy"
    add: list[str | Path] = [settings.mlver, "add", source, "--name", "d", "--type", "dataset", "-q"]
    remove_copy = partial(shutil.rmtree, copy, ignore_errors=True)
    jobs = {
        "cp": Job(["cp", "-r", source, copy], bench.folder, remove_copy, copy),
        "add": Job(add, repository, partial(init, bench, settings, "small"), repository),
        "add again": Job(add, repository),
    }
    restic = shutil.which("restic")
    if restic is None:
        skip("restic", "it is not installed (apt-get install restic)")
    else:
        command: list[str | Path] = [restic, "--repo", peer, "--quiet"]

        def init_restic() -> None:
            bench.run([*command, "init"], bench.fresh("restic"))

        jobs["restic"] = Job([*command, "backup", source], bench.folder, init_restic, peer)
        jobs["restic again"] = Job([*command, "backup", source], bench.folder, flush=peer)
    results = bench.compare(jobs, settings.rounds)
    print_small(settings, results)


def print_small(settings: Settings, results: Mapping[str, Result]) -> None:
    """Print the table on small files: against restic, or against `cp -r` where there is none."""
    cp = results["cp"]
    first, again = results.get("restic", cp), results.get("restic again", cp)
    bar = 1.3 if "restic" in results else None
    rows = [
        row("`mlver add`, first", results["add"], first, bar),
        row("`mlver add`, untouched", results["add again"], again),
        row("`cp -r`", cp, first),
    ]
    rows[1][-1] = f"≤ 1 s: {verdict(results['add again'].seconds, 1)}"
    if "restic" in results:
        rows.append(row("`restic backup`, first", first, first))
        rows.append(row("`restic backup`, untouched", again, again))
    reference = "÷ restic" if "restic" in results else "÷ cp"
    print(f"### {settings.files:,} files of 4 KB, {settings.rounds} rounds\n")
    print(table(["process", "wall", reference, "CPU s", "peak", "bar"], rows) + "\n")


def long(bench: Bench, settings: Settings) -> None:
    """Commands in a long history against the same in a short one."""
    numbers = {10: "short", settings.versions: "long"}
    folders = {number: bench.make_data("versions", bench.folder / name, number) for number, name in numbers.items()}
    step = count(1_000_000)
    file = bench.folder / "model.json"

    def change() -> None:
        file.write_text(f'{{"step": {next(step)}}}')

    commands: dict[str, tuple[Sequence[str | Path], Callable[[], object]]] = {
        "log -n 10": (["log", "-n", "10"], lambda: None),
        "log": (["log"], lambda: None),
        "alias best v5": (["alias", "best", "small:v5"], lambda: None),
        "alias best v6": (["alias", "best", "small:v6"], lambda: None),
        "add": (["add", file, "--name", "small", "-q"], change),
    }
    jobs = {
        f"{name} {number}": Job([settings.mlver, *words], folder, prepare)
        for name, (words, prepare) in commands.items()
        for number, folder in folders.items()
    }
    for folder in folders.values():
        bench.run([settings.mlver, "log", "-n", "1"], folder)
    results = bench.compare(jobs, LONG_ROUNDS)
    rows = []
    for name in commands:
        few, many = results[f"{name} 10"], results[f"{name} {settings.versions}"]
        ratio = many.seconds / few.seconds
        rows.append([f"`mlver {name}`", seconds(few.seconds), seconds(many.seconds), f"{ratio:.2f}"])
        rows[-1] += [megabytes(many.peak_bytes), f"≤ 2 ×: {verdict(ratio, 2)}"]
    print(f"### A long history, {LONG_ROUNDS} rounds\n")
    print(table(["process", "10 versions", f"{settings.versions:,} versions", "ratio", "peak", "bar"], rows) + "\n")


SECTIONS: dict[str, Callable[[Bench, Settings], None]] = {
    "large": large,
    "memory": memory,
    "start": start,
    "small": small,
    "long": long,
}


def main() -> None:
    """Run the sections asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=4, help="size of the large file in 10⁹ bytes")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of the long runs")
    parser.add_argument("--files", type=int, default=20_000, help="number of small files")
    parser.add_argument("--versions", type=int, default=10_000, help="versions of the long history")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas between")
    parser.add_argument("--folder", type=Path, help="where to work: a folder on the disk to measure")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    mlver = find_mlver()
    settings = Settings(mlver, int(arguments.gb * 1e9), arguments.rounds, arguments.files, arguments.versions)
    print(f"{machine(mlver)}.\n")
    for name in chosen:
        with workplace(arguments.folder) as bench:
            SECTIONS[name](bench, settings)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
