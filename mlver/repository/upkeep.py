"""Checking what is stored, making it smaller, deleting what nobody keeps: a part of the Python API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlver.config import check_compression
from mlver.ops.collect.durations import parse_duration
from mlver.ops.progress import Progress
from mlver.ops.repack import RepackResult, repack
from mlver.ops.usage import UsageResult, usage
from mlver.ops.verify import References, VerifyResult, verify
from mlver.repository.opened import AnyPath, Opened

if TYPE_CHECKING:
    from mlver.ops.collect.collect import CollectResult
    from mlver.ops.repair.repair import RepairResult
    from mlver.ops.retention.plan import GcPlan, GcResult


class Upkeep(Opened):
    """Checking what is stored, making it smaller, deleting what nobody keeps."""

    def verify(
        self, revision: str | None = None, progress: Progress | None = None, *, references: References = "ask"
    ) -> VerifyResult:
        """Read one version, or everything, from the store, and report what is damaged.

        Args:
            revision: Which version.
            progress: Told of the bytes read.
            references: `ask` their servers if they are what they were, `read` them, or `skip` them.

        Raises:
            NotFoundError: There is no such version.
        """
        return self._run(lambda: verify(self._opened, revision, progress, references=references))

    def repair(
        self, *folders: AnyPath, progress: Progress | None = None, references: References = "skip"
    ) -> RepairResult:
        """Mend what is damaged, from the remotes and from folders that hold files which were added.

        Args:
            folders: Where good copies may be.
            progress: Told of the bytes read.
            references: What to do with references when all is looked at again; see `verify`.

        Raises:
            MlverError: Something here cannot be listed, read or written; nothing was lost.
        """
        from mlver.ops.repair.repair import repair

        places = [Path(folder) for folder in folders]
        return self._run(lambda: repair(self._opened, places, progress, references=references))

    def repack(self, level: str = "max", progress: Progress | None = None) -> RepackResult:
        """Write all packs anew, each chunk against what it resembles most; no version changes.

        Args:
            level: `fast`, `balanced` or `max`.
            progress: Told of the bytes written anew.

        Raises:
            UsageError: There is no such level.
            MlverError: The disk is full, or failed; nothing was lost.
        """
        return self._run(lambda: repack(self._opened, check_compression(level), progress))

    def gc(self, grace: str = "2w", progress: Progress | None = None, *, dry_run: bool = False) -> GcResult:
        """Mark removed what no policy keeps, and delete what was removed longer ago than the grace period.

        Args:
            grace: How long removed versions can be restored, such as `14d`; `0` deletes at once.
            progress: Told of the bytes written anew.
            dry_run: Only say what would be done.

        Raises:
            UsageError: `grace` is no duration.
            IntegrityError: Something is damaged or missing, so that nobody can tell what is used; nothing was deleted.
            MlverError: Something cannot be listed, read or written.
        """
        from mlver.ops.retention.plan import gc

        return self._run(lambda: gc(self._opened, parse_duration(grace), progress, dry_run=dry_run))

    def gc_remote(
        self,
        remote: str | None = None,
        grace: str = "2w",
        progress: Progress | None = None,
        *,
        dry_run: bool = False,
    ) -> CollectResult:
        """Delete from a remote what no version there uses; see `gc`.

        Args:
            remote: Its name.
            grace: How long what is not used stays; `0` is for someone who works there alone.
            progress: Told of the bytes written anew.
            dry_run: Only say what would be done.

        Raises:
            NotFoundError: There is no such remote.
            UsageError: `grace` is no duration.
            IntegrityError: Something there is damaged or missing, so that nobody can tell what is used.
            RemoteError: It cannot be reached, listed or written.
        """
        from mlver.ops.remotes.collect.collect import collect_remote

        seconds = parse_duration(grace)
        return self._run(lambda: collect_remote(self._opened, remote, seconds, progress, dry_run=dry_run))

    def plan_gc(self, grace: str = "2w") -> GcPlan:
        """Say what `gc` would do, version by version; see `mlver.ops.retention.plan.make_plan`.

        Raises:
            UsageError: `grace` is no duration.
            IntegrityError: Something is damaged or missing, so that nobody can tell what is used.
        """
        from mlver.ops.retention.plan import make_plan

        return self._run(lambda: make_plan(self._opened, parse_duration(grace)))

    def apply_gc(self, plan: GcPlan, progress: Progress | None = None) -> GcResult:
        """Do exactly what a plan says.

        Raises:
            ConflictError: Something happened since it was made; nothing was done.
        """
        from mlver.ops.retention.plan import apply_plan

        return self._run(lambda: apply_plan(self._opened, plan, progress))

    def retain(
        self, rules: Mapping[str, Any] | None, *, artifact: str | None = None, artifact_type: str | None = None
    ) -> None:
        """Say which versions `gc` keeps: of one artifact, of all of a type, or (neither) of all.

        Args:
            rules: As in `config.toml`, such as `{"last": 5, "best": ["3 val_acc"]}`; None takes them away.
            artifact: Which artifact.
            artifact_type: Which type.

        Raises:
            NotFoundError: There is no such artifact.
            UsageError: A rule is malformed.
        """
        from mlver.ops.retention.settings import Scope, set_policy

        self._run(lambda: set_policy(self._opened, Scope(artifact, artifact_type), rules))

    def usage(self, name: str | None = None) -> UsageResult:
        """Count the bytes of one artifact, or of all.

        Raises:
            NotFoundError: There is no such artifact.
        """
        return self._run(lambda: usage(self._opened, name))
