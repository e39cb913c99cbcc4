"""Views of versions and events that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlver.cli.text import age, count, number, size

if TYPE_CHECKING:
    from mlver.history.records import VersionRecord
    from mlver.ops.undo import ReflogEntry


def age_of(version: VersionRecord) -> str:
    """Return how long ago a version was made, in words."""
    return age_since(version.created_at)


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """Return metrics on one line."""
    return " ".join(f"{key}={number(value)}" for key, value in sorted(metrics.items()))


def references_text(version: VersionRecord) -> str:
    """Return how much of a version stays where it is; nothing if nothing does."""
    if not version.reference_count:
        return ""
    return f"{count(version.reference_count, 'reference')} to {size(version.reference_bytes)}"


def age_since(at: str) -> str:
    """Return how long ago a time was that is written as ISO 8601, in words."""
    return age((datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds())


def what_happened(entry: ReflogEntry) -> str:
    """Return an event's actions on one line."""
    what = "; ".join(entry.what)
    return what if entry.event.undoes is None else f"undo of {entry.event.undoes}: {what}"


def entry_document(entry: ReflogEntry) -> dict[str, Any]:
    """Return one event."""
    return {
        "id": entry.id,
        "artifact": entry.artifact,
        "at": entry.event.at,
        "by": entry.event.by,
        "what": entry.what,
        "undoes": entry.event.undoes,
        "undone": entry.undone,
    }
