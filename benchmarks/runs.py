"""What runs and lineage cost: `python benchmarks/runs.py [--runs 10000] [--points 1000000] [--only run|log|graph]`.

`run`: what `mlver run -- true` takes more than `true`, in a git repository of 500 files of which three were changed.
`log`: what a call of `run.log` with five metrics takes, each measured by itself after so many calls, and how much more
memory the process has resident after them than before. `graph`: `lineage` and `runs` over a history of as many runs as
versions, which `make_store.py` makes: from versions and runs all over it, with the cache that a command finds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from harness import HERE, PYTHON, Bench, Job, Result, find_mlver, machine, megabytes, seconds, table, verdict, workplace

RUN_SECONDS, LOG_MICROSECONDS, GROWN_BYTES, LINEAGE_SECONDS, RUNS_SECONDS = 0.4, 20.0, 10e6, 1.5, 1.0
ARTIFACTS = 100
FILTER = ("--filter", "config.lr < 0.01 and val_acc > 0.9", "--sort", "-val_acc")
LOGGING = """
import json, random, sys, time
import mlver

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

points, place = int(sys.argv[1]), sys.argv[2]
noise = [random.random() for _ in range(997)]
metrics = {"loss": 0.1, "val_acc": 0.9, "lr": 1e-3, "gradient": 2.5, "speed": 1e4}
with mlver.run(job_type="bench") as run:
    for step in range(1000):
        run.log(metrics, step=step)
    before = resident()
    for step in range(points):
        metrics["loss"], metrics["gradient"] = noise[step % 997] / (step + 1), noise[step % 991]
        run.log(metrics)
    after = resident()
    taken = []
    for step in range(20_000):
        begun = time.perf_counter_ns()
        run.log(metrics)
        taken.append(time.perf_counter_ns() - begun)
    begun = time.perf_counter()
ended = time.perf_counter() - begun
taken.sort()
with open(place, "w") as file:
    json.dump({"median": taken[len(taken) // 2] / 1e3, "p99": taken[-len(taken) // 100] / 1e3,
               "grown": after - before, "end": ended}, file)
"""


def git(folder: Path, *words: str) -> None:
    """Run git in a folder."""
    who = ("-c", "user.name=bench", "-c", "user.email=bench@example.com")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def code(bench: Bench, mlver: Path) -> Path:
    """Make a repository of code, with one of versions in it."""
    folder = bench.fresh("code")
    for number in range(500):
        (folder / f"module{number}.py").write_text(f"NUMBER = {number}\n" * 50)
    (folder / ".gitignore").write_text(".mlver/\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=code")
    for number in range(3):
        (folder / f"module{number}.py").write_text("NUMBER = -1\n")
    subprocess.run([mlver, "init"], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


def overhead(bench: Bench, mlver: Path, rounds: int) -> list[str]:
    """Return the row of `mlver run`."""
    folder = code(bench, mlver)
    jobs = {"true": Job(["true"], folder), "run": Job([mlver, "run", "--", "true"], folder)}
    found = bench.compare(jobs, rounds)
    more = found["run"].seconds - found["true"].seconds
    return row("`mlver run -- true`, more than `true`", found["run"], more, RUN_SECONDS)


def row(what: str, result: Result, value_seconds: float, bar_seconds: float) -> list[str]:
    """Return a row of the table of processes."""
    return [
        what, f"{seconds(value_seconds)} ({result.spread} s)", f"{result.cpu_seconds:.2f}",
        megabytes(result.peak_bytes), f"≤ {bar_seconds:g} s: {verdict(value_seconds, bar_seconds)}",
    ]  # fmt: skip


def logging(bench: Bench, mlver: Path, points: int) -> None:
    """Print what `run.log` takes."""
    folder = bench.fresh("log")
    subprocess.run([mlver, "init"], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    bench.run([PYTHON, "-c", LOGGING, str(points), bench.folder / "found.json"], folder)
    found = json.loads((bench.folder / "found.json").read_text())
    series = max(path.stat().st_size for path in (folder / ".mlver/runs/blobs").rglob("*") if path.is_file())
    header = ["calls", "median", "99 of 100", "memory grown by", "the end of the run", "stored", "bars"]
    bars = (
        f"≤ {LOG_MICROSECONDS:g} µs: {verdict(found['median'], LOG_MICROSECONDS)}; "
        f"≤ {GROWN_BYTES / 1e6:g} MB: {verdict(found['grown'], GROWN_BYTES)}"
    )
    line = [
        f"{points:,}", f"{found['median']:.1f} µs", f"≤ {found['p99']:.1f} µs", f"{found['grown'] / 1e6:.1f} MB",
        seconds(found["end"]), megabytes(series), bars,
    ]  # fmt: skip
    print(table(header, [line]), "\n")


def graph(bench: Bench, mlver: Path, amount: int, rounds: int) -> list[list[str]]:
    """Return the rows of `lineage` and `runs`."""
    folder = bench.folder / "graph"
    print(f"  making {amount} runs", file=sys.stderr, flush=True)
    bench.run([PYTHON, HERE / "make_store.py", "runs", folder, str(amount)], bench.folder)
    cold = bench.compare({"cold": Job([mlver, "runs", "-q"], folder, lambda: forget(folder))}, 1)["cold"]
    last = amount // ARTIFACTS // 2
    nodes = {
        "the first version": "m0:v0", "a version in the middle": f"m1:v{last}", "the newest version": "m2:latest",
        "the first run": "run:run-0", "the newest run": f"run:run-{amount - 1}",
    }  # fmt: skip
    jobs = {what: Job([mlver, "lineage", node], folder) for what, node in nodes.items()}
    jobs["all"] = Job([mlver, "lineage", "--all", "--format", "json"], folder)
    jobs["runs"] = Job([mlver, "runs", *FILTER], folder)
    found = bench.compare(jobs, rounds)
    rows = [row(f"`lineage` from {what}", found[what], found[what].seconds, LINEAGE_SECONDS) for what in nodes]
    rows.append(row("`lineage --all --format json`", found["all"], found["all"].seconds, LINEAGE_SECONDS))
    rows.append(row("`runs --filter … --sort -val_acc`", found["runs"], found["runs"].seconds, RUNS_SECONDS))
    rows.append([*row("the first command without a cache", cold, cold.seconds, 0)[:-1], ""])
    return rows


def forget(folder: Path) -> None:
    """Delete the cache."""
    for path in (folder / ".mlver").glob("index.sqlite*"):
        path.unlink()


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", choices=["run", "log", "graph"])
    parser.add_argument("--work", type=Path, help="folder to work in")
    given = parser.parse_args()
    mlver = find_mlver()
    print(machine(mlver), "\n")
    wanted = [given.only] if given.only else ["run", "log", "graph"]
    rows: list[list[str]] = []
    with workplace(given.work) as bench:
        if "run" in wanted:
            rows.append(overhead(bench, mlver, given.rounds))
        if "log" in wanted:
            logging(bench, mlver, given.points)
        if "graph" in wanted:
            rows += graph(bench, mlver, given.runs, given.rounds)
    if rows:
        print(table(["process", "wall", "CPU s", "peak", "bar"], rows))


if __name__ == "__main__":
    main()
