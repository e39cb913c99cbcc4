"""Files that people write: configurations are parsed and compared key by key, other text line by line.

A parser only builds plain values: YAML is read by its safe loader, and nothing is ever executed.
"""

from __future__ import annotations

import json
import math
import posixpath
from collections.abc import Mapping
from typing import Any, NamedTuple

from mlver.differences.values import ValueChange, compare_values

MAX_BYTES = 32 << 20
"""The largest file that is looked into."""
_MAX_LINES = 20_000
_MAX_VALUES = 2_000_000


class TextChange(NamedTuple):
    """What differs between two states of a file. One of both is empty; both are where only spaces or line ends differ.

    Attributes:
        values: Of a file that was parsed: key by key.
        lines: Of other text: a unified diff without its header.
    """

    values: tuple[ValueChange, ...]
    lines: tuple[str, ...]


def compare_texts(path: str, before: bytes, after: bytes) -> TextChange | None:
    """Return what differs between two states of a file; None if it is no text, or too long to compare.

    Args:
        path: Its path, whose suffix tells the language.
        before: What it was.
        after: What it is.
    """
    old, new = _text(before), _text(after)
    if old is None or new is None:
        return None
    try:
        tables = _parse(path, old), _parse(path, new)
        if all(isinstance(table, Mapping | list) for table in tables):
            return TextChange(tuple(compare_values(*tables)), ())
    except (ValueError, RecursionError):
        pass  # broken, or another language than its name says: its lines still tell
    lines = _compare_lines(old.splitlines(), new.splitlines())
    return None if lines is None else TextChange((), lines)


def read_values(path: str, data: bytes) -> Mapping[str, Any] | None:
    """Return the values in a configuration file; None if it holds no table of them, or is broken.

    Args:
        path: Its path, whose suffix tells the language.
        data: Its bytes.
    """
    text = _text(data)
    try:
        found = _parse(path, text) if text is not None else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, Mapping) else None


def _text(data: bytes) -> str | None:
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _parse(path: str, text: str) -> Any:
    suffix = posixpath.splitext(path)[1].lower()
    if suffix in (".json", ".ipynb"):
        return json.loads(text, parse_float=_finite, parse_constant=str)
    if suffix == ".toml":
        import tomllib

        return _plain(tomllib.loads(text))
    if suffix in (".yaml", ".yml"):
        return _plain(_parse_yaml(text))
    return None


def _parse_yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _plain(value: Any) -> Any:
    """Return a value with dates as ISO 8601 text and keys as text.

    Raises:
        ValueError: It is small in the file and huge when written out: YAML may refer to a value from many places.
    """
    remaining = _MAX_VALUES

    def walk(inner: Any) -> Any:
        nonlocal remaining
        remaining -= 1
        if remaining < 0:
            raise ValueError("too many values")
        if isinstance(inner, dict):
            return {str(key): walk(item) for key, item in inner.items()}
        if isinstance(inner, list | tuple | set):
            return [walk(item) for item in inner]
        if isinstance(inner, float):
            return _finite(str(inner))
        return inner if isinstance(inner, str | int | None) else _as_text(inner)

    return walk(value)


def _finite(digits: str) -> float | str:
    """Return a number; NaN and infinities, which JSON does not have, as text."""
    number = float(digits)
    return number if math.isfinite(number) else digits


def _as_text(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def _compare_lines(before: list[str], after: list[str]) -> tuple[str, ...] | None:
    """Return a unified diff; None where it would take too long: the comparison grows with the square."""
    start, end = _common_ends(before, after)
    if max(len(before), len(after)) - start - end > _MAX_LINES:
        return None
    from difflib import unified_diff

    return tuple(line.rstrip("\n") for line in unified_diff(before, after, n=2, lineterm=""))[2:]


def _common_ends(before: list[str], after: list[str]) -> tuple[int, int]:
    """Return how many lines at the start and at the end are the same."""
    shorter = min(len(before), len(after))
    start = next((n for n in range(shorter) if before[n] != after[n]), shorter)
    rest = shorter - start
    end = next((n for n in range(rest) if before[-1 - n] != after[-1 - n]), rest)
    return start, end
