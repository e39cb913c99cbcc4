"""Values as trainings have them, made JSON: nobody's training ends because a setting is a path or a NumPy number.

The command line gets text, and needs none of this.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

_MAX_DEPTH = 20


def plain_values(values: Any) -> dict[str, Any]:
    """Return settings as JSON has them.

    Args:
        values: A mapping, a dataclass, or an object with attributes, such as what argparse makes. In it paths become
            text, arrays and tensors lists or numbers, enumerations their values, sets sorted lists, NaN and infinities
            text, functions and classes their names, and anything else its text.
    """
    return {str(key): _plain(value, 0) for key, value in _items(values)}


def plain_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return metrics with NumPy's numbers and tensors of one element as numbers; what is none stays, to be refused."""
    return {name: _number(value) for name, value in metrics.items()}


def _number(value: Any) -> Any:
    if isinstance(value, int | float) or not hasattr(value, "__float__"):
        return value
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # an array of several, as NumPy and torch refuse it
        return value


def _items(values: Any) -> Iterable[tuple[Any, Any]]:
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        return [(field.name, getattr(values, field.name)) for field in dataclasses.fields(values)]
    items: Iterable[tuple[Any, Any]] = values.items() if isinstance(values, Mapping) else vars(values).items()
    return items


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if depth > _MAX_DEPTH:
        return str(value)
    if isinstance(value, Mapping) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        return {str(key): _plain(item, depth + 1) for key, item in _items(value)}
    return _plain_object(value, depth)


def _plain_object(value: Any, depth: int) -> Any:
    if isinstance(value, enum.Enum):
        return _plain(value.value, depth + 1)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else str(value)
    return _plain_several(value, depth)


def _plain_several(value: Any, depth: int) -> Any:
    if hasattr(value, "tolist"):  # of NumPy, torch and whatever is like them
        return _plain(value.tolist(), depth + 1)
    if hasattr(value, "__index__"):
        return int(value)
    if isinstance(value, set | frozenset):
        return sorted((_plain(item, depth + 1) for item in value), key=str)
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | memoryview):
        return [_plain(item, depth + 1) for item in value]
    return str(value)
