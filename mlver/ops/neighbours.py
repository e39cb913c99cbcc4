"""What is next to a version in the graph: who made it and of what, who used it, and what was made from it."""

from __future__ import annotations

from collections.abc import Iterable

from mlver.history.records import ArtifactRecord, LinkedVersion
from mlver.ids import RunId
from mlver.ops.opening import OpenRepository


def makers(repository: OpenRepository, name: str, number: int) -> list[RunId]:
    """Return the run that made a version, if one did, and then those that made the same again.

    Raises:
        NotFoundError: There is no such artifact.
    """
    return repository.runs.maker_of(_artifact(repository, name), number)


def users(repository: OpenRepository, name: str, number: int) -> list[RunId]:
    """Return the runs that used a version, the oldest first.

    Raises:
        NotFoundError: There is no such artifact.
    """
    return repository.runs.users_of(_artifact(repository, name), number)


def sources(repository: OpenRepository, name: str, number: int) -> list[LinkedVersion]:
    """Return the versions that a version was made from: by runs, or as `add` was told.

    Raises:
        NotFoundError: There is no such artifact.
    """
    artifact, runs = _artifact(repository, name), repository.runs
    used = [link for maker in runs.maker_of(artifact, number) for link in runs.inputs_of(maker)]
    return _each_once([*used, *runs.derived_from(artifact, number)])


def products(repository: OpenRepository, name: str, number: int) -> list[LinkedVersion]:
    """Return the versions that were made from a version: by runs, or as `add` was told.

    Raises:
        NotFoundError: There is no such artifact.
    """
    artifact, runs = _artifact(repository, name), repository.runs
    made = [link for user in runs.users_of(artifact, number) for link in runs.outputs_of(user)]
    return _each_once([*made, *runs.derived_to(artifact, number)])


def _artifact(repository: OpenRepository, name: str) -> ArtifactRecord:
    repository.index.refresh()
    return repository.artifact(name)


def _each_once(links: Iterable[LinkedVersion]) -> list[LinkedVersion]:
    return list({(link.artifact, link.number): link for link in links}.values())
