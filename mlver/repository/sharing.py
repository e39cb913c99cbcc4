"""Remotes, and what goes to them and comes from them: a part of the Python API."""

from __future__ import annotations

from mlver.ops.progress import Progress
from mlver.ops.remotes.check import verify_remote
from mlver.ops.remotes.configure import RemoteRecord, add_remote, list_remotes, remove_remote
from mlver.ops.remotes.fetch import FetchResult, fetch
from mlver.ops.remotes.push import PushResult, push
from mlver.ops.verify import VerifyResult
from mlver.repository.opened import Opened


class Sharing(Opened):
    """Remotes, and what goes to them and comes from them."""

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
