"""Pulling one version whole into a new folder, from wherever it is: for verbs that need the files on the way."""

from __future__ import annotations

from pathlib import Path

from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress, Silent
from mlver.ops.pull import PullResult, plan_pull, pull


def pull_whole(
    repository: OpenRepository, revision: str, folder: Path, progress: Progress | None = None, *, force: bool = False
) -> PullResult:
    """Write the files of a version into a folder, with its references; what is missing here comes from a remote.

    Raises:
        NotFoundError: There is no such version.
        ConflictError: Files would be overwritten, and `force` is not given.
        IntegrityError: Something is damaged.
        RemoteError: A remote failed.
        MlverError: The folder cannot be written.
    """
    if not repository.config.remotes:
        return pull(repository, plan_pull(repository, revision, folder), force, progress)
    from mlver.ops.remotes.receiving import obtain_files, obtain_manifest

    obtain_manifest(repository, repository.resolve(revision).version.id)
    plan = plan_pull(repository, revision, folder)
    obtain_files(repository, plan, progress or Silent())
    return pull(repository, plan, force, progress)
