"""Values on part of a line, for every view of a diff or a comparison."""

from __future__ import annotations

import json
from typing import Any

from mlver.cli.text import count, number, width

_VALUE = 60


def value_text(value: Any) -> str:
    """Return a value on part of a line; long lists and tables as their size."""
    if isinstance(value, list | dict) and len(json.dumps(value, ensure_ascii=False)) > _VALUE:
        return count(len(value), "item")
    return shorten(number(value), _VALUE)


def shorten(text: str, wide: int) -> str:
    """Return text of at most so many columns; of a long one the middle is left out."""
    if width(text) <= wide:
        return text
    kept = max(1, wide - 1)
    return f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"
