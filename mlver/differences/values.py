"""Nested values, such as configurations: which keys came, went, and changed.

Tables are compared key by key; lists of tables, and long lists of equal length, item by item; any other list is one
value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_ABSENT = object()
_SHORT = 6
"""Items of a list that a person takes in as one value."""


class ValueChange(NamedTuple):
    """One value that is not what it was.

    Attributes:
        key: Its place, such as `optimizer.betas` or `layers[3].size`.
        kind: `added`, `removed` or `changed`.
        before: What it was; None if it was absent.
        after: What it is; None if it is absent.
    """

    key: str
    kind: str
    before: Any
    after: Any


def compare_values(before: Any, after: Any) -> list[ValueChange]:
    """Return what changed between two JSON-like values, in the order of the keys.

    Raises:
        RecursionError: They nest too deep.
    """
    return list(_compare("", before, after))


def _compare(key: str, before: Any, after: Any) -> Iterator[ValueChange]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted(before.keys() | after.keys(), key=str):
            place = f"{key}.{name}" if key else str(name)
            yield from _compare(place, before.get(name, _ABSENT), after.get(name, _ABSENT))
    elif _holds_tables(before) and _holds_tables(after):
        for position in range(max(len(before), len(after))):
            old = before[position] if position < len(before) else _ABSENT
            new = after[position] if position < len(after) else _ABSENT
            yield from _compare(f"{key}[{position}]", old, new)
    elif _are_long_rows(before, after):
        for position, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _compare(f"{key}[{position}]", old, new)
    elif before is _ABSENT:
        yield from (ValueChange(place, "added", None, value) for place, value in leaves(key, after))
    elif after is _ABSENT:
        yield from (ValueChange(place, "removed", value, None) for place, value in leaves(key, before))
    elif not equal_values(before, after):
        yield ValueChange(key, "changed", before, after)


def _holds_tables(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, Mapping) for item in value)


def _are_long_rows(before: Any, after: Any) -> bool:
    """Tell whether two lists are too long to be shown, and of equal length, as two command lines may be."""
    return isinstance(before, list) and isinstance(after, list) and len(before) == len(after) > _SHORT


def leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values of a table that may nest, each with its place, which begins with `key`."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from leaves(f"{key}.{name}" if key else str(name), inner)
    else:
        yield key, value


def equal_values(before: Any, after: Any) -> bool:
    """Tell whether two values are the same: 1 is not True, though Python says so; it is 1.0."""
    if isinstance(before, bool) or isinstance(after, bool):
        return before is after
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(equal_values, before, after))
    return bool(before == after)
