"""What a person named where both a version and a run may be meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlver.errors import NotFoundError, UsageError
from mlver.history.records import RunRecord, VersionRecord

if TYPE_CHECKING:
    from mlver.ops.opening import OpenRepository

_RUN = "run"


def find_either(repository: OpenRepository, reference: str) -> VersionRecord | RunRecord:
    """Return the version that is meant, else the run; `run:NAME` and `run:ID` mean a run.

    Where an artifact is called `run`, they mean its versions first.

    Raises:
        NotFoundError: There is neither.
        UsageError: The reference is malformed, or an id ambiguous.
    """
    from mlver.ops.runs.find import find_run
    from mlver.ops.runs.recover import recover

    recover(repository)
    repository.index.refresh()
    wanted = reference.removeprefix(f"{_RUN}:")
    if wanted != reference and repository.index.artifact(_RUN) is None:
        return find_run(repository, wanted if not repository.runs.find(reference) else reference)
    try:
        return repository.resolve(reference).version
    except (NotFoundError, UsageError):
        if not repository.runs.find(reference):
            raise
    return find_run(repository, reference)
