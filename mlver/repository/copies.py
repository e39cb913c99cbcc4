"""Getting versions and tensors as files: a part of the Python API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlver.ops.progress import Progress
from mlver.ops.pull import PullResult, plan_pull, pull
from mlver.ops.pull_tensors import plan_tensors, pull_tensors
from mlver.ops.remotes.receiving import obtain_chunks, obtain_files, obtain_manifest
from mlver.ops.signing.trust import Trust
from mlver.repository.opened import AnyPath, Opened


class Copies(Opened):
    """Getting versions and tensors as files."""

    def pull(
        self,
        revision: str,
        folder: AnyPath | None = None,
        paths: Sequence[str] = (),
        *,
        force: bool = False,
        references: bool = True,
        require_signature: bool = False,
        public_keys: Sequence[AnyPath] = (),
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
            require_signature: Refuse what nobody signed whose key is trusted.
            public_keys: Files of the keys that are; without any, `config.toml` says which. With any, a signature is
                required.
            progress: Told of the bytes written.

        Raises:
            NotFoundError: There is no such version, or no file matches.
            SignatureError: A signature is required, and there is none, or none that holds.
            ConflictError: Files would be overwritten, and `force` is not given.
            IntegrityError: Something is damaged, or a reference is not what it was; the folder is as it was.
            RemoteError: A remote, or a server of references, failed or refused.
            MlverError: The folder cannot be written.
        """
        target = None if folder is None else Path(folder)
        trust = Trust(require_signature, tuple(map(Path, public_keys)))

        def work() -> PullResult:
            has_remotes = bool(self._opened.config.remotes)
            if has_remotes:
                obtain_manifest(self._opened, self._opened.resolve(revision).version.id)
            plan = plan_pull(self._opened, revision, target, paths, references=references, trust=trust)
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
