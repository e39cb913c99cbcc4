"""Work for all cores, its results in order, a bounded amount under way. zstd, BLAKE3 and NumPy let go of the GIL."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

WORKERS = max(2, min(8, os.cpu_count() or 2))
_IN_FLIGHT = 2 * WORKERS


def run_ordered(tasks: Iterable[Callable[[], T]], workers: int = WORKERS, under_way: int = _IN_FLIGHT) -> Iterator[T]:
    """Run tasks in threads and yield their results in the order of the tasks.

    `tasks` is advanced in the caller's thread, only as far ahead as work is wanted. When a task or the caller fails,
    those under way are waited for and the others are dropped.

    Args:
        tasks: What to run.
        workers: How many at once; more than there are cores for tasks that wait for others.
        under_way: How many results there may be that nobody asked for yet.
    """
    pending: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="mlver") as pool:
        try:
            for task in tasks:
                pending.append(pool.submit(task))
                while len(pending) > under_way:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
