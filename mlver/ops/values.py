"""What people say of versions and runs, checked before it is recorded: metrics, metadata, settings, lists of texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlver.errors import UsageError
from mlver.names import check_text

MAX_METADATA_DEPTH = 64


def check_is_list(words: Sequence[str], what: str) -> None:
    """Refuse one text where a list of them is wanted: it would be taken for a list of letters.

    Raises:
        UsageError: `words` is a text.
    """
    if isinstance(words, str):
        raise UsageError(f"{what} must be a list of texts, not one text.", f"Write {what}=[{words!r}].")


def check_metrics(metrics: Mapping[str, float]) -> None:
    """Refuse metrics that cannot be compared or stored.

    Raises:
        UsageError: One is not a finite number, or its name is empty or not valid Unicode.
    """
    for key, value in metrics.items():
        if not key:
            raise UsageError("A metric has an empty name.")
        check_text("A metric's name", key)
        if type(value) not in (int, float) or not math.isfinite(value):
            raise UsageError(f"Metric {key!r} is {value!r}, which is not a finite number.")


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Refuse metadata that is not JSON.

    Raises:
        UsageError: A value cannot be written as JSON, is NaN or infinite, or nests too deep; or a key is no text.
    """
    from mlver.digests import canonical_json

    for key, value in metadata.items():
        if type(key) is not str or not key:
            raise UsageError(f"A metadata value has the name {key!r}, which is not a text.")
        try:
            canonical_json({key: value})
        except (ValueError, TypeError, RecursionError) as error:
            raise UsageError(f"Metadata {key!r} cannot be stored as JSON: {error}.") from error
        if _is_deeper(value, MAX_METADATA_DEPTH):
            raise UsageError(f"Metadata {key!r} nests deeper than {MAX_METADATA_DEPTH} levels.")


def _is_deeper(value: Any, levels: int) -> bool:
    """Tell whether lists and objects nest deeper than `levels`: every reader must be able to follow them."""
    if not isinstance(value, dict | list | tuple):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in inner)
