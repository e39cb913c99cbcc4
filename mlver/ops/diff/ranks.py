"""The ranks of changed matrices: their rows are streamed, one matrix to a core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from mlver.differences.element_kinds import Kind, element_bits, kind_of
from mlver.differences.rank import ChangeSketch, Rank
from mlver.history.manifest import TensorEntry
from mlver.ops.diff.measured import MeasuredChanges, Pair
from mlver.ops.diff.result import TensorPair
from mlver.ops.diff.sides import Side
from mlver.ops.diff.stretches import Places, can_stream, obtain_tensors
from mlver.ops.parallel import run_ordered
from mlver.ops.progress import Progress

_BLOCK_BYTES = 4 << 20
_LARGEST_ROW_BYTES = 4 << 20


def rank_pairs(
    before: Side, after: Side, pairs: Sequence[TensorPair], measured: MeasuredChanges, progress: Progress
) -> list[TensorPair]:
    """Return the pairs, those of matrices with the rank of their change.

    Args:
        before: What was.
        after: What is.
        pairs: Tensors that differ, with their figures.
        measured: What was found before; it learns the rest.
        progress: Told of the bytes read.

    Raises:
        IntegrityError: A chunk is missing or damaged.
        MlverError: A file on disk cannot be read, or changed.
    """
    wanted = {(pair.before.digest, pair.after.digest): pair for pair in pairs if _has_rank(pair)}
    known = {key: rank for key, (_, rank) in measured.find(wanted).items() if rank is not None}
    fresh = {key: pair for key, pair in wanted.items() if key not in known}
    found = known | _ranks(before, after, fresh, progress)
    measured.remember({key: (pair.figures, found[key]) for key, pair in fresh.items() if key in found and pair.figures})
    return [pair._replace(rank=found.get((pair.before.digest, pair.after.digest))) for pair in pairs]


def _has_rank(pair: TensorPair) -> bool:
    is_matrix = len(pair.after.shape) == 2 and 0 not in pair.after.shape and pair.before.shape == pair.after.shape
    dtypes = pair.before.dtype, pair.after.dtype
    is_real = all(kind_of(dtype) is Kind.FLOAT and not dtype.startswith("C") for dtype in dtypes)
    if not (is_matrix and is_real and can_stream(pair.before, pair.after) and pair.before.order == "C"):
        return False
    bits = [pair.after.shape[1] * element_bits(dtype) for dtype in dtypes]
    return all(each % 8 == 0 and each // 8 <= _LARGEST_ROW_BYTES for each in bits)


def _ranks(before: Side, after: Side, pairs: dict[Pair, TensorPair], progress: Progress) -> dict[Pair, Rank]:
    if not pairs:
        return {}
    obtain_tensors(before, (pair.before for pair in pairs.values()))
    obtain_tensors(after, (pair.after for pair in pairs.values()))
    places = Places(before.manifest), Places(after.manifest)
    tasks = (partial(_rank, (before, after), places, pair) for pair in pairs.values())
    found: dict[Pair, Rank] = {}
    progress.start(sum(pair.before.size_bytes + pair.after.size_bytes for pair in pairs.values()), "Computing ranks")
    try:
        for (key, pair), rank in zip(pairs.items(), run_ordered(tasks), strict=True):
            progress.advance(pair.before.size_bytes + pair.after.size_bytes)
            if rank is not None:
                found[key] = rank
    finally:
        progress.done()
    return found


def _rank(sides: tuple[Side, Side], places: tuple[Places, Places], pair: TensorPair) -> Rank | None:
    import numpy as np

    from mlver.differences.elements import decode

    rows, columns = pair.after.shape
    sketch = ChangeSketch(rows, columns)
    old, new = (_rows(*each) for each in zip(sides, places, (pair.before, pair.after), strict=True))
    with np.errstate(all="ignore"):  # what is no number, or overflows, makes the rank None
        for old_raw, new_raw in zip(old, new, strict=True):
            delta = np.subtract(decode(new_raw, pair.after.dtype), decode(old_raw, pair.before.dtype), dtype="f4")
            sketch.add(delta.reshape(-1, columns))
        return sketch.rank()


def _rows(side: Side, places: Places, tensor: TensorEntry) -> Iterator[bytes]:
    """Yield blocks of whole rows; both sides have as many rows to a block."""
    rows, columns = tensor.shape
    row_bytes = columns * element_bits(tensor.dtype) // 8
    step = max(1, _BLOCK_BYTES // (columns * 8))
    for start in range(0, rows, step):
        parts = places.parts(tensor, start * row_bytes, min(rows, start + step) * row_bytes)
        chunks = side.chunks().read_many([(part.chunk, part.size_bytes) for part in parts])
        yield b"".join(memoryview(raw)[part.start : part.end] for raw, part in zip(chunks, parts, strict=True))
