"""Bytes stored of series of checkpoints, mlver against its peers: `python benchmarks/storage.py FOLDER [SERIES …]`.

FOLDER is what `checkpoints.py` made. Each series is stored by each tool, version after version (`keepers.py` tells how,
and what is counted), and what comes back is compared with what went in. Two tables are printed: bytes ÷ raw bytes, and
÷ those of the published method, a chain of XOR differences in byte planes by zstd -1. Then whether the bars are kept.

Needs the peers: `apt-get install restic borgbackup git-lfs xdelta3 zstd` and `pip install '.[bench]'`; one that is not
there is left out, loudly. What others store is kept in FOLDER/storage.json, by their version and the files' digests, so
that they are measured once; `--quick` leaves out those that take minutes a series and were not measured yet. mlver and
the reference are always measured anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from harness import find_mlver, machine, size_of, table, workplace
from keepers import OURS, PEERS, REFERENCE, Tool

UNCHANGING = ("cast", "permuted", "frozen")
"""Series most of whose weights stay as they are."""
MEASURED_ANEW = (REFERENCE, *OURS)
BARS = {"mlver balanced": (0.97, 0.92), "mlver max": (0.96, 0.85)}
"""Stored ÷ reference: on each series, and the geometric mean."""


@dataclass
class Kept:
    """What others stored of which files: a JSON file.

    Attributes:
        path: The file.
    """

    path: Path
    _lock: Lock = field(default_factory=Lock)

    def get(self, key: str) -> list[int] | None:
        """Return the bytes after each version, if they were measured."""
        return self._read().get(key)

    def put(self, key: str, sizes: list[int]) -> None:
        """Keep the bytes after each version."""
        with self._lock:
            self.path.write_text(json.dumps({**self._read(), key: sizes}, indent=1, sort_keys=True))

    def _read(self) -> dict[str, list[int]]:
        return json.loads(self.path.read_text()) if self.path.exists() else {}


class Survey:
    """Measures tools over series.

    Args:
        folder: What `checkpoints.py` made.
        work: Where to work.
        quick: Leave out slow tools that were not measured yet.
        jobs: How many to run at a time.
    """

    def __init__(self, folder: Path, work: Path | None, quick: bool, jobs: int) -> None:
        self._folder, self._work, self._quick = folder, work, quick
        self._kept = Kept(folder / "storage.json")
        self._pool = ThreadPoolExecutor(jobs)
        self._digests: dict[Path, str] = {}

    def files(self, series: str) -> list[Path]:
        """Return the versions of a series."""
        files = sorted((self._folder / series).iterdir())
        for file in files:
            if file not in self._digests:
                with file.open("rb") as data:
                    self._digests[file] = hashlib.file_digest(data, "sha256").hexdigest()
        return files

    def measure(self, tools: Sequence[Tool], series: Mapping[str, Sequence[Path]]) -> dict[tuple[str, str], list[int]]:
        """Return the bytes after each version by tool and name of the series."""
        tasks = {}
        for tool in tools:
            version = tool.installed()
            if version is None:
                skip(tool.name, f"it is not installed ({tool.install})")
                continue
            keys = {name: self._key(tool, version, files) for name, files in series.items()}
            if left := [name for name, key in keys.items() if self._quick and tool.slow and not self._kept.get(key)]:
                skip(f"{tool.name} on {', '.join(left)}", "it is slow, and this is a quick run")
            for name in sorted(keys.keys() - left):
                tasks[tool.name, name] = self._pool.submit(self._one, tool, keys[name], name, series[name])
        return {place: task.result() for place, task in tasks.items()}

    def _key(self, tool: Tool, version: str, files: Sequence[Path]) -> str:
        digests = " ".join(self._digests[file] for file in files)
        return f"{tool.name} {version} {hashlib.sha256(digests.encode()).hexdigest()}"

    def _one(self, tool: Tool, key: str, name: str, files: Sequence[Path]) -> list[int]:
        sizes = None if tool in MEASURED_ANEW else self._kept.get(key)
        if sizes is None:
            with workplace(self._work) as bench:
                sizes = tool.keep(bench, files)
            if tool not in MEASURED_ANEW:
                self._kept.put(key, sizes)
            print(f"  {tool.name}, {name}: {sizes[-1] / 1e6:.1f} MB", file=sys.stderr, flush=True)
        return sizes


def skip(what: str, why: str) -> None:
    """Say on both streams that a figure is left out."""
    line = f"SKIPPED: {what}: {why}"
    print(line, file=sys.stderr)
    print(f"**{line}**\n")


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


def ratios(
    tools: Sequence[Tool], totals: Mapping[str, int], sizes: Mapping[tuple[str, str], list[int]], digits: int
) -> list[list[str]]:
    """Return a line a tool: bytes ÷ the total of each series, then their mean over the series that change."""
    rows = []
    for tool in tools:
        found = {name: sizes[tool.name, name][-1] / totals[name] for name in totals if (tool.name, name) in sizes}
        changing = [value for name, value in found.items() if name not in UNCHANGING]
        cells = [f"{found[name]:.{digits}f}" if name in found else "" for name in totals]
        whole = len(found) == len(totals) and changing
        rows.append([tool.name, *cells, f"{geometric_mean(changing):.{digits}f}" if whole else ""])
    return [row for row in rows if any(row[1:])]


def print_bars(names: Sequence[str], sizes: Mapping[tuple[str, str], list[int]]) -> None:
    """Print whether mlver's levels keep their bars, and whether all others store more."""
    changing = [name for name in names if name not in UNCHANGING]
    for level, (each, mean) in BARS.items():
        if (level, names[0]) not in sizes or not changing:
            continue
        found = {name: sizes[level, name][-1] / sizes[REFERENCE.name, name][-1] for name in changing}
        worst = max(found, key=lambda name: found[name])
        missed = ", ".join(f"{name} {value:.3f}" for name, value in found.items() if value > each)
        print(f"- {level} ÷ reference: at most {found[worst]:.3f} ({worst}), bar {each}: {missed or 'none above it'}.")
        print(f"  Geometric mean {geometric_mean(list(found.values())):.3f}, bar {mean}.")
    for level in (tool.name for tool in OURS):
        if all((level, name) in sizes for name in names):
            print_smaller(level, names, sizes)


def print_smaller(level: str, names: Sequence[str], sizes: Mapping[tuple[str, str], list[int]]) -> None:
    """Print on which series a peer stores no more than a level of mlver, and the nearest peer."""
    losses, nearest = [], {}
    for name in names:
        found = {peer.name: sizes[peer.name, name][-1] for peer in PEERS if (peer.name, name) in sizes}
        if found:
            best = min(found, key=lambda peer: found[peer])
            nearest[name] = f"{name} {sizes[level, name][-1] / found[best]:.3f} of {best}"
            losses += [nearest[name]] if found[best] <= sizes[level, name][-1] else []
    if not nearest:
        return
    print(f"- {level}: smaller than every peer on {len(nearest) - len(losses)} of {len(nearest)} series.")
    print(f"  Against the best peer: {'; '.join(nearest.values())}.")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what checkpoints.py made")
    parser.add_argument("series", nargs="*", help="the series to store, by default all")
    parser.add_argument("--tools", help="parts of the tools' names, with semicolons between; by default all")
    parser.add_argument("--quick", action="store_true", help="leave out slow peers that were not measured yet")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many tools to run at a time")
    parser.add_argument("--work", type=Path, help="where to work, by default the folder for temporary files")
    arguments = parser.parse_args()
    survey = Survey(arguments.folder, arguments.work, arguments.quick, arguments.jobs)
    names = arguments.series or sorted(path.name for path in arguments.folder.iterdir() if path.is_dir())
    series = {name: survey.files(name) for name in names}
    parts = arguments.tools.split(";") if arguments.tools else [""]
    tools = [REFERENCE, *(tool for tool in (*OURS, *PEERS) if any(part in tool.name for part in parts))]
    print(f"{machine(find_mlver())}.\n")
    sizes = survey.measure(tools, series)
    raw = {name: sum(map(size_of, files)) for name, files in series.items()}
    reference = {name: sizes[REFERENCE.name, name][-1] for name in names}
    heads = [f"{name} ({len(series[name])} × {raw[name] / len(series[name]) / 1e6:.1f} MB)" for name in names]
    print(f"Means are geometric, over all series but {', '.join(UNCHANGING)}, whose weights mostly stay.\n")
    print("### Bytes stored ÷ raw\n")
    print(table(["", *heads, "mean"], ratios(tools, raw, sizes, 3)) + "\n")
    print("### Bytes stored ÷ reference\n")
    print(table(["", *names, "mean"], ratios(tools, reference, sizes, 3)) + "\n")
    print_bars(names, sizes)


if __name__ == "__main__":
    main()
