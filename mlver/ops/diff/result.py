"""What `diff` returns: one value that serves the screen, JSON, Markdown and the gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from mlver.differences.element_kinds import Kind, kind_of
from mlver.differences.figures import Figures
from mlver.differences.rank import Rank
from mlver.differences.rows.change import TableChange
from mlver.differences.texts import TextChange
from mlver.differences.values import ValueChange
from mlver.history.manifest import FileEntry, TensorEntry
from mlver.history.records import VersionRecord
from mlver.history.reference import ReferenceEntry


class SideName(NamedTuple):
    """One of the two things that were compared.

    Attributes:
        name: What a person calls it: `net:v4`, or a folder as it was given.
        version: The version, if it is one.
        path: The folder or file on disk, absolute, if it is one.
    """

    name: str
    version: VersionRecord | None
    path: str | None


class MetricChange(NamedTuple):
    """A metric that is not what it was.

    Attributes:
        name: The metric.
        before: What it was; None if it was not known.
        after: What it is; None if it is not known.
        is_better: Whether that is good, as far as the name tells.
    """

    name: str
    before: float | None
    after: float | None
    is_better: bool | None

    @property
    def change(self) -> float | None:
        """The difference; None unless both are known."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def relative_change(self) -> float | None:
        """The difference as a share of what it was; None where that is unknown or zero."""
        return self.change / abs(self.before) if self.change is not None and self.before else None


class RenamedFile(NamedTuple):
    """A file with the same bytes at another path."""

    before: str
    after: str


class ModifiedFile(NamedTuple):
    """A file that is not what it was.

    Attributes:
        before: Its entry before.
        after: Its entry after: with the same path, or it is the only table on either side that has no partner.
        content: What differs in it, if it is text and was looked into.
        table: What differs in its rows, if it holds a table and was looked into.
        problem: Why its rows could not be compared, if it should hold some.
    """

    before: FileEntry
    after: FileEntry
    content: TextChange | None = None
    table: TableChange | None = None
    problem: str | None = None


class ReferenceChange(NamedTuple):
    """A reference that came, went, or is not what it was.

    Attributes:
        path: Where it is in the version.
        before: What it was; None if it is new.
        after: What it is; None if it is gone.
    """

    path: str
    before: ReferenceEntry | None
    after: ReferenceEntry | None

    @property
    def kind(self) -> Literal["added", "removed", "changed"]:
        """What happened to it."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"

    @property
    def has_same_content(self) -> bool | None:
        """Whether its content is the same, elsewhere or marked otherwise; None where nobody can tell."""
        if self.before is None or self.after is None:
            return None
        if self.before.size_bytes != self.after.size_bytes:
            return False
        if self.before.digest is not None and self.after.digest is not None:
            return self.before.digest == self.after.digest
        if self.before.uri != self.after.uri or self.before.etag is None or self.after.etag is None:
            return None
        return self.before.etag == self.after.etag


@dataclass(frozen=True, slots=True)
class FileChanges:
    """Files, by path. Empty folders have a `/` at the end.

    Attributes:
        added: Paths that are new.
        removed: Paths that are gone.
        renamed: Files with the same bytes at another path.
        modified: Files with other bytes, or another permission to execute.
        unchanged_count: Files that are the same.
        references: References that came, went or changed.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    renamed: tuple[RenamedFile, ...]
    modified: tuple[ModifiedFile, ...]
    unchanged_count: int
    references: tuple[ReferenceChange, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        return not (self.added or self.removed or self.renamed or self.modified or self.references)


class TensorPair(NamedTuple):
    """A tensor that both sides have.

    Attributes:
        name: What it is called after.
        from_name: What it was called.
        before: The tensor that was.
        after: The tensor that is.
        figures: How much it changed, if that was measured.
        rank: In how many directions a matrix changed, if that was asked for; see `mlver.differences.rank`.
        unmeasured: Why it could not be measured.
    """

    name: str
    from_name: str
    before: TensorEntry
    after: TensorEntry
    figures: Figures | None = None
    rank: Rank | None = None
    unmeasured: str | None = None

    @property
    def is_changed(self) -> bool:
        """Whether it is another tensor, whatever its name."""
        return self.before.digest != self.after.digest

    @property
    def is_renamed(self) -> bool:
        """Whether its name changed."""
        return self.name != self.from_name

    @property
    def is_reshaped(self) -> bool:
        """Whether its shape changed."""
        return self.before.shape != self.after.shape

    @property
    def is_recast(self) -> bool:
        """Whether its element type changed."""
        return self.before.dtype != self.after.dtype

    @property
    def kind(self) -> Kind:
        """Which measures say something about it."""
        kinds = {kind_of(self.before.dtype), kind_of(self.after.dtype)}
        return kinds.pop() if len(kinds) == 1 else Kind.BYTES if Kind.BYTES in kinds else Kind.FLOAT

    @property
    def relative_change(self) -> float | None:
        """‖Δ‖ / ‖from‖, where that means something."""
        return self.figures.relative_change if self.figures is not None and self.kind is not Kind.BYTES else None

    @property
    def max_abs(self) -> float | None:
        """Largest absolute change of an element, where that means something."""
        return self.figures.max_abs if self.figures is not None and self.kind is not Kind.BYTES else None

    @property
    def cosine(self) -> float | None:
        """Cosine of the angle between both, where that means something."""
        return self.figures.cosine if self.figures is not None and self.kind is not Kind.BYTES else None

    @property
    def changed_fraction(self) -> float | None:
        """Share of the elements (or bytes) that changed."""
        return self.figures.changed_fraction if self.figures is not None else None


@dataclass(frozen=True, slots=True)
class TensorChanges:
    """Tensors, in natural order of their names.

    Attributes:
        added: Tensors that are new, by name.
        removed: Tensors that are gone, by name.
        changed: Tensors on both sides that are not the same.
        moved: Tensors that are the same under another name.
        unchanged: Names of tensors that are the same.
    """

    added: dict[str, TensorEntry]
    removed: dict[str, TensorEntry]
    changed: tuple[TensorPair, ...]
    moved: tuple[TensorPair, ...]
    unchanged: tuple[str, ...]

    @property
    def renamed(self) -> tuple[TensorPair, ...]:
        """Tensors with another name, changed or not."""
        return (*self.moved, *(pair for pair in self.changed if pair.is_renamed))

    @property
    def broken(self) -> tuple[TensorPair, ...]:
        """Tensors in which NaN or infinities appeared."""
        return tuple(pair for pair in self.changed if pair.figures is not None and pair.figures.appeared)

    @property
    def total(self) -> int:
        """Tensors there are after."""
        return len(self.added) + len(self.changed) + len(self.moved) + len(self.unchanged)

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        return not (self.added or self.removed or self.changed or self.moved)


@dataclass(frozen=True, slots=True)
class DiffResult:
    """Everything that differs between two states.

    Attributes:
        before: What was compared.
        after: What it was compared with.
        identical: Files, folders and permissions are all the same.
        identical_weights: The weights are the same, whatever the files; None if neither side has any.
        summary: What happened, in a line that a person can repeat.
        metrics: Metrics that changed, by name.
        metadata: Metadata that changed, by key.
        provenance: What is recorded of where they came from, and differs.
        files: Files that changed.
        tensors: Tensors that changed.
        is_measured: Whether it was looked into files and weights; else only names and digests were compared.
    """

    before: SideName
    after: SideName
    identical: bool
    identical_weights: bool | None
    summary: str
    metrics: tuple[MetricChange, ...]
    metadata: tuple[ValueChange, ...]
    provenance: tuple[ValueChange, ...]
    files: FileChanges
    tensors: TensorChanges
    is_measured: bool

    @property
    def is_same(self) -> bool:
        """Whether nothing differs, but for where they came from."""
        return self.identical and not self.metrics and not self.metadata
