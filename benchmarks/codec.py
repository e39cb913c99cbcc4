"""Ratio and speed of the codec over kinds of data: `python benchmarks/codec.py [FILE.safetensors]`.

Chunks of 1 MiB, as `add` makes them. GB/s are 10⁹ raw bytes a second on one thread; `×2` is how many times as much two
threads do, encoding and decoding. With a file, its F32 tensors are measured too, as they are and cast to BF16.

`python benchmarks/codec.py --pair BEFORE.safetensors AFTER.safetensors` measures a chunk of each large tensor of a
checkpoint, against the one before and, at level fast, by itself: encoding it as its like before it were, reading back
what was encoded, and decoding it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mlver import codec
from mlver.cli import heavy

CHUNK_BYTES = 1 << 20
CHUNKS = 24
ROUNDS = 3

Case = tuple[str, str | None, bytes]


def to_bf16(values: np.ndarray) -> np.ndarray:
    """Cast F32 to the bits of BF16 by rounding to nearest even; shape (n,), u16."""
    bits = values.astype("<f4").view("<u4")
    rounded: np.ndarray = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return rounded.astype("<u2")


def synthetic() -> Iterator[Case]:
    """Yield the data that weights and datasets are made of."""
    rng = np.random.default_rng(0)
    size = CHUNK_BYTES * CHUNKS
    normal = (rng.standard_normal(size // 4, dtype=np.float32) * 0.02).astype("<f4")
    doubled = (rng.standard_normal(size // 2, dtype=np.float32) * 0.02).astype("<f4")
    keep = rng.random(size // 2) < 0.1
    rows = doubled.reshape(-1, 1024) * (rng.random(size // 2048) < 0.8)[:, None]
    yield "normal", "BF16", to_bf16(doubled).tobytes()
    yield "normal", "F16", doubled.astype("<f2").tobytes()
    yield "normal", "F32", normal.tobytes()
    yield "normal", "F64", (rng.standard_normal(size // 8) * 0.02).astype("<f8").tobytes()
    yield "normal, F16 cast up", "F32", normal.astype("<f2").astype("<f4").tobytes()
    yield "normal, BF16 cast up", "F32", (to_bf16(normal).astype("<u4") << 16).tobytes()
    yield "pruned, 90 % zeros", "BF16", to_bf16(doubled * keep).tobytes()
    yield "pruned, 90 % zeros", "F32", (normal * keep[: normal.size]).tobytes()
    yield "a fifth of rows zero", "BF16", to_bf16(rows.ravel()).tobytes()
    yield "a row, repeated", "BF16", np.tile(to_bf16(doubled[:1024]), size // 2048).tobytes()
    yield "all ones", "BF16", to_bf16(np.ones(size // 2, "<f4")).tobytes()
    yield "zeros", "F32", bytes(size)
    yield "quantised, normal", "U8", np.clip(rng.standard_normal(size) * 32 + 128, 0, 255).astype("u1").tobytes()
    yield "packed 4 bit", "I32", rng.integers(0, 2**32, size // 4, dtype="<u4").tobytes()
    yield "mask", "BOOL", (rng.random(size) < 0.1).astype("u1").tobytes()
    yield "positions", "I64", np.arange(size // 8, dtype="<i8").tobytes()
    yield "token ids", "I32", np.minimum(rng.zipf(1.3, size // 4), 50000).astype("<i4").tobytes()
    yield "normal F32, unaligned", None, b"\n" + normal.tobytes()[1:]
    yield "noise", None, rng.bytes(size)
    source = b"".join(path.read_bytes() for path in sorted(Path(np.__file__).parent.rglob("*.py")))
    yield "Python source", None, (source * (size // len(source) + 1))[:size]


def tensors(file: BinaryIO) -> list[tuple[str, dict[str, Any], int, int]]:
    """Return name, entry in the header, offset and size in bytes of each tensor of a safetensors file."""
    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    start = file.tell()
    entries = ((name, entry) for name, entry in header.items() if name != "__metadata__")
    return [
        (name, entry, start + begin, end - begin) for name, entry in entries for begin, end in [entry["data_offsets"]]
    ]


def from_file(path: Path) -> Iterator[Case]:
    """Yield the F32 tensors of a safetensors file, end to end, and cast to BF16."""
    with path.open("rb") as file:
        whole = b""
        for _, entry, offset, size_bytes in tensors(file):
            if entry["dtype"] == "F32" and len(whole) < CHUNKS * CHUNK_BYTES:
                file.seek(offset)
                whole += file.read(size_bytes)
    yield path.name, "F32", whole[: CHUNKS * CHUNK_BYTES]
    yield path.name, "BF16", to_bf16(np.frombuffer(whole, "<f4"))[: CHUNKS * CHUNK_BYTES // 2].tobytes()


def seconds(work: Callable[[], object]) -> float:
    """Return the best wall time of a few calls."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(name: str, dtype: str | None, data: bytes) -> str:
    """Return one line of the table."""
    view = memoryview(data)
    chunks = [view[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
    encoded = [codec.encode(chunk, dtype) for chunk in chunks]
    stored = [(item.encoding, b"".join(item.parts), len(chunk)) for item, chunk in zip(encoded, chunks, strict=True)]

    def encode(chunk: memoryview) -> int:
        return codec.encode(chunk, dtype).size_bytes

    def decode(item: tuple[int, bytes, int]) -> int:
        return len(codec.decode(*item))

    with ThreadPoolExecutor(2) as pool:
        one, two = seconds(lambda: [*map(encode, chunks)]), seconds(lambda: [*pool.map(encode, chunks)])
        back, back_two = seconds(lambda: [*map(decode, stored)]), seconds(lambda: [*pool.map(decode, stored)])
    ratio = sum(item.size_bytes for item in encoded) / len(data)
    speeds = f"{len(data) / one / 1e9:8.2f} {one / two:5.2f} {len(data) / back / 1e9:8.2f} {back / back_two:5.2f}"
    return f"{name:24} {dtype or '-':6}{ratio:8.4f} {speeds}  {sorted({item.encoding for item in encoded})}"


def large_tensors(path: Path) -> Iterator[tuple[str, str, int, bytes]]:
    """Yield name, type, columns and the second chunk of each tensor of two chunks and more."""
    with path.open("rb") as file:
        for name, entry, offset, size_bytes in tensors(file):
            if size_bytes >= 2 * CHUNK_BYTES:
                file.seek(offset + CHUNK_BYTES)
                yield name, entry["dtype"], entry["shape"][-1], file.read(CHUNK_BYTES)


def measure_pair(before: Path, after: Path, level: codec.Effort) -> str:
    """Return the line of a level: milliseconds a MiB of encoding, of reading back, and of decoding."""
    old = {name: chunk for name, _, _, chunk in large_tensors(before)}
    new = [(*told, old.get(told[0]) if level != "fast" else None) for told in large_tensors(after)]
    sizes, spent = [], [0.0, 0.0, 0.0]
    for _, dtype, columns, chunk, base in new:
        options = {"effort": level, "base_dtype": dtype, "columns": columns}
        encode = partial(codec.encode, chunk, dtype, base, **options)
        choice = encode().choice
        encoded = encode(choice=choice)
        payload = encoded.payload()
        sizes.append(encoded.size_bytes)
        for number, work in enumerate(
            (
                partial(encode, choice=choice),
                partial(codec.decodes_to, encoded, chunk, base),
                partial(codec.decode, encoded.encoding, payload, len(chunk), base),
            )
        ):
            spent[number] += seconds(work)
    each = [1e3 * one / len(new) for one in spent]
    ratio = sum(sizes) / len(new) / CHUNK_BYTES
    return f"| `{level}` | {ratio:.3f} | " + " | ".join(f"{one:.2f} ms" for one in each) + " |"


def small_files() -> str:
    """Return a line on chunks of 4 KB, of which datasets have thousands."""
    text = Path(__file__).read_bytes()[:4096]
    codec.encode(text, None)
    each = seconds(lambda: [codec.encode(text, None) for _ in range(2000)]) / 2000
    noise = np.random.default_rng(0).bytes(4096)
    each_noise = seconds(lambda: [codec.encode(noise, None) for _ in range(2000)]) / 2000
    return f"4 KB of text: {each * 1e6:.1f} µs; of noise: {each_noise * 1e6:.1f} µs"


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["--pair"]:
        heavy.prepare()  # as commands do
        print("| level | stored ÷ raw | encode | read back | decode |\n| --- | --- | --- | --- | --- |")
        for level in ("fast", "balanced", "max"):
            print(measure_pair(Path(sys.argv[2]), Path(sys.argv[3]), level), flush=True)
        return
    print(f"{'data':24} {'dtype':6}{'ratio':>8} {'encode':>8} {'×2':>5} {'decode':>8} {'×2':>5}  encodings")
    for case in synthetic():
        print(measure(*case), flush=True)
    for argument in sys.argv[1:]:
        for case in from_file(Path(argument)):
            print(measure(*case), flush=True)
    print(small_files())


if __name__ == "__main__":
    main()
