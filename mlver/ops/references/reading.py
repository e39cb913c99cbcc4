"""The bytes of many objects as one ordered stream: ranges of large ones and whole small ones under way at once.

Memory is bounded by the ranges under way, whatever the objects' size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import NamedTuple

from mlver.errors import ConflictError
from mlver.ops.parallel import run_ordered
from mlver.store.objects.patient import ObjectStore
from mlver.store.objects.service import Stat

CONNECTIONS = 16
"""Requests under way at once: most of their time is waiting."""
_RANGE_BYTES = 8 << 20


class ObjectSource(NamedTuple):
    """An object to be read.

    Attributes:
        store: Where it is.
        key: Which.
        stat: What it was when it was looked at.
    """

    store: ObjectStore
    key: str
    stat: Stat

    @property
    def has_ranges(self) -> bool:
        """Whether it can be read in ranges."""
        return self.stat.guard is not None and self.stat.size_bytes is not None


def contents(sources: Sequence[ObjectSource]) -> Iterator[tuple[int, bytes]]:
    """Yield the bytes of objects in order, piece by piece, each with the position of its object in `sources`.

    Every object yields at least one piece, perhaps an empty one.

    Raises:
        ConflictError: An object changes while it is read, or has more bytes than its server said.
        NotFoundError: One is gone.
        RemoteError: A server failed.
    """
    for has_ranges, group in groupby(range(len(sources)), lambda position: sources[position].has_ranges):
        if has_ranges:
            positions = [(position, task) for position in group for task in _tasks(sources[position])]
            yield from run_ordered((partial(_labelled, *pair) for pair in positions), CONNECTIONS, CONNECTIONS)
        else:
            for position in group:
                yield from ((position, piece) for piece in _stream(sources[position]))


def _tasks(source: ObjectSource) -> Iterator[Callable[[], bytes]]:
    size_bytes = source.stat.size_bytes or 0
    if not size_bytes:
        yield bytes
    for start in range(0, size_bytes, _RANGE_BYTES):
        end = min(start + _RANGE_BYTES, size_bytes)
        yield partial(source.store.read, source.key, source.stat, start, end)


def _labelled(position: int, task: Callable[[], bytes]) -> tuple[int, bytes]:
    return position, task()


def _stream(source: ObjectSource) -> Iterator[bytes]:
    left = source.stat.size_bytes
    for piece in source.store.stream(source.key, source.stat):
        yield piece
        if left is not None:
            left -= len(piece)
            if left < 0:
                break
    if left:
        raise ConflictError(
            f"{source.key} has {'more' if left < 0 else 'fewer'} bytes than its server said.",
            "Run the same command again.",
        )
