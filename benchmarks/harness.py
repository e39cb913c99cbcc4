"""What the benchmarks share: whole processes run in turn, medians, peaks, ratios, a Markdown table.

Jobs that are compared run interleaved (a b c a b c …), so that a disk or a neighbour that slows down hurts them all.
The caches are the same for all: files that are read were read before, and nothing dirty is left over when a clock
starts. Where a job has something to flush, the clock stops when it is on the disk.

This module imports nothing large, and neither may a script that measures memory: Linux counts what the parent had
resident at the time of the fork into the child's peak.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PYTHON = sys.executable
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of a process: wall, user and system seconds, and the most bytes it had resident."""

    wall_seconds: float
    user_seconds: float
    system_seconds: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Result:
    """The runs of one job."""

    samples: tuple[Sample, ...]

    @property
    def seconds(self) -> float:
        """Median wall time."""
        return statistics.median(sample.wall_seconds for sample in self.samples)

    @property
    def cpu_seconds(self) -> float:
        """Median of user and system time."""
        return statistics.median(sample.user_seconds + sample.system_seconds for sample in self.samples)

    @property
    def peak_bytes(self) -> int:
        """The highest peak."""
        return max(sample.peak_bytes for sample in self.samples)

    @property
    def spread(self) -> str:
        """Fastest and slowest wall time, in seconds."""
        walls = sorted(sample.wall_seconds for sample in self.samples)
        return f"{walls[0]:.3g}–{walls[-1]:.3g}"


def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Job:
    """A process to measure.

    Attributes:
        command: The program and its arguments.
        folder: Where it runs.
        prepare: Done before each run, outside the clock.
        flush: A file or folder that the process may leave dirty; every file in it is flushed within the clock.
    """

    command: Sequence[str | Path]
    folder: Path
    prepare: Callable[[], object] = nothing
    flush: Path | None = None


class Bench:
    """A folder to work in and the environment that processes are run in.

    Args:
        folder: Work folder, on the disk to be measured.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        home = folder / "home"
        home.mkdir()
        # Without compiled bytecode each start of mlver compiles what it imports, which is no property of mlver.
        dropped = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "MLVER_DIR"}
        self._environment: Mapping[str, str] = {
            **{name: value for name, value in os.environ.items() if name not in dropped},
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "RESTIC_PASSWORD": "benchmark",
            "NO_COLOR": "1",
        }

    def run(self, command: Sequence[str | Path], folder: Path, flush: Path | None = None) -> Sample:
        """Run a process to its end and measure it; a process that fails ends the benchmark."""
        with tempfile.TemporaryFile() as errors:
            start = time.perf_counter()
            process = subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
            _, status, usage = os.wait4(process.pid, 0)
            if flush is not None:
                flush_files(flush)
            wall = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                errors.seek(0)
                text = errors.read().decode(errors="replace")
                sys.exit(f"{' '.join(map(str, command))} failed ({process.returncode}):\n{text}")
        return Sample(wall, usage.ru_utime, usage.ru_stime, usage.ru_maxrss * 1024)

    def compare(self, jobs: Mapping[str, Job], rounds: int, touched_bytes: int = 0) -> dict[str, Result]:
        """Run jobs in turn, `rounds` times, and return their results by name.

        Args:
            jobs: What to run, by name.
            rounds: How often.
            touched_bytes: How much free memory to touch before each run, see `touch_free_memory`.
        """
        samples: dict[str, list[Sample]] = {name: [] for name in jobs}
        for number in range(rounds):
            for name, job in jobs.items():
                job.prepare()
                os.sync()
                if touched_bytes:
                    touch_free_memory(touched_bytes)
                samples[name].append(self.run(job.command, job.folder, job.flush))
                print(f"  {number + 1}/{rounds} {name}: {samples[name][-1].wall_seconds:.3f} s", file=sys.stderr)
        return {name: Result(tuple(runs)) for name, runs in samples.items()}

    def fresh(self, name: str) -> Path:
        """Return an empty folder of this name, whatever was there."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def make_data(self, kind: str, path: Path, amount: int) -> Path:
        """Make data in a process of its own (see `make_data.py`) and return its path, read once and on the disk."""
        self.run([PYTHON, HERE / "make_data.py", kind, path, str(amount)], self.folder, flush=path)
        return path


@contextmanager
def workplace(parent: Path | None) -> Iterator[Bench]:
    """Give a `Bench` in a new folder under `parent` (the system's folder for temporary files by default)."""
    with tempfile.TemporaryDirectory(prefix="mlver-bench-", dir=parent) as folder:
        yield Bench(Path(folder).resolve())


def find_mlver() -> Path:
    """Return the console script of the environment this runs in, with the bytecode of what it imports compiled."""
    script = Path(PYTHON).parent / "mlver"
    if not script.exists():
        sys.exit(f"{script} does not exist: pip install '.[bench]' into this environment first.")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([script, "--help"], env=environment, stdout=subprocess.DEVNULL, check=True)
    return script


def touch_free_memory(size_bytes: int) -> None:
    """Write to free memory: to so many bytes of it, or to most of what there is.

    A virtual machine gives back to its host what nobody has used for seconds, and whoever gets it next waits for it.
    """
    with open("/proc/meminfo") as file:
        free_bytes = next(int(line.split()[1]) << 10 for line in file if line.startswith("MemFree:"))
    subprocess.run([PYTHON, "-c", _TOUCH, str(min(size_bytes, free_bytes * 4 // 5))], check=True)


_TOUCH = """
import mmap, sys
mmap.mmap(-1, int(sys.argv[1]), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
"""


def flush_files(path: Path) -> None:
    """Wait until a file, or every file in a folder, is on the disk."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file() and not file.is_symlink():
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def seconds(value: float) -> str:
    """Show a time: seconds from one on, milliseconds below."""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def megabytes(value: int) -> str:
    """Show bytes as MB (10⁶)."""
    return f"{value / 1e6:,.0f} MB"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verdict(value: float, bar: float) -> str:
    """Say whether a value keeps its bar."""
    return "yes" if value <= bar else "**no**"


def machine(mlver: Path) -> str:
    """Return a line on what this ran on."""
    version = subprocess.run([mlver, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    system = os.uname()
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{version}, Python {python}, {system.sysname} {system.machine}, {os.cpu_count()} cores"
