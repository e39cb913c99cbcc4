"""What was found of references, before it is recorded; by itself, so that an `add` without any imports no more."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlver.history.reference import ReferenceEntry

DEFAULT_MAX_FILES = 10_000
"""Objects below the prefixes of one `add`, unless a person allows more."""


@dataclass(slots=True)
class FoundReferences:
    """What was found.

    Attributes:
        entries: By path.
        learned: Digests of contents that are recorded without them.
        warnings: What a person should know, such as a query that was taken off.
    """

    entries: list[ReferenceEntry] = field(default_factory=list)
    learned: dict[ReferenceEntry, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
