"""Which references came, went and changed: what was recorded of them is compared, and nobody is asked."""

from __future__ import annotations

from collections.abc import Iterable

from mlver.history.reference import ReferenceEntry
from mlver.ops.diff.result import ReferenceChange


def compare_references(
    before: Iterable[ReferenceEntry], after: Iterable[ReferenceEntry]
) -> tuple[ReferenceChange, ...]:
    """Return the references that are not the same on both sides, by path."""
    old = {reference.path: reference for reference in before}
    new = {reference.path: reference for reference in after}
    paths = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    return tuple(ReferenceChange(path, old.get(path), new.get(path)) for path in paths)
