"""Opening a repository: find `.mlver/`, check its layout, and tie its rooms together for the verbs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlver.errors import IntegrityError, MlverError, NotARepositoryError, NotFoundError
from mlver.history import tables as history_tables
from mlver.history.index import VersionIndex
from mlver.history.records import ArtifactRecord, VersionRecord
from mlver.history.revision import Resolved, resolve, resolve_artifact
from mlver.names import check_artifact_name
from mlver.ops import tables as stat_tables
from mlver.ops.diff import tables as diff_tables
from mlver.store import tables as store_tables
from mlver.store.local import LocalStorage
from mlver.store.sqlite import CacheConnection, CacheDamaged, open_cache, reopen_cache

if TYPE_CHECKING:
    from mlver.chunks import ChunkReader
    from mlver.config import Config
    from mlver.history.run_index import RunIndex
    from mlver.ops.hooks.hooks import Hooks
    from mlver.ops.stat_cache import StatCache
    from mlver.store.chunk_index import ChunkIndex

REPOSITORY_FOLDER = ".mlver"
FORMAT_NAME = "format"
FORMAT_TEXT = b"mlver 1\n"
HEAD_NAME = "HEAD"
HOOKS_FOLDER = "hooks"
REPOSITORY_VARIABLE = "MLVER_DIR"
"""Which repository commands work on; set for hooks, whose repository may be another one than their person's."""
HOOK_VARIABLE = "MLVER_HOOK"
"""Set for hooks: what mlver does within one runs no hooks, or there would be no end."""
INDEX_NAME = "index.sqlite"
_SCHEMAS = (store_tables.SCHEMA, history_tables.SCHEMA, stat_tables.SCHEMA, diff_tables.SCHEMA)


@dataclass(slots=True)
class OpenRepository:
    """A repository that verbs work on.

    Attributes:
        root: The `.mlver` folder.
        storage: Everything in it but the cache.
        cache: `index.sqlite`, or a stand-in in memory.
        notices: Things to tell the person that no result has a place for, such as that a name is a former one.
        hooks: Programs of the person's own that are asked and told of what happens, see `use_hooks`.
        run_variable: Names the run that all this is part of, see `mlver.ops.runs.current`.
    """

    root: Path
    storage: LocalStorage
    cache: CacheConnection
    notices: list[str] = field(default_factory=list)
    hooks: Hooks | None = None
    run_variable: str | None = None

    @property
    def index(self) -> VersionIndex:
        """Artifacts and versions."""
        return VersionIndex(self.cache, self.storage)

    @property
    def runs(self) -> RunIndex:
        """Runs, and what they used and made."""
        from mlver.history.run_index import RunIndex

        return RunIndex(self.cache)

    @property
    def chunk_index(self) -> ChunkIndex:
        """Chunks and packs."""
        from mlver.store.chunk_index import ChunkIndex

        return ChunkIndex(self.cache)

    @property
    def stat_cache(self) -> StatCache:
        """Files seen before."""
        from mlver.ops.stat_cache import StatCache

        return StatCache(self.cache)

    @property
    def config(self) -> Config:
        """Its settings.

        Raises:
            MlverError: `config.toml` is malformed.
        """
        from mlver.config import CONFIG_NAME, notice_of, parse_config

        try:
            config = parse_config(self.storage.read(CONFIG_NAME))
        except NotFoundError:
            return parse_config(b"")
        self.notices += [notice for setting in config.unknown if (notice := notice_of(setting)) not in self.notices]
        return config

    def use_hooks(self, environment: Mapping[str, str]) -> None:
        """Ask and tell the hooks of this repository from here on, if it has any; not within one of them.

        Args:
            environment: The variables that they get.
        """
        if not environment.get(HOOK_VARIABLE) and (self.root / HOOKS_FOLDER).is_dir():
            from mlver.ops.hooks.hooks import Hooks  # most repositories have none, and start-up is a feature

            self.hooks = Hooks(environment)

    def chunk_reader(self) -> ChunkReader:
        """Return a reader that knows all packs there are."""
        from mlver.chunks import ChunkReader

        self.refresh_packs()
        return ChunkReader(self.storage, self.chunk_index)

    def refresh_packs(self) -> None:
        """Catch up with packs that others wrote; damaged ones are noted, and their chunks count as absent."""
        refreshed = self.chunk_index.refresh(self.storage)
        for damaged in refreshed.damaged:
            self._notice(damaged)
        if refreshed.dropped:
            self.stat_cache.forget_all()

    def own_folder(self, name: str) -> Path:
        """Return the place of a folder that is worked on by its path, and not by the storage, which follows no links.

        Raises:
            IntegrityError: There is a link in its place.
        """
        place = self.root / name
        if place.is_symlink():
            raise IntegrityError(f"{place} is a link, and would lead out of the repository.", "Remove it.")
        return place

    def current(self) -> str | None:
        """Return the name of the current artifact, if there is one."""
        try:
            name = self.storage.read(HEAD_NAME).decode("utf-8", "replace").strip()
        except NotFoundError:
            return None
        index = self.index
        found = index.artifact(name) or index.renamed_artifact(name) or index.artifact_like(name)
        return found.name if found else None

    def set_current(self, artifact: str) -> None:
        """Make an artifact the current one."""
        self.storage.put(HEAD_NAME, check_artifact_name(artifact).encode() + b"\n")

    def resolve(self, revision: str) -> Resolved:
        """Return the version that a revision names, as of now.

        Raises:
            NotFoundError: There is none.
            UsageError: It is no revision.
        """
        self.index.refresh()
        found = resolve(self.index, revision, self.current())
        self._notice(found.notice)
        return found

    def artifact(self, name: str | None) -> ArtifactRecord:
        """Return the artifact of this (present or former) name, or (None) the current one, as of now.

        Raises:
            NotFoundError: There is none.
        """
        self.index.refresh()
        name = name if name is not None else self.current()
        if name is None:
            raise NotFoundError(
                "No artifact is current.",
                "Name one, or choose one with: mlver switch NAME",
            )
        found, notice = resolve_artifact(self.index, name)
        self._notice(notice)
        return found

    def note_use(self, version: VersionRecord) -> None:
        """Record that the run which all this is part of, if it is part of one, reads a version."""
        if self.run_variable is not None:
            from mlver.ops.runs.use import note_use

            note_use(self, version)

    def reopen(self, damage: CacheDamaged) -> None:
        """Throw the cache away after it failed; what is asked next rebuilds it."""
        self.cache = reopen_cache(self.cache, damage, self.root / INDEX_NAME, _SCHEMAS)

    def close(self) -> None:
        """Close the cache."""
        self.cache.close()

    def _notice(self, notice: str | None) -> None:
        if notice is not None and notice not in self.notices:
            self.notices.append(notice)


def find_repository(start: Path) -> Path:
    """Return the `.mlver` folder of `start` or of the nearest folder above it.

    Raises:
        NotARepositoryError: There is none.
    """
    start = start.absolute()
    for folder in (start, *start.parents):
        candidate = folder / REPOSITORY_FOLDER
        if candidate.is_dir():
            return candidate
        if candidate.exists():
            raise NotARepositoryError(f"{candidate} is not a folder.", "Move it away, then run: mlver init")
    raise NotARepositoryError(
        f"{start} is not in a repository: there is no {REPOSITORY_FOLDER} here or above.",
        "Make one with: mlver init",
    )


def open_repository(root: Path, cache_in_memory: bool = False) -> OpenRepository:
    """Open the `.mlver` folder `root`.

    Args:
        root: The folder.
        cache_in_memory: Leave `index.sqlite` alone, because it just failed.

    Raises:
        NotARepositoryError: It is none, or of a layout that is not known.
    """
    root = root.absolute()
    if not root.is_dir():
        raise NotARepositoryError(f"{root} is not a folder.", "Make a repository with: mlver init")
    storage = LocalStorage(root)
    _check_format(storage, root)
    return OpenRepository(root, storage, open_cache(None if cache_in_memory else root / INDEX_NAME, _SCHEMAS))


def _check_format(storage: LocalStorage, root: Path) -> None:
    try:
        text = storage.read(FORMAT_NAME)
    except NotFoundError as error:
        raise NotARepositoryError(
            f"{root} is not a repository: it has no '{FORMAT_NAME}' file.",
            "Make it one with: mlver init",
        ) from error
    except MlverError as error:
        raise NotARepositoryError(f"{root} cannot be opened: {error.message}") from error
    if text != FORMAT_TEXT:
        raise NotARepositoryError(
            f"{root} has a layout that this mlver does not know: {text[:40].decode(errors='replace').strip()!r}.",
            "A newer mlver may have made it: upgrade.",
        )
