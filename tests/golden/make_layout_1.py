"""Writes `tests/golden/layout-1/`: a small repository of layout 1 that uses all of the format, and what is in it.

`python -m tests.golden.make_layout_1`. The same mlver, zstd and Python give the same bytes: times and random ids are
made up here. Once layout 1 is released, the repository is not written again: it stands for those that people have.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import os
import random
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlver.cli.documents import log_document
from mlver.history.event import Action, Event
from mlver.ops import artifacts, commit, labels, removal, undo
from mlver.ops.add import AddRequest, add
from mlver.ops.init import init_repository
from mlver.ops.log import log_all
from mlver.ops.opening import OpenRepository, open_repository
from tests.support.weight_files import Instance, Name, Storage, Tensor, TorchFile, safetensors_file

FOLDER = Path(__file__).parent / "layout-1"
STORED_AS = "dot-mlver"
CACHES = ("index.sqlite*", "tmp")
REVISIONS = (
    *("encoder", "draft:v0", "encoder:best", "encoder@best", "encoder:latest~1", "encoder:v2~", "corpus:v0", "moves"),
    *("moves:best", "moves:latest", "best", "v0"),
)


# Numbers


def floats(count: int, seed: int, scale: float = 0.02) -> list[float]:
    source = random.Random(seed)
    return [source.gauss(0, scale) for _ in range(count)]


def f32(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def bf16(values: list[float]) -> bytes:
    raw = f32(values)
    return b"".join(raw[at + 2 : at + 4] for at in range(0, len(raw), 4))


def pruned(values: list[float], kept: int) -> list[float]:
    """Return the values with all but every `kept`-th multiplied by zero, which leaves the signs."""
    return [value if place % kept == 0 else math.copysign(0.0, value) for place, value in enumerate(values)]


def tensors(change: int = 0) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return dtype, shape and bytes by name; `change` gives another fine-tuning of the same model."""
    source = random.Random(7)
    skewed = bytes(min(255, int(source.expovariate(0.05))) for _ in range(4096))
    return {
        "embed.weight": ("BF16", (64, 64), bf16(floats(4096, 1))),
        "head.weight": ("F32", (32, 64), f32(floats(2048, 2 + change))),
        "head.bias": ("F32", (3,), f32([1.0 + change, 2.0, 3.0])),
        "norm.weight": ("F32", (1024,), f32([1.0] * 1024)),
        "norm.running_var": ("F64", (256,), struct.pack("<256d", *floats(256, 3, 1.0))),
        "half": ("F16", (2048,), struct.pack("<2048e", *floats(2048, 4))),
        "masked.weight": ("F32", (64, 64), f32(pruned(floats(4096, 5), 10))),
        "masked.index": ("I32", (4096,), struct.pack("<4096i", *(n * 7 if n % 9 == 0 else 0 for n in range(4096)))),
        "levels": ("U8", (4096,), skewed),
        "mask": ("BOOL", (4096,), bytes(n % 3 == 0 for n in range(4096))),
        "positions": ("I64", (140_000,), struct.pack("<140000q", *range(140_000))),
        "noise": ("F32", (512,), random.Random(6).randbytes(2048)),
        "steps": ("I64", (), struct.pack("<q", 1000 + change)),
        "empty": ("F32", (0, 4), b""),
    }


# Files


def safetensors(
    content: dict[str, tuple[str, tuple[int, ...], bytes]], metadata: dict[str, str] | None = None
) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    body = b""
    for name, (dtype, shape, raw) in content.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    return safetensors_file(header, body)


def torch_file() -> bytes:
    """Return a checkpoint with tied, sliced, transposed and strided tensors, and a name that no weights need."""
    flat = Storage("0", f32(floats(1024, 8)))
    alone = Storage("1", bf16(floats(512, 9)), "BF16")
    unused = Storage("2", f32(floats(64, 10)))
    root = {
        "model": {
            "tied": Tensor(flat, (32, 32), (32, 1)),
            "again": Tensor(flat, (32, 32), (32, 1)),
            "turned": Tensor(flat, (32, 32), (1, 32)),
            "row": Tensor(flat, (32,), (1,), 64),
            "column": Tensor(flat, (32,), (32,), 3),
            "alone": Tensor(alone, (16, 32), (1, 16)),
        },
        "unused": unused,
        "optimizer": Instance(Name("my_project.optim", "Sophia")),
        "epoch": 3,
    }
    return TorchFile(root, [flat, alone, unused]).to_bytes()


def npy(descr: str, shape: tuple[int, ...], raw: bytes, fortran: bool = False) -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + raw


def npz(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content)
    return buffer.getvalue()


def text(lines: int) -> bytes:
    return b"".join(b"%d %s\n" % (n, hashlib.sha256(b"%d" % (n // 7)).hexdigest().encode()) for n in range(lines))


Files = dict[str, bytes]


def encoder(change: int = 0) -> Files:
    return {
        "model.safetensors": safetensors(tensors(change), {"format": "pt"}),
        "config.json": json.dumps({"layers": 2, "change": change}).encode(),
        "run.sh": b"#!/bin/sh\necho train\n",
        "cache/": b"",
    }


def sharded() -> Files:
    """Return the weights of `encoder()` in two files, in another order."""
    every = sorted(tensors().items(), reverse=True)
    shards = [dict(every[:5]), dict(every[5:])]
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    weights = {name: file for file, shard in zip(names, shards, strict=True) for name in shard}
    listing = json.dumps({"metadata": {}, "weight_map": weights}).encode()
    return {name: safetensors(shard) for name, shard in zip(names, shards, strict=True)} | {
        "model.safetensors.index.json": listing
    }


def corpus() -> Files:
    column = struct.pack("<6d", *floats(6, 11, 1.0))
    return {
        "part/a.npy": npy("<f8", (2, 3), column),
        "part/b.npy": npy("<f8", (2, 3), column, fortran=True),
        "part/c.npz": npz(x=npy("<i4", (4,), struct.pack("<4i", 1, 2, 3, 4)), y=npy("|u1", (3,), b"abc")),
        "mixed.npz": npz(x=npy("<i4", (2,), struct.pack("<2i", 5, 6)), z=npy("|O", (1,), b"\x80\x02K\x01.")),
        "old.h5": b"\x89HDF\r\n\x1a\n" + random.Random(12).randbytes(256),
        "words.txt": text(3000),
        "naïve résumé 日本.txt": b"texte\n",
        "empty.txt": b"",
        "nothing/here/": b"",
        "noise.bin": b"\0" + random.Random(13).randbytes(3000),
        "checkpoints/last.pt": torch_file(),
    }


# The repository


def write(folder: Path, files: Files) -> Path:
    """Make a folder hold exactly these files; a name that ends in `/` is an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    return folder


@contextmanager
def made_up_times_and_ids() -> Iterator[None]:
    """Make events reproducible: each a minute after the one before, with counted write ids."""
    numbers = itertools.count()
    module: Any = commit
    former = module.new_event

    def new_event(number: int, by: str, actions: tuple[Action, ...], undoes: int | None = None) -> Event:
        minute = next(numbers)
        write_id = hashlib.blake2b(b"%d" % minute, digest_size=16).hexdigest()
        at = f"2026-01-{1 + minute // 1440:02}T{minute // 60 % 24:02}:{minute % 60:02}:00.000000Z"
        return Event(number, write_id, at, by, actions, undoes)

    module.new_event = new_event
    try:
        yield
    finally:
        module.new_event = former


def build(home: Path, turns: int = 260) -> dict[str, Files]:
    """Make the repository in `home`; return the files of each version by its present name.

    Args:
        home: An empty folder.
        turns: How often the alias of `moves` moves.
    """
    root = Path(init_repository(home).path)
    config = root / "config.toml"
    config.chmod(0o644)
    config.write_text('[identity]\nname = "ada@workstation"\n')
    repository = open_repository(root)
    kept: dict[str, Files] = {}

    def put(name: str, present_name: str, files: Files, **said: Any) -> str:
        request = AddRequest(paths=[write(home / name, files)], name=name, **said)
        added = add(repository, request)
        kept[f"{present_name}:v{added.version.number}"] = files
        return added.version.name

    with made_up_times_and_ids():
        _encoder_history(repository, put)
        _corpus_history(repository, put)
        _moves_history(repository, put, turns)
        artifacts.switch(repository, "draft")
    repository.close()
    return kept


def _encoder_history(repository: OpenRepository, put: Callable[..., str]) -> None:
    put(
        "draft",
        "encoder",
        encoder(),
        type="model",
        message="first\nwith a second line",
        tags=["baseline", "naïve"],
        metadata={"lr": 1e-05, "layers": [1, {"a": None}], "on": True, "text": 'q"\\\n\x7f\u2028'},
        metrics={"val_acc": 0.913, "steps": 1000},
        provenance={"command": ["train.py", "--lr", "1e-5"]},
    )
    put("draft", "encoder", encoder(1), aliases=["best"], metrics={"val_acc": 0.921})
    put("draft", "encoder", sharded(), message="the weights of v0 in two files", aliases=["production"])
    put("draft", "encoder", encoder(2), aliases=["best"])
    put("draft", "encoder", encoder(3))
    labels.set_note(repository, "draft:v1", "Diverged after epoch 3.\nSee v2.")
    labels.set_note(repository, "draft:v2", "gone")
    labels.set_note(repository, "draft:v2", None)
    labels.change_tags(repository, "draft:v1", ["a", "b"], [])
    labels.change_tags(repository, "draft:v1", [], ["a"])
    labels.change_values(repository, "draft:v1", {"lr": 0.5, "gone": 1}, {"loss": 1e16})
    labels.change_values(repository, "draft:v1", None, None, ["gone"])
    labels.set_alias(repository, "old", "draft:v0")
    labels.delete_alias(repository, "draft:old")
    artifacts.rename(repository, "draft", "wrong-name")
    undo.undo(repository, "wrong-name")
    artifacts.rename(repository, "draft", "encoder")
    removal.remove(repository, ["encoder:v3"], force=True)
    undo.undo(repository, "encoder")
    removal.remove(repository, ["encoder:v4"])
    removal.remove(repository, ["encoder:v1"])
    removal.restore(repository, ["encoder:v1"])
    put("draft", "encoder", encoder(3) | {"added.txt": b"later\n"})


def _corpus_history(repository: OpenRepository, put: Callable[..., str]) -> None:
    commit.ensure_artifact(repository, "corpus", "modle")
    put("corpus", "corpus", corpus(), type="dataset")


def _moves_history(repository: OpenRepository, put: Callable[..., str], turns: int) -> None:
    """A log of more events than fit into a segment."""
    put("moves", "moves", {"a.txt": b"a\n"}, type="notes")
    put("moves", "moves", {"a.txt": b"b\n"})
    for turn in range(turns):
        labels.set_alias(repository, "best", f"moves:v{turn % 2}")


def expected(home: Path, kept: dict[str, Files]) -> dict[str, Any]:
    """Return what must come back, for any later program to compare with."""
    repository = open_repository(home / ".mlver")
    try:
        return {
            "revisions": {revision: repository.resolve(revision).version.name for revision in REVISIONS},
            "logs": [log_document(found) for found in log_all(repository, removed=True)],
            "reflogs": {
                name: [[entry.id, *map(undo.describe, entry.event.actions)] for entry in undo.reflog(repository, name)]
                for name in ("encoder", "corpus")
            },
            "files": {name: {path: _fact(path, raw) for path, raw in files.items()} for name, files in kept.items()},
        }
    finally:
        repository.close()


def _fact(path: str, raw: bytes) -> dict[str, Any] | None:
    if path.endswith("/"):
        return None
    return {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest(), "executable": path.endswith(".sh")}


def main() -> None:
    """Write the golden repository anew."""
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        kept = build(home)
        facts = expected(home, kept)
        shutil.rmtree(FOLDER, ignore_errors=True)
        shutil.copytree(home / ".mlver", FOLDER / STORED_AS, ignore=shutil.ignore_patterns(*CACHES))
        (FOLDER / "expected.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
