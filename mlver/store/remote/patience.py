"""Trying a request again: pauses double, and differ so that many clients do not return at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from mlver.store.remote.failures import is_transient

T = TypeVar("T")

ATTEMPTS = 6
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 8.0


def patiently(request: Callable[[], T], attempts: int, pause: Callable[[float], None]) -> T:
    """Make a request until it is answered, or refused for good, or was tried `attempts` times; raise what it raises.

    Args:
        request: Makes one request.
        attempts: How often it is made at most; at least once.
        pause: Waits so many seconds.
    """
    pause_seconds = _FIRST_PAUSE_SECONDS
    for _ in range(attempts - 1):
        try:
            return request()
        except Exception as error:  # every library has errors of its own
            if not is_transient(error):
                raise
        pause(pause_seconds * random.uniform(0.5, 1.5))  # noqa: S311 - nothing secret
        pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
    return request()
