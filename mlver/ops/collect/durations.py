"""Lengths of time as people write them: `90m`, `12h`, `14d`, `2w`, `1y`, or `0`."""

from __future__ import annotations

import re

from mlver.errors import UsageError

DAY_SECONDS = 86_400.0
_UNIT_SECONDS = {
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": DAY_SECONDS,
    "w": 7 * DAY_SECONDS,
    "y": 365.25 * DAY_SECONDS,
}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdwy])")


def parse_duration(text: str) -> float:
    """Return a duration in seconds.

    Raises:
        UsageError: It is none.
    """
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if match is None or len(text) > 12:
        raise UsageError(f"{text!r} is no duration.", "Write a number and s, m, h, d, w or y, such as 14d; or 0.")
    return float(match[1]) * _UNIT_SECONDS[match[2]]
