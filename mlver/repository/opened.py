"""What all parts of the Python API stand on: one opened repository."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TypeVar

from mlver.ops.opening import OpenRepository
from mlver.repository.surroundings import environment
from mlver.store.sqlite import CacheDamaged

T = TypeVar("T")
AnyPath = str | os.PathLike[str]


class Opened:
    """A part of the Python API.

    Args:
        opened: What the part works on.
    """

    def __init__(self, opened: OpenRepository) -> None:
        self._opened = opened
        opened.use_hooks(environment())

    def _run(self, operation: Callable[[], T]) -> T:
        """Run an operation, and once more on a new cache if the cache turns out to be damaged; then tell the hooks."""
        try:
            try:
                return operation()
            except CacheDamaged as damage:
                self._opened.reopen(damage)
                return operation()
        finally:
            if self._opened.hooks is not None:
                for problem in self._opened.hooks.finish(self._opened):
                    logging.getLogger("mlver").warning("%s", problem)
