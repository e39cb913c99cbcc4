"""The tools that can keep a series of versions, each as a function from files to bytes stored; `storage.py` asks them.

Every version replaces the file of the one before at one and the same path, as a training run does, and is then stored.
What counts are the bytes of the files that a tool keeps for good: not its caches (those of restic and borg in the home
folder, mlver's `index.sqlite`), nor the user's own copy. A middle version and the last one are restored and compared.
"""

from __future__ import annotations

import filecmp
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

from harness import HERE, PYTHON, Bench, size_of

Command = Sequence[str | Path]
Keep = Callable[[Bench, Sequence[Path]], list[int]]
"""Stores files in order and returns the bytes kept after each, or after the last alone."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A way to keep versions.

    Attributes:
        name: What it is called, with its settings.
        keep: Stores a series.
        version: The command that prints its version, if it is installed.
        install: What installs it.
        slow: It takes minutes for what the others do in seconds.
    """

    name: str
    keep: Keep
    version: Command
    install: str
    slow: bool = False

    def installed(self) -> str | None:
        """Return its version, or None if it is not installed."""
        try:
            process = subprocess.run(self.version, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return None
        if process.returncode:
            return None
        found = re.search(r"\d+(\.\d+)+", process.stdout + process.stderr)
        return found[0] if found else None


def find_program(name: str) -> Path:
    """Return where a program of the environment that this runs in would be."""
    return Path(PYTHON).parent / name


def asked(files: Sequence[Path]) -> list[int]:
    """Return the numbers of the versions that are restored."""
    return sorted({len(files) // 2, len(files) - 1})


def compare(restored: Path, files: Sequence[Path], number: int, tool: str) -> None:
    """End the benchmark unless a restored file is what was stored."""
    if not filecmp.cmp(restored, files[number], shallow=False):
        sys.exit(f"{tool} did not give back {files[number]}.")


def place(folder: Path, file: Path) -> Path:
    """Put a version where the one before is."""
    path = folder / f"model{file.suffix}"
    shutil.copyfile(file, path)
    return path


def stored_by_mlver(folder: Path) -> int:
    """Return the bytes of a repository without its cache."""
    repository = folder / ".mlver"
    return size_of(repository) - sum(file.stat().st_size for file in repository.glob("index.sqlite*"))


def add_all(bench: Bench, files: Sequence[Path], level: str) -> list[int]:
    """Add versions with mlver and return the bytes after each."""
    folder, mlver, sizes = bench.fresh("repository"), find_program("mlver"), list[int]()
    bench.run([mlver, "init"], folder)
    for file in files:
        path = place(folder, file)
        bench.run([mlver, "add", path, "-n", "m", "-t", "t", "--compression", level, "-q"], folder)
        sizes.append(stored_by_mlver(folder))
    return sizes


def pull_some(bench: Bench, files: Sequence[Path]) -> None:
    """Restore with mlver."""
    for number in asked(files):
        out = bench.folder / f"v{number}"
        command: Command = [find_program("mlver"), "pull", f"m:v{number}", "-o", out, "-q"]
        bench.run(command, bench.folder / "repository")
        compare(out / f"model{files[number].suffix}", files, number, "mlver")


def keep_mlver(bench: Bench, files: Sequence[Path], level: str) -> list[int]:
    """Store by `mlver add`."""
    sizes = add_all(bench, files, level)
    pull_some(bench, files)
    return sizes


def keep_mlver_max(bench: Bench, files: Sequence[Path]) -> list[int]:
    """Store by `mlver add` at level balanced, then repack all of it at level max."""
    add_all(bench, files, "balanced")
    bench.run([find_program("mlver"), "gc", "--repack", "--level", "max", "-q"], bench.folder / "repository")
    pull_some(bench, files)
    return [stored_by_mlver(bench.folder / "repository")]


def keep_restic(bench: Bench, files: Sequence[Path]) -> list[int]:
    """Store by restic at its strongest level."""
    folder, kept, sizes = bench.fresh("work"), bench.folder / "restic", list[int]()
    restic: Command = ["restic", "--repo", kept, "--quiet"]
    bench.run([*restic, "init"], folder)
    path = folder
    for number, file in enumerate(files):
        path = place(folder, file)
        bench.run([*restic, "backup", "--compression", "max", "--tag", f"v{number}", path], folder)
        sizes.append(size_of(kept))
    for number in asked(files):
        out = bench.fresh("out")
        bench.run([*restic, "restore", "latest", "--tag", f"v{number}", "--target", out], folder)
        compare(out / path.relative_to("/"), files, number, "restic")
    return sizes


def keep_borg(bench: Bench, files: Sequence[Path], compression: str) -> list[int]:
    """Store by borg."""
    folder, kept, sizes = bench.fresh("work"), bench.folder / "borg", list[int]()
    bench.run(["borg", "init", "--encryption", "none", kept], folder)
    name = ""
    for number, file in enumerate(files):
        name = place(folder, file).name
        bench.run(["borg", "create", "--compression", compression, f"{kept}::v{number}", name], folder)
        sizes.append(size_of(kept))
    for number in asked(files):
        out = bench.fresh("out")
        bench.run(["borg", "extract", f"{kept}::v{number}"], out)
        compare(out / name, files, number, "borg")
    return sizes


def keep_dvc(bench: Bench, files: Sequence[Path]) -> list[int]:
    """Store by DVC, without git around it."""
    folder, sizes, dvc = bench.fresh("work"), list[int](), find_program("dvc")
    bench.run([dvc, "init", "--no-scm", "--quiet"], folder)
    bench.run([dvc, "config", "core.analytics", "false"], folder)
    records, path = list[bytes](), folder
    for file in files:
        path = place(folder, file)
        bench.run([dvc, "add", "--quiet", path.name], folder)
        records.append(Path(f"{path}.dvc").read_bytes())
        sizes.append(size_of(folder / ".dvc" / "cache"))
    for number in asked(files):
        Path(f"{path}.dvc").write_bytes(records[number])
        bench.run([dvc, "checkout", "--quiet", "--force", f"{path.name}.dvc"], folder)
        compare(path, files, number, "DVC")
    return sizes


def keep_git_lfs(bench: Bench, files: Sequence[Path]) -> list[int]:
    """Store by git-lfs."""
    folder, sizes, path = bench.fresh("work"), list[int](), Path()
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"]
    bench.run([*git, "init", "--quiet", "--template="], folder)
    bench.run([*git, "lfs", "install", "--local"], folder)
    bench.run([*git, "lfs", "track", "model.*"], folder)
    for number, file in enumerate(files):
        path = place(folder, file)
        bench.run([*git, "add", "."], folder)
        bench.run([*git, "commit", "--quiet", "--message", "next"], folder)
        bench.run([*git, "tag", f"v{number}"], folder)
        sizes.append(size_of(folder / ".git"))
    for number in asked(files):
        bench.run([*git, "checkout", "--quiet", f"v{number}"], folder)
        compare(path, files, number, "git-lfs")
    return sizes


ZSTD = ["zstd", "--quiet", "--force", "--long=31"]
ONE_THREAD = "--single-thread"
"""By one thread, zstd 1.5.4 finds more short matches; but at level 19 none of those that `--long` and bases are for."""


def keep_together(bench: Bench, files: Sequence[Path], options: Sequence[str] = ()) -> list[int]:
    """Store all versions end to end, compressed as one file."""
    together, packed, back = (bench.folder / name for name in ("together", "packed", "back"))
    with together.open("wb") as out:
        for file in files:
            with file.open("rb") as version:
                shutil.copyfileobj(version, out)
    bench.run([*ZSTD, *options, "-19", together, "-o", packed], bench.folder)
    bench.run([*ZSTD, "-d", packed, "-o", back], bench.folder)
    compare(back, [together], 0, "zstd")
    return [packed.stat().st_size]


Coder = Callable[[Path | None, Path, Path], Command]
"""The command that makes a file of another, with a base or without: base, source, target."""


def keep_chain(bench: Bench, files: Sequence[Path], encode: Coder, decode: Coder) -> list[int]:
    """Store the first version alone, each later one as a difference to the one before it; restore all."""
    deltas = [bench.folder / f"delta-{number}" for number in range(len(files))]
    for base, file, delta in zip([None, *files[:-1]], files, deltas, strict=True):
        bench.run(encode(base, file, delta), bench.folder)
    base, out = None, bench.folder / "out"
    for number, delta in enumerate(deltas):
        bench.run(decode(base, delta, out), bench.folder)
        compare(out, files, number, "The chain")
        base = out.replace(bench.folder / "base")
    return list(accumulate(delta.stat().st_size for delta in deltas))


def patch(*options: str) -> Keep:
    """Return a chain of `zstd --patch-from`."""

    def code(base: Path | None, source: Path, target: Path, what: Sequence[str]) -> Command:
        option = [f"--patch-from={base}"] if base else []
        return [*ZSTD, *what, *option, source, "-o", target]

    return partial(keep_chain, encode=partial(code, what=options), decode=partial(code, what=["-d"]))


def difference() -> Keep:
    """Return a chain of xdelta3 at its strongest, all of the base in reach."""

    def code(base: Path | None, source: Path, target: Path, what: Sequence[str]) -> Command:
        option: Command = ["-s", base] if base else []
        return ["xdelta3", "-f", "-B", str(1 << 30), *what, *option, source, target]

    strongest = ["-e", "-9", "-S", "lzma", "-W", str(1 << 24)]
    return partial(keep_chain, encode=partial(code, what=strongest), decode=partial(code, what=["-d"]))


def keep_by_script(_: Bench, files: Sequence[Path], script: str) -> list[int]:
    """Store by a script beside this one that prints the bytes after each version."""
    command: Command = [PYTHON, "-W", "ignore", HERE / script, *files]
    return list(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))


PIP = "pip install '.[bench]'"
APT = "apt-get install restic borgbackup git-lfs xdelta3 zstd"
BORG, ZSTD_VERSION = ["borg", "--version"], ["zstd", "--version"]
MLVER: Command = [find_program("mlver"), "--version"]
ZIPNN = [PYTHON, "-c", "import importlib.metadata; print(importlib.metadata.version('zipnn'))"]

REFERENCE = Tool("XOR chain", partial(keep_by_script, script="reference.py"), [PYTHON, "--version"], PIP)
OURS = (
    Tool("mlver fast", partial(keep_mlver, level="fast"), MLVER, PIP),
    Tool("mlver balanced", partial(keep_mlver, level="balanced"), MLVER, PIP),
    Tool("mlver max", keep_mlver_max, MLVER, PIP),
)
PEERS = (
    Tool("restic, max", keep_restic, ["restic", "version"], APT),
    Tool("borg, zstd,3", partial(keep_borg, compression="zstd,3"), BORG, APT),
    Tool("borg, lzma,6", partial(keep_borg, compression="lzma,6"), BORG, APT, slow=True),
    Tool("DVC", keep_dvc, [find_program("dvc"), "--version"], PIP),
    Tool("git-lfs", keep_git_lfs, ["git", "lfs", "version"], APT),
    Tool("zstd -19 --long=31", keep_together, ZSTD_VERSION, APT, slow=True),
    Tool(
        "zstd -19 --long=31, one thread",
        partial(keep_together, options=[ONE_THREAD]),
        ZSTD_VERSION,
        APT,
        slow=True,
    ),
    Tool("xdelta3 chain", difference(), ["xdelta3", "-V"], APT),
    Tool("zstd -3 --patch-from chain", patch(ONE_THREAD, "-3"), ZSTD_VERSION, APT),
    Tool("zstd -19 --patch-from chain", patch("-19"), ZSTD_VERSION, APT, slow=True),
    Tool("zipnn chain", partial(keep_by_script, script="zipnn_chain.py"), ZIPNN, PIP),
)
