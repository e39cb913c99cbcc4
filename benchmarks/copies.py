"""What copies of stored weights cost: `python benchmarks/copies.py FILE.safetensors`.

The file is stored; then copies of it under other artifact names: its tensors renamed, in the opposite order, and spread
over three files. Printed are the bytes that each adds to the repository (without the cache, `index.sqlite`) ÷ its size,
and what `add` says of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import Bench, find_mlver, machine, size_of, table, verdict, workplace
from keepers import stored_by_mlver

BAR = 0.001
SHARDS = 3
PIECE_BYTES = 1 << 24

Entry = dict[str, Any]


class Weights:
    """A safetensors file that is read by tensor.

    Args:
        path: The file.

    Source: https://huggingface.co/docs/safetensors/index#format
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        self.entries: dict[str, Entry] = header
        self._start = 8 + length

    def pieces(self, name: str) -> Iterable[bytes]:
        """Yield a tensor's bytes."""
        begin, end = self.span(name)
        with self._path.open("rb") as file:
            file.seek(self._start + begin)
            for at in range(begin, end, PIECE_BYTES):
                yield file.read(min(PIECE_BYTES, end - at))

    def span(self, name: str) -> tuple[int, int]:
        """Return where a tensor begins and ends."""
        begin, end = self.entries[name]["data_offsets"]
        return begin, end

    def write(self, path: Path, names: Mapping[str, str]) -> None:
        """Write tensors in this order, each under the name that it is to have."""
        header, offset = dict[str, Entry](), 0
        for name, new in names.items():
            begin, end = self.span(name)
            header[new] = {**self.entries[name], "data_offsets": [offset, offset + end - begin]}
            offset += end - begin
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in names:
                file.writelines(self.pieces(name))


def rename(weights: Weights, folder: Path) -> None:
    """Write the tensors under other names, as a wrapper of a model does."""
    weights.write(folder / "model.safetensors", {name: f"module.{name}" for name in weights.entries})


def permute(weights: Weights, folder: Path) -> None:
    """Write the tensors in the opposite order."""
    weights.write(folder / "model.safetensors", {name: name for name in reversed(weights.entries)})


def reshard(weights: Weights, folder: Path) -> None:
    """Write the tensors into three files, with an index of them."""
    names, places = list(weights.entries), dict[str, str]()
    for shard in range(SHARDS):
        file = f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors"
        part = names[len(names) * shard // SHARDS : len(names) * (shard + 1) // SHARDS]
        weights.write(folder / str(shard) / file, {name: name for name in part})
        (folder / str(shard) / file).rename(folder / file)
        (folder / str(shard)).rmdir()
        places |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}, indent=2))


COPIES: dict[str, Callable[[Weights, Path], None]] = {"renamed": rename, "permuted": permute, "resharded": reshard}


def said(document: Mapping[str, object]) -> str:
    """Return what `add` says of weights that it knows."""
    if document["weights_identical_to"]:
        return f"weights identical to {document['weights_identical_to']}"
    return f"all tensors are in {document['tensors_in']}" if document["tensors_in"] else "**nothing**"


def measure(bench: Bench, mlver: Path, file: Path) -> list[list[str]]:
    """Return a line on each copy."""
    repository, weights, rows = bench.fresh("repository"), Weights(file), []
    bench.run([mlver, "init"], repository)
    bench.run([mlver, "add", file, "-n", "original", "-t", "t", "-q"], repository)
    for name, make in COPIES.items():
        folder = bench.folder / name
        make(weights, folder)
        before = stored_by_mlver(repository)
        command: Sequence[str | Path] = [mlver, "add", folder, "-n", name, "-t", "t", "--json"]
        output = subprocess.run(command, cwd=repository, stdout=subprocess.PIPE, check=True).stdout
        cost = (stored_by_mlver(repository) - before) / size_of(folder)
        verdicts = f"≤ 0.1 %: {verdict(cost, BAR)}"
        rows.append([name, f"{cost * size_of(folder) / 1e3:.1f} kB", f"{cost:.4%}", verdicts, said(json.loads(output))])
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a safetensors file")
    parser.add_argument("--work", type=Path, help="where to work, by default the folder for temporary files")
    arguments = parser.parse_args()
    mlver, file = find_mlver(), arguments.file.resolve()
    with workplace(arguments.work) as bench:
        rows = measure(bench, mlver, file)
    print(f"{machine(mlver)}.\n\n### Copies of stored weights, {file.stat().st_size / 1e6:.1f} MB\n")
    print(table(["copy", "cost", "÷ size", "bar", "`add` says"], rows))


if __name__ == "__main__":
    main()
