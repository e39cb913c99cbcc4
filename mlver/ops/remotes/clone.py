"""`clone`: a new repository that knows everything a remote knows, and has none of its weights yet.

It is made beside its place and gets its name when it is whole: whoever is killed gives the same command again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mlver.errors import ConflictError, MlverError, UsageError
from mlver.ops.init import init_repository
from mlver.ops.opening import FORMAT_NAME, REPOSITORY_FOLDER, open_repository
from mlver.ops.placing import replace_empty, staging_folder
from mlver.ops.remotes.configure import use_remote
from mlver.ops.remotes.fetch import FetchResult, fetch
from mlver.ops.remotes.opening import DEFAULT_REMOTE


@dataclass(frozen=True, slots=True)
class CloneResult:
    """What `clone` made.

    Attributes:
        path: The new repository's folder.
        fetched: What came.
    """

    path: str
    fetched: FetchResult


def clone(url: str, folder: Path | None = None, options: Mapping[str, str] | None = None) -> CloneResult:
    """Make a repository with a remote `origin`, and fetch from it.

    Args:
        url: Where the remote is.
        folder: Where to; by default a folder of the remote's last name, here.
        options: Of the remote, such as `endpoint`.

    Raises:
        UsageError: The URL is not allowed.
        ConflictError: There is a repository already.
        RemoteError: The remote cannot be reached, or is none; nothing is left here.
        MlverError: There is something else in the repository's place, or the folder cannot be written.
    """
    place = (folder or Path(_last_name(url))).absolute()
    root = place / REPOSITORY_FOLDER
    if (root / FORMAT_NAME).exists():
        raise ConflictError(f"{place} is a repository already.", "Use it: mlver remote add origin URL, mlver fetch")
    if root.exists():
        raise MlverError(f"{root} is there, and it is no repository.", "Move it away, or make it one: mlver init")
    was_there = place.exists()
    try:
        with staging_folder(root, beside=True) as staging:
            fetched = _fetched(staging, url, options)
            replace_empty(staging / REPOSITORY_FOLDER, root)
    except BaseException:
        if not was_there:
            with suppress(OSError):
                place.rmdir()
        raise
    return CloneResult(str(place), fetched)


def _fetched(folder: Path, url: str, options: Mapping[str, str] | None) -> FetchResult:
    """Make a repository in a folder that knows what the remote knows; return what came."""
    repository = open_repository(Path(init_repository(folder).path))
    try:
        use_remote(repository, DEFAULT_REMOTE, url, options)
        fetched = fetch(repository)
        artifacts = repository.index.artifacts()
        if artifacts:
            repository.set_current(artifacts[0].name)
        return fetched
    finally:
        repository.close()


def _last_name(url: str) -> str:
    parts = [part for part in (urlsplit(url).path if "://" in url else url).split("/") if part not in ("", ".", "..")]
    host = urlsplit(url).hostname if "://" in url else None
    name = parts[-1] if parts else host
    if not name:
        raise UsageError(f"{url!r} has no name to call the new folder.", "Name one: mlver clone URL DIR")
    return name
