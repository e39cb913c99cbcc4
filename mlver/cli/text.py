"""Values as people read them, and strings from outside made harmless. Pure functions; used by every renderer.

Sizes are decimal (1 kB is 1000 bytes), as `ls --si`, disks and networks count.
"""

from __future__ import annotations

import json
import math
import unicodedata

_SIZE_UNITS = ("kB", "MB", "GB", "TB", "PB", "EB", "ZB")
_AGE_UNITS = (("year", 31_556_952), ("month", 2_629_746), ("week", 604_800), ("day", 86_400), ("hour", 3600))
_MINUTE_SECONDS = 60
# Not "printable" for Python, but part of ordinary writing: joiners of scripts and emoji, and spaces that do not break.
_HARMLESS = frozenset("\u200c\u200d\u00a0\u202f\u3000")


def escape(text: str) -> str:
    r"""Return `text` on one line with nothing in it that a terminal or a reader's eye would obey.

    Control characters, escape sequences, bidi controls, invisible characters and lone surrogates become `\x1b` and
    the like. What is printable stays.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in _HARMLESS else _escaped(char) for char in text)


def escape_block(text: str) -> str:
    """Return `text` escaped as by `escape`, but with its line breaks."""
    return "\n".join(escape(line.expandtabs(4)) for line in text.replace("\r\n", "\n").split("\n"))


def _escaped(char: str) -> str:
    if 0xDC80 <= ord(char) <= 0xDCFF:  # a byte of a file name that is no UTF-8, as os.fsdecode returns it
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")


def size(size_bytes: int) -> str:
    """Return a size such as `512 B`, `1.2 GB` or `230 MB`: two or three significant digits."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    value = float(size_bytes)
    power = 0
    while value >= 999.5:  # what would read 1000 kB reads 1.0 MB
        value /= 1000
        power += 1
    digits = f"{value:.0f}" if value >= 99.95 else f"{value:.1f}"
    return f"{digits} {_SIZE_UNITS[power - 1]}"


def age(age_seconds: float) -> str:
    """Return an age such as `3 days ago`. What lies ahead (clocks differ) is `just now`, or `in the future`."""
    if age_seconds < -_MINUTE_SECONDS:
        return "in the future"
    if age_seconds < _MINUTE_SECONDS:
        return "just now"
    for unit, unit_seconds in _AGE_UNITS:
        if age_seconds >= unit_seconds:
            return f"{count(int(age_seconds // unit_seconds), unit)} ago"
    return f"{count(int(age_seconds // _MINUTE_SECONDS), 'minute')} ago"


def duration(seconds: float) -> str:
    """Return a time that something took, such as `350 ms`, `12.3 s`, `4 min 5 s` or `2 h 10 min`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def number(value: object) -> str:
    """Return a metric or a piece of metadata: floats with five significant digits, text bare, all else as JSON."""
    if isinstance(value, float):
        return f"{value:.5g}" if math.isfinite(value) else str(value)
    return escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def percent(share: float | None) -> str:
    """Return a share such as `12 %` or `0.034 %`: two significant digits; nothing for one that is not known."""
    if share is None or math.isnan(share):
        return ""
    if math.isinf(share):
        return "from 0"
    if share >= 0.995:
        return f"{share * 100:,.0f} %" if share < 1000 else f"×{share:.1e}"
    return f"{share * 100:.2g} %" if share == 0 or share >= 1e-7 else f"{share * 100:.0e} %"


def count(amount: int, noun: str) -> str:
    """Return an amount with its noun, such as `1 file` or `20,000 files`."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def width(text: str) -> int:
    """Return how many columns `text` takes in a terminal."""
    return len(text) if text.isascii() else sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or char in "\u200c\u200d\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
