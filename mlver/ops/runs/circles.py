"""Nothing follows from itself: a run does not use what follows from what it made.

Both what runs use and what they make again is said in one log, and decided on its newest state; and a version that is
new has nothing that follows from it. So no two writers of one repository can close a circle together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mlver.history.records import LinkedVersion
from mlver.ids import RunId
from mlver.ops.opening import OpenRepository


def follows_from_run(repository: OpenRepository, version: LinkedVersion, run: RunId) -> bool:
    """Tell whether a version was made by a run, or follows from one that was."""
    if not repository.runs.outputs_of(run):
        return False
    return any(run in makers for _, makers in _ancestry(repository, [version]))


def run_follows_from(repository: OpenRepository, run: RunId, version: LinkedVersion) -> bool:
    """Tell whether a run used a version, or one that follows from it."""
    wanted = (version.artifact, version.number)
    used = repository.runs.inputs_of(run)
    return any((each.artifact, each.number) == wanted for each, _ in _ancestry(repository, used))


def _ancestry(
    repository: OpenRepository, versions: Iterable[LinkedVersion]
) -> Iterator[tuple[LinkedVersion, list[RunId]]]:
    """Yield versions with the runs that made them, and all that they follow from, each once."""
    runs, index = repository.runs, repository.index
    rest = list(versions)
    seen: set[tuple[str, int]] = set()
    asked: set[RunId] = set()
    while rest:
        version = rest.pop()
        artifact = index.artifact(version.artifact)
        if artifact is None or not version.is_known or (version.artifact, version.number) in seen:
            continue
        seen.add((version.artifact, version.number))
        makers = runs.maker_of(artifact, version.number)
        yield version, makers
        rest += runs.derived_from(artifact, version.number)
        for maker in makers:
            if maker not in asked:
                asked.add(maker)
                rest += runs.inputs_of(maker)
