"""`complete`: the names that a shell may offer."""

from __future__ import annotations

from dataclasses import dataclass

from mlver.ops.opening import OpenRepository

MAX_VERSIONS = 100
MAX_RUNS = 100


@dataclass(frozen=True, slots=True)
class KnownNames:
    """What is there to be named.

    Attributes:
        current: The current artifact.
        artifacts: Per artifact its aliases, then its newest versions, newest first.
        aliases: Aliases of the current artifact.
        tags: Tags of the newest versions of the current artifact.
        runs: Names, or else ids, of the newest runs, newest first.
        remotes: Names of remotes.
    """

    current: str | None
    artifacts: dict[str, tuple[str, ...]]
    aliases: tuple[str, ...]
    tags: tuple[str, ...]
    runs: tuple[str, ...]
    remotes: tuple[str, ...]


def known_names(repository: OpenRepository) -> KnownNames:
    """Return the names of artifacts, aliases, tags, remotes, and the newest versions and runs."""
    index = repository.index
    index.refresh()
    current = repository.current()
    artifacts: dict[str, tuple[str, ...]] = {}
    aliases: tuple[str, ...] = ()
    tags: dict[str, None] = {}
    for artifact in index.artifacts():
        versions = index.versions(artifact, MAX_VERSIONS)
        named = tuple(index.aliases(artifact))
        artifacts[artifact.name] = (*named, *(f"v{version.number}" for version in versions))
        if artifact.name == current:
            aliases = named
            tags = dict.fromkeys(tag for version in versions for tag in version.tags)
    runs = dict.fromkeys(run.name or run.id for run in repository.runs.runs(MAX_RUNS))
    return KnownNames(current, artifacts, aliases, tuple(tags), tuple(runs), tuple(repository.config.remotes))
