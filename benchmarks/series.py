"""Bytes and speed of series of checkpoints by codec: `python benchmarks/series.py FOLDER [SERIES …]`.

FOLDER is what `checkpoints.py` made. The store of a series is its first version, then each later one against the one
before it. All columns are from one run on the same bytes, cut into the same chunks of 1 MiB:

========= ===================================================================================================
reference the published method: byte planes, each by zstd -1; later versions are XORed with their base first
alone     what mlver stores without a base
fast, …   mlver's codec with a base, by effort
========= ===================================================================================================

Chunks that are equal to one that is stored cost nothing, in all columns. Ratios are to the reference's bytes; speeds
are GB/s (10⁹ raw bytes a second) of one thread over the chunks that changed, encoding and decoding.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import zstandard

from mlver import codec, formats

CHUNK_BYTES = formats.TENSOR_CHUNK_BYTES
EFFORTS: tuple[codec.Effort, ...] = ("fast", "balanced", "max")
COLUMNS = ("reference", "alone", *EFFORTS)
CASTS = "cast"
WIDTHS = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8, "I64": 8, "I32": 4}
ZSTD = zstandard.ZstdCompressor(level=1)


@dataclass(frozen=True)
class Bytes:
    """A file in memory."""

    data: bytes

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        """Return a stretch of it."""
        return self.data[offset : offset + length]


@dataclass(frozen=True)
class Chunk:
    """A stretch of a tensor, and what it is named by in the version before."""

    name: str
    dtype: str
    start: int
    raw: memoryview
    columns: int = 0


@dataclass
class Tally:
    """Bytes stored and seconds taken, by column."""

    stored: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    encode_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    decode_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    raw_bytes: int = 0
    changed_bytes: int = 0


def chunks(path: Path) -> Iterator[Chunk]:
    """Yield the tensors of a file by chunk."""
    data = path.read_bytes()
    layout = formats.parse(Bytes(data))
    if layout is None:
        sys.exit(f"{path} is no weight file.")
    for tensor in layout.tensors:
        raw = memoryview(data)[tensor.offset : tensor.offset + tensor.size_bytes]
        for at in range(0, len(raw), CHUNK_BYTES):
            columns = tensor.shape[-1] if len(tensor.shape) > 1 else 0
            yield Chunk(tensor.name, tensor.dtype, at, raw[at : at + CHUNK_BYTES], columns)


def reference(chunk: Chunk, base: memoryview | None) -> int:
    """Return the bytes of the published method for one chunk."""
    width = WIDTHS.get(chunk.dtype, 1)
    values = np.frombuffer(chunk.raw, np.uint8)
    if base is not None and len(base) == len(chunk.raw):
        values = values ^ np.frombuffer(base, np.uint8)
    planes = values[: values.size // width * width].reshape(-1, width).T
    return sum(min(len(ZSTD.compress(plane.tobytes())), plane.size) for plane in planes)


def measure(files: list[Path]) -> Tally:
    """Store a series in every way."""
    tally, known, before = Tally(), set[bytes](), dict[str, Chunk]()
    for path in files:
        current: dict[tuple[str, int], Chunk] = {}
        for chunk in chunks(path):
            current[chunk.name, chunk.start] = chunk
            tally.raw_bytes += len(chunk.raw)
            identity = hashlib.blake2b(chunk.raw).digest()
            if identity not in known:
                known.add(identity)
                add(tally, chunk, *base_of(chunk, before))
        before = whole_tensors(current)
    return tally


def whole_tensors(current: dict[tuple[str, int], Chunk]) -> dict[str, Chunk]:
    """Return the tensors of a version by name."""
    parts: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in current.values():
        parts[chunk.name].append(chunk)
    return {
        name: Chunk(name, pieces[0].dtype, 0, memoryview(b"".join(piece.raw for piece in pieces)))
        for name, pieces in parts.items()
    }


def base_of(chunk: Chunk, before: dict[str, Chunk]) -> tuple[memoryview | None, str | None]:
    """Return the base's elements at the places of the chunk's, and their dtype."""
    tensor = before.get(chunk.name)
    if tensor is None:
        return None, None
    width, other = WIDTHS.get(chunk.dtype, 1), WIDTHS.get(tensor.dtype, 1)
    start = chunk.start // width * other
    return tensor.raw[start : start + len(chunk.raw) // width * other], tensor.dtype


def add(tally: Tally, chunk: Chunk, base: memoryview | None, base_dtype: str | None) -> None:
    """Store one chunk in every way, and read it back."""
    tally.changed_bytes += len(chunk.raw)
    tally.stored["reference"] += reference(chunk, base if base_dtype == chunk.dtype else None)
    for column in COLUMNS[1:]:
        start = time.thread_time()
        if column == "alone":
            encoded = codec.encode(chunk.raw, chunk.dtype)
        else:
            encoded = codec.encode(
                chunk.raw,
                chunk.dtype,
                base,
                column,
                base_dtype=base_dtype,
                columns=chunk.columns,  # type: ignore[arg-type]
            )
        tally.encode_seconds[column] += time.thread_time() - start
        tally.stored[column] += encoded.size_bytes
        payload = b"".join(encoded.parts)
        start = time.thread_time()
        decoded = codec.decode(encoded.encoding, payload, len(chunk.raw), base)
        tally.decode_seconds[column] += time.thread_time() - start
        if decoded != chunk.raw:
            sys.exit(f"{chunk.name} did not come back from {column}.")


def row(name: str, tally: Tally) -> str:
    """Return a line of the table."""
    ratios = " ".join(f"{tally.stored[column] / tally.stored['reference']:9.4f}" for column in COLUMNS[1:])
    speeds = " ".join(
        f"{tally.changed_bytes / tally.encode_seconds[column] / 1e9:6.2f}/"
        f"{tally.changed_bytes / tally.decode_seconds[column] / 1e9:.2f}"
        for column in COLUMNS[1:]
    )
    return (
        f"{name:12}{tally.raw_bytes / 1e6:8.1f} {tally.stored['reference'] / tally.raw_bytes:9.4f} {ratios}  {speeds}"
    )


def keep_memory() -> None:
    """Let freed memory be used again, as mlver's commands do; fresh pages cost as much as all else."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 28)
        libc.mallopt(-1, 1 << 30)


def main() -> None:
    """Print the table."""
    if len(sys.argv) < 2:
        sys.exit("usage: series.py FOLDER [SERIES …]")
    keep_memory()
    folder = Path(sys.argv[1])
    names = sys.argv[2:] or sorted(path.name for path in folder.iterdir() if path.is_dir())
    print(
        f"{'series':12}{'raw MB':>8} {'ref/raw':>9} " + " ".join(f"{column:>9}" for column in COLUMNS[1:]) + "  GB/s …"
    )
    means: dict[str, list[float]] = defaultdict(list)
    for name in names:
        tally = measure(sorted((folder / name).iterdir()))
        print(row(name, tally), flush=True)
        if name not in ("cast", "permuted"):
            for column in COLUMNS[1:]:
                means[column].append(math.log(tally.stored[column] / tally.stored["reference"]))
    shown = " ".join(f"{math.exp(sum(logs) / len(logs)):9.4f}" for logs in means.values())
    print(f"{'geometric mean, without cast and permuted':>30} {shown}" if means else "")


if __name__ == "__main__":
    main()
