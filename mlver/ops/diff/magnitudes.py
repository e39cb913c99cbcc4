"""How much tensors changed: stream those whose digests differ, in bounded memory, on all cores.

diff: … → pairs of tensors → **chunks of both → figures** → one result

Stretches of both tensors that hold the same elements are compared with each other. Where both lie in the same chunk it
is read once, since the norm of a tensor needs all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from mlver.differences.figures import Figures
from mlver.digests import Buffer
from mlver.history.manifest import TensorEntry
from mlver.ids import ChunkId
from mlver.ops.diff.measured import MeasuredChanges, Pair
from mlver.ops.diff.result import TensorPair
from mlver.ops.diff.sides import ChunkSource, Side
from mlver.ops.diff.stretches import (
    ChunkPart,
    Places,
    Stretch,
    can_stream,
    cut,
    gathering_problem,
    obtain_tensors,
    read_in_order,
)
from mlver.ops.parallel import run_ordered
from mlver.ops.progress import Progress

_TASK_BYTES = 4 << 20

_Tensors = dict[Pair, tuple[TensorEntry, TensorEntry]]
_Found = tuple[int, list[tuple[Pair, Figures]]]
"""Bytes that were read, and what was found in them."""


class _Work(NamedTuple):
    pair: Pair
    dtypes: tuple[str, str]
    stretch: Stretch


def measure_pairs(
    before: Side, after: Side, pairs: Sequence[TensorPair], measured: MeasuredChanges, progress: Progress
) -> list[TensorPair]:
    """Return the pairs with their figures, or with the reason why there are none.

    Args:
        before: What was.
        after: What is.
        pairs: Tensors that differ.
        measured: What was measured before; it learns the rest.
        progress: Told of the bytes read.

    Raises:
        IntegrityError: A chunk is missing or damaged.
        NotFoundError: A chunk is neither here nor at a remote.
        RemoteError: A remote failed.
        MlverError: A file on disk cannot be read, or changed.
    """
    problems = {_key(pair): _problem(pair.before, pair.after) for pair in pairs}
    wanted = {_key(pair): (pair.before, pair.after) for pair in pairs if problems[_key(pair)] is None}
    known = measured.find(wanted)
    fresh = _measure(before, after, {key: wanted[key] for key in wanted if key not in known}, progress)
    if fresh:
        measured.remember({pair: (figures, None) for pair, figures in fresh.items()})
    figures = {pair: entry[0] for pair, entry in known.items()} | fresh
    return [pair._replace(figures=figures.get(_key(pair)), unmeasured=problems[_key(pair)]) for pair in pairs]


def _key(pair: TensorPair) -> Pair:
    return pair.before.digest, pair.after.digest


def _problem(before: TensorEntry, after: TensorEntry) -> str | None:
    return None if can_stream(before, after) else gathering_problem(before, after)


def _measure(before: Side, after: Side, wanted: _Tensors, progress: Progress) -> dict[Pair, Figures]:
    """Return the figures of every pair, adding up those of its stretches in order."""
    if not wanted:
        return {}
    obtain_tensors(before, (old for old, _ in wanted.values()))
    obtain_tensors(after, (new for _, new in wanted.values()))
    figures = {pair: Figures() for pair in wanted}
    progress.start(sum(old.size_bytes + new.size_bytes for old, new in wanted.values()), "Comparing weights")
    try:
        for size_bytes, found in run_ordered(_tasks(before, after, wanted)):
            for pair, part in found:
                figures[pair] = figures[pair].plus(part)
            progress.advance(size_bytes)
    finally:
        progress.done()
    return figures


def _tasks(before: Side, after: Side, wanted: _Tensors) -> Iterator[Callable[[], _Found]]:
    """Yield tasks of some MiB: small tensors are many to a task, large ones are many tasks."""
    sources = before.chunks(), after.chunks()
    places = Places(before.manifest), Places(after.manifest)
    batch: list[_Work] = []
    batch_bytes = 0
    for pair, tensors in wanted.items():
        if not can_stream(*tensors):
            yield partial(_compare_gathered, before, after, pair, tensors)
            continue
        for stretch in cut(*places, *tensors):
            batch.append(_Work(pair, (tensors[0].dtype, tensors[1].dtype), stretch))
            batch_bytes += stretch.size_bytes
            if batch_bytes >= _TASK_BYTES:
                yield partial(_compare, sources, batch, batch_bytes)
                batch, batch_bytes = [], 0
    if batch:
        yield partial(_compare, sources, batch, batch_bytes)


def _compare(sources: tuple[ChunkSource, ChunkSource], batch: Sequence[_Work], batch_bytes: int) -> _Found:
    old = _parts(work.stretch.before for work in batch)
    new = _parts(work.stretch.after for work in batch)
    if sources[0] is sources[1]:
        raw = _read(sources[0], old | new)
        return batch_bytes, [(work.pair, _figures(work, raw, raw)) for work in batch]
    sides = _read(sources[0], old), _read(sources[1], new)
    return batch_bytes, [(work.pair, _figures(work, *sides)) for work in batch]


def _parts(stretches: Iterable[tuple[ChunkPart, ...]]) -> dict[ChunkId, int]:
    return {part.chunk: part.size_bytes for parts in stretches for part in parts}


def _read(source: ChunkSource, chunks: dict[ChunkId, int]) -> dict[ChunkId, Buffer]:
    return dict(zip(chunks, source.read_many(list(chunks.items())), strict=True))


def _figures(work: _Work, old: dict[ChunkId, Buffer], new: dict[ChunkId, Buffer]) -> Figures:
    from mlver.differences.magnitude import measure, measure_unchanged

    before = _join(work.stretch.before, old)
    if work.stretch.before == work.stretch.after and work.dtypes[0] == work.dtypes[1]:
        return measure_unchanged(before, work.dtypes[0])
    return measure(before, _join(work.stretch.after, new), *work.dtypes)


def _join(parts: Sequence[ChunkPart], raw: dict[ChunkId, Buffer]) -> Buffer:
    """Return the bytes of a stretch; mostly it is one whole chunk, and nothing is copied."""
    views = [memoryview(raw[part.chunk])[part.start : part.end] for part in parts]
    return views[0] if len(views) == 1 else b"".join(views)


def _compare_gathered(before: Side, after: Side, pair: Pair, tensors: tuple[TensorEntry, TensorEntry]) -> _Found:
    from mlver.differences.magnitude import measure_all

    old, new = (read_in_order(side, tensor) for side, tensor in zip((before, after), tensors, strict=True))
    figures = measure_all(old, new, tensors[0].dtype, tensors[1].dtype)
    return tensors[0].size_bytes + tensors[1].size_bytes, [(pair, figures)]
