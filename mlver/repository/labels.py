"""Names, notes and numbers of versions; taking things back: a part of the Python API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat

from mlver.history.records import ArtifactRecord, VersionRecord
from mlver.ops import artifacts, labels, moving, removal, undo
from mlver.repository.opened import Opened
from mlver.repository.plain import plain_metrics


class Labels(Opened):
    """Names, notes and numbers of versions; taking things back."""

    def alias(self, alias: str, revision: str | None = None, *, force: bool = False) -> VersionRecord:
        """Move an alias to a version, by default to the current artifact's latest, and return the version.

        Raises:
            UsageError: The alias is not allowed.
            NotFoundError: There is no such version.
            MlverError: The alias follows a metric by itself, or is protected and `force` is not given.
        """
        return self._run(lambda: labels.set_alias(self._opened, alias, revision, force)[0])

    def delete_alias(self, alias: str, *, force: bool = False) -> None:
        """Delete an alias, given as `best` or `NAME:best`.

        Raises:
            NotFoundError: There is no such alias.
            MlverError: It is protected, and `force` is not given.
        """
        self._run(lambda: labels.delete_alias(self._opened, alias, force))

    def track(self, alias: str, rule: str | None) -> str | None:
        """Let an alias (`best` or `NAME:best`) follow a metric, such as `max(val_acc)`; None lets it stay where it is.

        Returns:
            The name of the version that it names now, if any has the metric.

        Raises:
            UsageError: The rule or the alias is not allowed.
            NotFoundError: There is no such artifact, or nothing that the alias follows.
            MlverError: The alias is protected.
        """
        if rule is None:
            return self._run(lambda: moving.untrack_alias(self._opened, alias)[1])
        return self._run(lambda: moving.track_alias(self._opened, alias, rule)[1])

    def protect(self, alias: str, protected: bool = True) -> None:
        """Let an alias (`best` or `NAME:best`) be moved with `force` only, or by everybody again.

        Raises:
            NotFoundError: There is no such alias.
            UsageError: It follows a metric by itself.
        """
        self._run(lambda: moving.protect_alias(self._opened, alias, protected))

    def tag(self, revision: str, *tags: str, remove: Sequence[str] = ()) -> VersionRecord:
        """Put tags on a version and take others off.

        Raises:
            UsageError: A tag is not allowed.
            NotFoundError: There is no such version, or no such tag to remove.
        """
        return self._run(lambda: labels.change_tags(self._opened, revision, tags, remove))

    def note(self, revision: str, note: str | None) -> VersionRecord:
        """Replace a version's note; None takes it away.

        Raises:
            NotFoundError: There is no such version.
        """
        return self._run(lambda: labels.set_note(self._opened, revision, note))

    def meta(
        self,
        revision: str,
        metadata: Mapping[str, Any] | None = None,
        metrics: Mapping[str, SupportsFloat] | None = None,
        remove: Sequence[str] = (),
    ) -> VersionRecord:
        """Set metadata and metrics of a version, and take keys away.

        Raises:
            UsageError: A value is not allowed.
            NotFoundError: There is no such version, or no such key to remove.
        """
        figures = plain_metrics(metrics or {})
        return self._run(lambda: labels.change_values(self._opened, revision, metadata, figures, remove))

    def switch(self, name: str) -> ArtifactRecord:
        """Make an artifact the current one.

        Raises:
            NotFoundError: There is no such artifact.
        """
        return self._run(lambda: artifacts.switch(self._opened, name))

    def rename(self, old: str, new: str) -> ArtifactRecord:
        """Give an artifact another name; the old one still finds it.

        Raises:
            NotFoundError: There is no artifact `old`.
            UsageError: `new` is not allowed, or taken.
        """
        return self._run(lambda: artifacts.rename(self._opened, old, new))

    def remove(self, *revisions: str, force: bool = False) -> removal.RemoveResult:
        """Mark versions removed. With `force`, aliases on them go too.

        Raises:
            NotFoundError: There is no such version.
            MlverError: A version bears an alias.
        """
        return self._run(lambda: removal.remove(self._opened, revisions, force))

    def restore(self, revision: str) -> VersionRecord:
        """Bring a removed version back.

        Raises:
            NotFoundError: There is no such version, or it is not removed.
        """
        return self._run(lambda: removal.restore(self._opened, [revision])[0])

    def reflog(self, name: str | None = None, limit: int | None = None) -> list[undo.ReflogEntry]:
        """Return what happened to an artifact, newest first; None is the current artifact.

        Raises:
            NotFoundError: There is no such artifact.
        """
        return self._run(lambda: undo.reflog(self._opened, name, limit))

    def undo(self, name: str | None = None, entry_id: str | None = None, *, force: bool = False) -> undo.ReflogEntry:
        """Take back the newest event of an artifact, or the one named, and return it.

        Raises:
            NotFoundError: There is no such artifact or event.
            ConflictError: What it did was changed since.
            MlverError: It would move a protected alias, and `force` is not given.
        """
        return self._run(lambda: undo.undo(self._opened, name, entry_id, force))
