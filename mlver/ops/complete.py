"""`complete`: the names that a shell may offer."""

from __future__ import annotations

from dataclasses import dataclass

from mlver.ops.opening import OpenRepository

MAX_VERSIONS = 100


@dataclass(frozen=True, slots=True)
class KnownNames:
    """What is there to be named.

    Attributes:
        current: The current artifact.
        artifacts: Per artifact its aliases, then its newest versions, newest first.
        aliases: Aliases of the current artifact.
        tags: Tags of the newest versions of the current artifact.
    """

    current: str | None
    artifacts: dict[str, tuple[str, ...]]
    aliases: tuple[str, ...]
    tags: tuple[str, ...]


def known_names(repository: OpenRepository) -> KnownNames:
    """Return the names of artifacts, aliases, tags and the newest versions."""
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
    return KnownNames(current, artifacts, aliases, tuple(tags))
