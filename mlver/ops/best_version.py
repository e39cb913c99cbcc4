"""`best`: the version with the greatest or least value of a metric, of one artifact or of many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mlver.errors import NotFoundError, UsageError
from mlver.history.records import VersionRecord
from mlver.history.selection import Selection
from mlver.ops.diff.metrics import better

if TYPE_CHECKING:
    from mlver.ops.opening import OpenRepository


def best_version(
    repository: OpenRepository,
    metric: str,
    *,
    extreme: Literal["max", "min"] | None = None,
    artifact: str | None = None,
    type: str | None = None,  # noqa: A002 - the word of the command line and of every record
) -> VersionRecord:
    """Return the best version by a metric; of equally good ones the one with the lowest number.

    Args:
        repository: The repository.
        metric: Its name, or an expression of several.
        extreme: Whether more or less of it is better; None where its name tells, as of `val_acc` and `loss`.
        artifact: Only versions of this one.
        type: Only versions of artifacts of this type.

    Raises:
        NotFoundError: There is no such artifact or type, or no version has the metric.
        UsageError: The metric's name does not tell what is better.
        ExpressionError: The expression is malformed, cannot be computed, or a name in it means nothing.
    """
    index = repository.index
    index.refresh()
    artifacts = [repository.artifact(artifact)] if artifact is not None else index.artifacts()
    if type is not None:
        artifacts = [found for found in artifacts if found.type == type]
    if not artifacts:
        raise NotFoundError("There is no artifact yet." if type is None else f"There is no artifact of type {type!r}.")
    selection = Selection(extreme or _extreme(metric), metric)
    versions = [version for found in artifacts for version in index.versions(found)]
    if artifact is not None:
        return selection.choose(versions, repr(artifacts[0].name))
    return selection.choose(versions, "any artifact" if type is None else f"any {type!r}")


def _extreme(metric: str) -> Literal["max", "min"]:
    direction = better(metric)
    if direction is None:
        raise UsageError(f"The name {metric!r} does not tell whether more or less is better.", "Say --max or --min.")
    return "max" if direction == "higher" else "min"
