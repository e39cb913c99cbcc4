"""What collecting costs: `python benchmarks/collect.py [--versions 10000] [--gb 10] [--only marks|apart|mixed]`.

`marks`: the time `gc --dry-run` takes to find out what is used, with a long history of much content. `apart` and
`mixed`: what `gc` reads and writes of a store of noise. In `apart` a removed version's files are in packs of their own,
so a fifth of the packs is dead; in `mixed` what is dead lies between what is used. `make_store.py` makes all of them.

Bytes read and written are those of all system calls (`rchar` and `wchar` of `/proc`), whether a cache served them or
not, those for the program itself among them. Needs Linux, and room for the store and what is written anew.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import HERE, PYTHON, Bench, Sample, find_mlver, machine, megabytes, seconds, size_of, table, workplace

MARK_SECONDS = 10.0
PEAK_BYTES = 600e6
NEAR = 1.5
"""How many times the dead packs' size `apart` may read and write together to be near it."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What one process read and wrote, in bytes, and what it took."""

    read_bytes: int
    written_bytes: int
    sample: Sample


def moved_by(bench: Bench, command: Sequence[str | Path], folder: Path) -> Moved:
    """Run a process and count what it read and wrote: the system adds it to its parent's once it has ended."""
    before = _moved()
    sample = bench.run(command, folder)
    after = _moved()
    return Moved(after["rchar"] - before["rchar"], after["wchar"] - before["wchar"], sample)


def _moved() -> dict[str, int]:
    lines = Path("/proc/self/io").read_text().splitlines()
    return {name: int(value) for name, value in (line.split(": ") for line in lines)}


def make(bench: Bench, kind: str, amount: int) -> Path:
    """Make a store in a process of its own; see `make_store.py`."""
    print(f"  making {kind} {amount}", file=sys.stderr, flush=True)
    bench.run([PYTHON, HERE / "make_store.py", kind, bench.folder / kind, str(amount)], bench.folder)
    return Path(bench.folder / kind)


def planned(mlver: Path, folder: Path) -> dict[str, Any]:
    """Return what `gc --grace 0` would do."""
    said = subprocess.run(
        [mlver, "gc", "--grace", "0", "--dry-run", "--json"], cwd=folder, stdout=subprocess.PIPE, check=True
    )
    document: dict[str, Any] = json.loads(said.stdout)
    return document


def marks(bench: Bench, mlver: Path, versions: int, rounds: int) -> None:
    """Print what marking takes."""
    folder = make(bench, "marks", versions)
    runs = [moved_by(bench, [mlver, "gc", "--grace", "0", "--dry-run"], folder) for _ in range(rounds)]
    runs.sort(key=lambda run: run.sample.wall_seconds)
    middle = runs[len(runs) // 2]
    walls = f"{runs[0].sample.wall_seconds:.2f}–{runs[-1].sample.wall_seconds:.2f}"
    peak = max(run.sample.peak_bytes for run in runs)
    row = [
        f"{versions:,} × 500",
        f"{seconds(middle.sample.wall_seconds)} ({walls})",
        f"{middle.sample.user_seconds + middle.sample.system_seconds:.2f}",
        megabytes(middle.read_bytes),
        megabytes(peak),
        f"≤ {MARK_SECONDS:g} s: {kept(middle.sample.wall_seconds <= MARK_SECONDS)}",
    ]
    print(table(["versions × chunks", "`gc --dry-run`", "CPU s", "read", "peak", "bar"], [row]), "\n")


def sweep(bench: Bench, mlver: Path, kind: str, size_bytes: int) -> list[str]:
    """Collect a store of noise; return a row of the table."""
    folder = make(bench, kind, size_bytes)
    plan, store = planned(mlver, folder), size_of(folder / ".mlver")
    run = moved_by(bench, [mlver, "gc", "--grace", "0"], folder)
    freed = store - size_of(folder / ".mlver")
    dead = plan["freed_bytes"]
    if abs(freed - dead) > 0.01 * dead + 10e6:
        sys.exit(f"{kind}: {dead} bytes were to be freed, and the folder is {freed} smaller.")
    moved = run.read_bytes + run.written_bytes
    is_small = run.sample.peak_bytes <= PEAK_BYTES
    bars = f"peak ≤ 600 MB: {kept(is_small)}"
    if kind == "apart":
        bars += f"; moved ≤ {NEAR:g} × dead: {kept(moved <= NEAR * dead)}"
    return [
        f"`{kind}`", megabytes(store), megabytes(dead), f"{plan['deleted_packs']} + {plan['rewritten_packs']}",
        seconds(run.sample.wall_seconds), megabytes(run.read_bytes), megabytes(run.written_bytes),
        f"{moved / dead:.2f}", megabytes(run.sample.peak_bytes), bars,
    ]  # fmt: skip


def kept(is_kept: bool) -> str:
    """Say whether a bar is kept."""
    return "yes" if is_kept else "**no**"


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--gb", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["marks", "apart", "mixed"])
    parser.add_argument("--work", type=Path, help="folder to work in")
    given = parser.parse_args()
    mlver = find_mlver()
    print(machine(mlver), "\n")
    wanted = [given.only] if given.only else ["marks", "apart", "mixed"]
    if "marks" in wanted:
        with workplace(given.work) as bench:
            marks(bench, mlver, given.versions, given.rounds)
    rows = []
    for kind in ("apart", "mixed"):
        if kind in wanted:
            with workplace(given.work) as bench:
                rows.append(sweep(bench, mlver, kind, round(given.gb * 1e9)))
    if rows:
        columns = [
            "store", "bytes", "dead", "packs deleted + rewritten", "`gc --grace 0`", "read", "written",
            "moved ÷ dead", "peak", "bars",
        ]  # fmt: skip
        print(table(columns, rows))


if __name__ == "__main__":
    main()
