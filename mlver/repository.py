"""The Python API: everything that the command line does, for scripts, notebooks and training loops.

    import mlver

    repository = mlver.Repository.open()
    version = repository.add("model/", name="resnet50_attn", type="resnet50", metrics={"val_acc": 0.913}).version
    repository.alias("best")
    weight = repository.tensor("best", "layer4.2.conv3.weight")

Paths are `str` or `Path`; revisions are text, as on the command line. Errors are `mlver.MlverError` and its subclasses.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from mlver.config import check_compression
from mlver.history.manifest import Manifest, read_manifest
from mlver.history.records import ArtifactRecord, VersionRecord
from mlver.ops import artifacts, labels, removal, undo, version_files
from mlver.ops.add import AddRequest, AddResult, add
from mlver.ops.collect.durations import parse_duration
from mlver.ops.init import init_repository
from mlver.ops.opening import REPOSITORY_FOLDER, OpenRepository, find_repository, open_repository
from mlver.ops.progress import Progress
from mlver.ops.pull import PullResult, plan_pull, pull
from mlver.ops.pull_tensors import plan_tensors, pull_tensors
from mlver.ops.references.found import DEFAULT_MAX_FILES
from mlver.ops.remotes.check import verify_remote
from mlver.ops.remotes.clone import clone
from mlver.ops.remotes.configure import RemoteRecord, add_remote, list_remotes, remove_remote
from mlver.ops.remotes.fetch import FetchResult, fetch
from mlver.ops.remotes.push import PushResult, push
from mlver.ops.remotes.receiving import obtain_chunks, obtain_files, obtain_manifest
from mlver.ops.repack import RepackResult, repack
from mlver.ops.status import StatusResult, status
from mlver.ops.usage import UsageResult, usage
from mlver.ops.verify import References, VerifyResult, verify
from mlver.store.sqlite import CacheDamaged

if TYPE_CHECKING:
    import numpy as np

    from mlver.ops.compare import CompareResult
    from mlver.ops.diff.result import DiffResult
    from mlver.ops.retention.plan import GcPlan, GcResult

T = TypeVar("T")
AnyPath = str | os.PathLike[str]


class _Open:
    """`Repository.open(folder)` opens a repository, `repository.open(revision, path)` a file of a version."""

    @overload
    def __get__(self, instance: None, owner: type[Repository]) -> Callable[..., Repository]: ...

    @overload
    def __get__(self, instance: Repository, owner: type[Repository]) -> Callable[[str, str], io.BufferedReader]: ...

    def __get__(self, instance: Repository | None, owner: type[Repository]) -> Callable[..., Any]:
        if instance is None:
            return partial(_open_repository, owner)
        return partial(_open_file, instance)


class Repository:
    """A repository, opened. Use one from one thread at a time; any number of processes may have it open.

    Args:
        opened: What `open` and `init` make; do not make one yourself.
    """

    def __init__(self, opened: OpenRepository) -> None:
        self._opened = opened

    open = _Open()
    """On the class, `open(folder=".")`: open the repository a folder is in. On a repository, `open(revision, path)`:
    open one file of a version for reading in binary."""

    @classmethod
    def init(cls, folder: AnyPath = ".") -> Self:
        """Make a folder a repository, or open the one it is.

        Raises:
            MlverError: It cannot be made.
            NotARepositoryError: There is one of a layout that is not known.
        """
        return cls(open_repository(Path(init_repository(Path(folder)).path)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the repository's cache."""
        self._opened.close()

    @property
    def path(self) -> Path:
        """The `.mlver` folder."""
        return self._opened.root

    def add(
        self,
        *paths: AnyPath,
        name: str | None = None,
        type: str | None = None,  # noqa: A002 - the word of the command line and of every record
        message: str | None = None,
        aliases: Sequence[str] = (),
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        exclude: Sequence[str] = (),
        rehash: bool = False,
        base: str | None = None,
        compression: str | None = None,
        references: Sequence[str] = (),
        digest: bool = False,
        max_files: int = DEFAULT_MAX_FILES,
        reference_options: Mapping[str, str] | None = None,
        keep_if_best: str | None = None,
        progress: Progress | None = None,
    ) -> AddResult:
        """Make the content of files and folders, and references to objects, a version, unless there is one with it.

        See `mlver.ops.add.AddRequest` for the arguments.

        Raises:
            NotFoundError: A path or a referenced object does not exist.
            UsageError: A name, type, metric, metadata value, level or URI is not allowed.
            ConflictError: A file keeps changing while it is read.
            RemoteError: A server of references failed or refused.
            MlverError: A file cannot be read or kept, or the store cannot be written.
        """
        request = AddRequest(
            paths=[Path(path) for path in paths],
            name=name,
            type=type,
            message=message,
            aliases=aliases,
            tags=tags,
            metadata=metadata or {},
            metrics=metrics or {},
            exclude=exclude,
            rehash=rehash,
            base=base,
            compression=compression,
            references=references,
            digest=digest,
            max_files=max_files,
            reference_options=reference_options or {},
            keep_if_best=keep_if_best,
        )
        return self._run(lambda: add(self._opened, request, progress))

    def artifacts(self) -> list[ArtifactRecord]:
        """Return all artifacts, by name."""

        def list_all() -> list[ArtifactRecord]:
            self._opened.index.refresh()
            return self._opened.index.artifacts()

        return self._run(list_all)

    def log(self, name: str | None = None, limit: int | None = None, *, removed: bool = False) -> list[VersionRecord]:
        """Return an artifact's versions, newest first; None is the current artifact.

        Raises:
            NotFoundError: There is no such artifact.
        """
        return self._run(lambda: self._opened.index.versions(self._opened.artifact(name), limit, removed=removed))

    def resolve(self, revision: str) -> VersionRecord:
        """Return the version that a revision names.

        Raises:
            NotFoundError: There is none.
            UsageError: It is no revision.
        """
        return self._run(lambda: self._opened.resolve(revision).version)

    def manifest(self, revision: str) -> Manifest:
        """Return the files and tensors of a version.

        Raises:
            NotFoundError: There is no such version.
            IntegrityError: Its manifest is missing or damaged.
        """
        return self._run(lambda: read_manifest(self._opened.storage, self._opened.resolve(revision).version.id))

    def alias(self, alias: str, revision: str | None = None) -> VersionRecord:
        """Move an alias to a version, by default to the current artifact's latest, and return the version.

        Raises:
            UsageError: The alias is not allowed.
            NotFoundError: There is no such version.
        """
        return self._run(lambda: labels.set_alias(self._opened, alias, revision)[0])

    def delete_alias(self, alias: str) -> None:
        """Delete an alias, given as `best` or `NAME:best`.

        Raises:
            NotFoundError: There is no such alias.
        """
        self._run(lambda: labels.delete_alias(self._opened, alias))

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
        metrics: Mapping[str, float] | None = None,
        remove: Sequence[str] = (),
    ) -> VersionRecord:
        """Set metadata and metrics of a version, and take keys away.

        Raises:
            UsageError: A value is not allowed.
            NotFoundError: There is no such version, or no such key to remove.
        """
        return self._run(lambda: labels.change_values(self._opened, revision, metadata, metrics, remove))

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

    def undo(self, name: str | None = None, entry_id: str | None = None) -> undo.ReflogEntry:
        """Take back the newest event of an artifact, or the one named, and return it.

        Raises:
            NotFoundError: There is no such artifact or event.
            ConflictError: What it did was changed since.
        """
        return self._run(lambda: undo.undo(self._opened, name, entry_id))

    def pull(
        self,
        revision: str,
        folder: AnyPath | None = None,
        paths: Sequence[str] = (),
        *,
        force: bool = False,
        references: bool = True,
        progress: Progress | None = None,
    ) -> PullResult:
        """Write the files of a version into a folder, by default one of the artifact's name.

        What is missing here comes from a remote, and references from where they are.

        Args:
            revision: Which version.
            folder: Where to.
            paths: Only files that match one of these patterns, in gitignore syntax.
            force: Overwrite files that differ.
            references: Download references too.
            progress: Told of the bytes written.

        Raises:
            NotFoundError: There is no such version, or no file matches.
            ConflictError: Files would be overwritten, and `force` is not given.
            IntegrityError: Something is damaged, or a reference is not what it was; the folder is as it was.
            RemoteError: A remote, or a server of references, failed or refused.
            MlverError: The folder cannot be written.
        """
        target = None if folder is None else Path(folder)

        def work() -> PullResult:
            has_remotes = bool(self._opened.config.remotes)
            if has_remotes:
                obtain_manifest(self._opened, self._opened.resolve(revision).version.id)
            plan = plan_pull(self._opened, revision, target, paths, references=references)
            if has_remotes and (force or not plan.overwritten_paths):
                obtain_files(self._opened, plan, progress)
            return pull(self._opened, plan, force, progress)

        return self._run(work)

    def pull_tensors(
        self,
        revision: str,
        globs: Sequence[str],
        folder: AnyPath | None = None,
        *,
        force: bool = False,
        progress: Progress | None = None,
    ) -> PullResult:
        """Write the tensors whose names match into a folder, as one file `tensors.safetensors`.

        Only the chunks that they are in are read, and come from a remote where they are missing here.

        Args:
            revision: Which version.
            globs: Patterns of tensors' names.
            folder: Where to; by default a folder of the artifact's name.
            force: Overwrite a file of that name.
            progress: Told of the bytes written.

        Raises:
            NotFoundError: There is no such version, or no tensor matches one of the patterns.
            ConflictError: The file is there, and `force` is not given.
            IntegrityError: Something is damaged; nothing was written.
            RemoteError: A remote failed.
            MlverError: A tensor cannot be in such a file, or the folder cannot be written.
        """
        target = None if folder is None else Path(folder)

        def work() -> PullResult:
            plan = plan_tensors(self._opened, revision, globs, target)
            if self._opened.config.remotes and (force or not plan.overwrites):
                self._opened.refresh_packs()
                obtain_chunks(self._opened, plan.version.id, plan.chunks, progress)
            return pull_tensors(self._opened, plan, force, progress)

        return self._run(work)

    def tensor(self, revision: str, name: str) -> np.ndarray[Any, Any]:
        """Return one tensor, reading only its chunks; see `mlver.ops.version_files.read_tensor`.

        Raises:
            NotFoundError: There is no such version or tensor.
            IntegrityError: A chunk is missing or damaged.
        """
        return self._run(lambda: version_files.read_tensor(self._opened, revision, name))

    def diff(
        self,
        first: str,
        second: str | None = None,
        *,
        tensors: Sequence[str] = (),
        names_only: bool = False,
        ranks: bool = False,
        key: Sequence[str] = (),
        label: str | None = None,
        prediction: str | None = None,
        progress: Progress | None = None,
    ) -> DiffResult:
        """Compare two versions, or a version and a folder on disk: what came, went and changed, and how much.

        Args:
            first: A version, a range `A..B`, or a path with a slash.
            second: A version or a path; without it `first` is compared with the version before it.
            tensors: Only tensors whose names match one of these patterns.
            names_only: Compare digests only: no weights are read.
            ranks: Find in how many directions each matrix changed.
            key: Columns to match the rows of tables by; none means to guess.
            label: The column of tables that says what is right; None means to guess.
            prediction: The column of tables that was predicted; None means to guess.
            progress: Told of the bytes read.

        Raises:
            NotFoundError: There is no such version, or none before it; no tensor matches, or no table has the columns
                named; or something is neither here nor at a remote.
            UsageError: It is no revision.
            RemoteError: A remote failed that has what is not here.
            IntegrityError: Something that was read is damaged.
            ConflictError: A file on disk changes while it is read.
            MlverError: A file on disk cannot be read.
        """
        from mlver.differences.rows.change import Wanted
        from mlver.ops.diff.diff import diff

        return self._run(
            lambda: diff(
                self._opened,
                first,
                second,
                tensor_globs=tensors,
                names_only=names_only,
                with_ranks=ranks,
                rows=Wanted(tuple(key), label, prediction),
                progress=progress,
            )
        )

    def compare(self, *revisions: str, sort: str | None = None, reverse: bool = False) -> CompareResult:
        """Put metrics, configuration and sizes of versions side by side; see `mlver.ops.compare.compare`.

        Raises:
            NotFoundError: There is no such version, or none of them has the metric to sort by.
            UsageError: There are fewer than two.
            IntegrityError: A manifest or a configuration file is damaged.
        """
        from mlver.ops.compare import compare

        return self._run(lambda: compare(self._opened, revisions, sort=sort, reverse=reverse))

    def status(self, folder: AnyPath = ".") -> StatusResult:
        """Compare a folder with the version it came from.

        Raises:
            NotFoundError: It does not exist, or nothing is known of where it came from.
        """
        return self._run(lambda: status(self._opened, Path(folder)))

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

    def remotes(self) -> list[RemoteRecord]:
        """Return all remotes, by name."""
        return list_remotes(self._opened)

    def add_remote(self, name: str, url: str, **options: str) -> RemoteRecord:
        """Make a place a remote, after trying out what it promises; see `mlver.store.remote.address` for the options.

        Raises:
            UsageError: The name or the URL is not allowed.
            ConflictError: There is a remote of this name elsewhere.
            RemoteError: It cannot be reached, or holds something else.
        """
        return add_remote(self._opened, name, url, {key.replace("_", "-"): value for key, value in options.items()})

    def remove_remote(self, name: str) -> None:
        """Forget a remote; nothing there changes.

        Raises:
            NotFoundError: There is none of this name.
        """
        remove_remote(self._opened, name)

    def push(
        self,
        *revisions: str,
        remote: str | None = None,
        force: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> PushResult:
        """Send what a remote does not have yet; see `mlver.ops.remotes.push.push`.

        Raises:
            NotFoundError: There is no such remote or version.
            ConflictError: Someone else moved an alias that was moved here too; nothing was sent.
            RemoteError: The remote failed; the next push goes on.
        """
        return self._run(lambda: push(self._opened, revisions, remote, force, dry_run, progress))

    def verify_remote(self, remote: str | None = None, progress: Progress | None = None) -> VerifyResult:
        """Read all that a remote has and report what is damaged; the next push mends what is sound here.

        Raises:
            NotFoundError: There is no such remote.
            RemoteError: It cannot be reached or listed.
        """
        return self._run(lambda: verify_remote(self._opened, remote, progress))

    def fetch(self, remote: str | None = None, *, dry_run: bool = False) -> FetchResult:
        """Learn what is new at a remote.

        Raises:
            NotFoundError: There is no such remote.
            RemoteError: It cannot be reached, or is none.
            IntegrityError: An event there is damaged or missing.
        """
        return self._run(lambda: fetch(self._opened, remote, dry_run))

    @classmethod
    def clone(cls, url: str, folder: AnyPath | None = None, **options: str) -> Self:
        """Make a repository that knows what a remote has.

        Raises:
            UsageError: The URL is not allowed.
            ConflictError: There is a repository already.
            RemoteError: The remote cannot be reached, or is none; nothing is left here.
        """
        settings = {key.replace("_", "-"): value for key, value in options.items()}
        made = clone(url, None if folder is None else Path(folder), settings)
        return cls(open_repository(Path(made.path) / REPOSITORY_FOLDER))

    def usage(self, name: str | None = None) -> UsageResult:
        """Count the bytes of one artifact, or of all.

        Raises:
            NotFoundError: There is no such artifact.
        """
        return self._run(lambda: usage(self._opened, name))

    def _run(self, operation: Callable[[], T]) -> T:
        """Run an operation, and once more on a new cache if the cache turns out to be damaged."""
        try:
            return operation()
        except CacheDamaged as damage:
            self._opened.reopen(damage)
            return operation()


def _open_repository(kind: type[Repository], folder: AnyPath = ".") -> Repository:
    """Open the repository that a folder is in.

    Raises:
        NotARepositoryError: It is in none, or in one of a layout that is not known.
    """
    return kind(open_repository(find_repository(Path(folder))))


def _open_file(repository: Repository, revision: str, path: str) -> io.BufferedReader:
    """Open one file of a version for reading; only the chunks read are fetched.

    Raises:
        NotFoundError: There is no such version or file.
        IntegrityError: It is damaged.
    """
    return repository._run(lambda: version_files.open_file(repository._opened, revision, path))
