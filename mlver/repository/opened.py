"""What all parts of the Python API stand on: one opened repository."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TypeVar

from mlver.ops.opening import OpenRepository
from mlver.repository.surroundings import environment, run_variable
from mlver.store.sqlite import CacheDamaged

T = TypeVar("T")
_LOGGER = logging.getLogger("mlver")
AnyPath = str | os.PathLike[str]


class Opened:
    """A part of the Python API.

    Args:
        opened: What the part works on.
    """

    def __init__(self, opened: OpenRepository) -> None:
        self._opened = opened
        self._own_run: str | None = None  # else what is done belongs to the run that this process is part of, if it is
        self._told = 0  # how many notices were told so far
        opened.use_hooks(environment())

    def _run(self, operation: Callable[[], T]) -> T:
        """Run an operation, and once more on a new cache if the cache turns out to be damaged; then tell the hooks."""
        self._opened.run_variable = self._own_run or run_variable()
        try:
            try:
                return operation()
            except CacheDamaged as damage:
                self._opened.reopen(damage)
                return operation()
        finally:
            for notice in self._opened.notices[self._told :]:
                _LOGGER.warning("%s", notice)
            self._told = len(self._opened.notices)
            if self._opened.hooks is not None:
                for problem in self._opened.hooks.finish(self._opened):
                    _LOGGER.warning("%s", problem)
