"""What `reproduce` asks of git, and has it do: no hooks, no prompts, and nothing of what others wrote as an option."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlver.errors import MlverError

_QUIET = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "advice.detachedHead=false")


@dataclass(frozen=True, slots=True)
class Git:
    """git in one folder.

    Attributes:
        folder: Where.
        environment: Its variables.
    """

    folder: Path
    environment: Mapping[str, str]

    def root(self) -> Path | None:
        """Return the top of the working tree that the folder is in, if it is in one and git is there."""
        done = self._run("rev-parse", "--show-toplevel")
        return Path(os.fsdecode(done.stdout).rstrip("\n")) if done is not None and done.returncode == 0 else None

    def has_commit(self, commit: str) -> bool:
        """Tell whether a commit is here."""
        done = self._run("cat-file", "-e", f"{commit}^{{commit}}")
        return done is not None and done.returncode == 0

    def add_worktree(self, folder: Path, commit: str) -> None:
        """Check a commit out into a new folder.

        Raises:
            MlverError: git refuses.
        """
        self._must("worktree", "add", "--detach", "--quiet", str(folder), commit)

    def remove_worktree(self, folder: Path) -> None:
        """Take a worktree away, with all that is in it."""
        self._run("worktree", "remove", "--force", "--force", str(folder))

    def apply(self, patch: bytes) -> None:
        """Apply a patch to the working tree in the folder; it can touch nothing outside of it.

        Raises:
            MlverError: It does not fit.
        """
        self._must("apply", "--binary", "--whitespace=nowarn", "-", told=patch)

    def _must(self, *arguments: str, told: bytes = b"") -> None:
        done = self._run(*arguments, told=told)
        if done is None:
            raise MlverError("git is not installed.", "Install it, or do without --worktree.")
        if done.returncode != 0:
            said = os.fsdecode(done.stderr).strip().splitlines()
            raise MlverError(f"git {arguments[0]} failed: {said[-1] if said else done.returncode}.")

    def _run(self, *arguments: str, told: bytes = b"") -> subprocess.CompletedProcess[bytes] | None:
        variables = {**self.environment, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        try:
            return subprocess.run(  # noqa: S603 - options are ours; a commit has hex digits only
                ["git", *_QUIET, *arguments],  # noqa: S607 - the person's own git
                cwd=self.folder,
                env=variables,
                input=told,
                capture_output=True,
                check=False,
            )
        except OSError:
            return None
