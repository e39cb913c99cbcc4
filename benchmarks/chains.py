"""Which version each one is to rest on: bytes against the steps of a restore: `python benchmarks/chains.py FOLDER`.

FOLDER is what `checkpoints.py` made. Of each series with six versions whose weights really change, some forty chunks
of 1 MiB are encoded against every earlier version. The table compares shapes: the store's size ÷ that of the shape in
which each version rests on the one before, as geometric mean and worst of the series; the most steps from a version
down to a whole one, of 6 and of 64 versions; and what the slowest and the mean of the six then take to decode ÷ a whole
one (thread time).
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from harness import table
from series import Chunk, chunks

from mlver import codec
from mlver.ops.bases import base_number

CHUNKS = 40
VERSIONS = 6
SHAPES: dict[str, Callable[[int], int]] = {
    "the one before": lambda n: n - 1,
    "the one before, every fourth on the first": lambda n: n - 1 if n % 4 else 0,
    "the one before, every third on the first": lambda n: n - 1 if n % 3 else 0,
    "always the first": lambda _: 0,
    "number without its lowest bit": base_number,
}


class Costs:
    """What versions of one series take, whole and against each other.

    Args:
        files: The versions.
        effort: Of the codec.
    """

    def __init__(self, files: list[Path], effort: codec.Effort) -> None:
        self.whole = [0] * VERSIONS
        self.against: dict[tuple[int, int], int] = defaultdict(int)
        self.whole_seconds = self.step_seconds = 0.0
        self.changed = 0
        versions = [{(chunk.name, chunk.start): chunk for chunk in chunks(file)} for file in files]
        last = versions[-1]
        places = [place for place in versions[0] if place in last and versions[0][place].raw != last[place].raw]
        for place in places[:: len(places) // CHUNKS + 1]:
            self._measure([version[place] for version in versions], effort)

    def _measure(self, states: list[Chunk], effort: codec.Effort) -> None:
        for number, chunk in enumerate(states):
            alone = codec.encode(chunk.raw, chunk.dtype)
            self.whole[number] += alone.size_bytes
            self.whole_seconds += _decoding(alone, chunk, None)
            for earlier in range(number):
                base = states[earlier].raw
                encoded = codec.encode(chunk.raw, chunk.dtype, base, effort)
                self.against[number, earlier] += encoded.size_bytes
                self.step_seconds += _decoding(encoded, chunk, base)
                self.changed += 1

    def stored(self, shape: Callable[[int], int]) -> int:
        """Return the size of a store of all versions, in bytes."""
        return self.whole[0] + sum(self.against[n, shape(n)] for n in range(1, VERSIONS))

    @property
    def step(self) -> float:
        """Return the time of one step ÷ that of decoding a whole chunk."""
        return (self.step_seconds / self.changed) / (self.whole_seconds / (self.changed / 15 * VERSIONS))


def _decoding(encoded: codec.Encoded, chunk: Chunk, base: memoryview | None) -> float:
    payload = b"".join(encoded.parts)
    start = time.thread_time()
    codec.decode(encoded.encoding, payload, len(chunk.raw), base)
    return time.thread_time() - start


def steps(shape: Callable[[int], int], number: int) -> int:
    """Return how many differences a version is made of."""
    return 0 if number == 0 else 1 + steps(shape, shape(number))


def main() -> None:
    """Print the table."""
    effort: codec.Effort = "balanced"
    costs = []
    for series in sorted(Path(sys.argv[1]).iterdir()):
        files = sorted(series.glob("step-*"))
        if series.is_dir() and len(files) == VERSIONS and series.name != "frozen":
            costs.append(Costs(files, effort))
            print(series.name, file=sys.stderr, flush=True)
    step = statistics.mean(cost.step for cost in costs)
    rows = []
    for name, shape in SHAPES.items():
        ratios = [cost.stored(shape) / cost.stored(SHAPES["the one before"]) for cost in costs]
        mean = math.exp(statistics.mean(map(math.log, ratios)))
        counts = [steps(shape, number) for number in range(VERSIONS)]
        far = [steps(shape, number) for number in range(64)]
        times = [1 + step * count for count in counts]
        row = [name, f"{mean:.3f}", f"{max(ratios):.3f}", f"{max(counts)}", f"{max(far)}"]
        rows.append([*row, f"{max(times):.1f}", f"{statistics.mean(times):.1f}"])
    header = ["rests on", "stored, mean", "worst", "steps of 6", "of 64", "slowest decode", "mean decode"]
    print(table(header, rows))


if __name__ == "__main__":
    main()
