"""`export`: the documents of one format, from a version or from all runs."""

from __future__ import annotations

import socket
from typing import Any, Literal, get_args

from mlver.errors import UsageError
from mlver.ops.exchange.croissant import croissant
from mlver.ops.exchange.described import describe_version
from mlver.ops.exchange.openlineage import run_events
from mlver.ops.exchange.ro_crate import ro_crate
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress
from mlver.ops.runs.blobs import read_record

ExportFormat = Literal["openlineage", "croissant", "ro-crate"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)


def export(
    repository: OpenRepository,
    export_format: str,
    revision: str | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Return what is known as documents of another tool: one, or of OpenLineage one for each event.

    Args:
        repository: The repository.
        export_format: One of `FORMATS`.
        revision: Which version; OpenLineage is of all runs.
        progress: Told of the bytes read.

    Raises:
        UsageError: There is no such format, or a version is missing or too much.
        NotFoundError: There is no such version.
        IntegrityError: It is damaged.
        RemoteError: A remote failed.
    """
    if export_format not in FORMATS:
        raise UsageError(f"Format {export_format!r} is not known.", f"Choose one of: {', '.join(FORMATS)}.")
    if export_format == "openlineage":
        if revision is not None:
            raise UsageError("OpenLineage is told of all runs, not of one version.", "Leave the version out.")
        repository.index.refresh()
        return list(run_events(repository.runs.runs(), namespace_of(repository)))
    described = describe_version(repository, revision or "latest", digests=True, progress=progress)
    if export_format == "croissant":
        return [croissant(described)]
    record = read_record(repository, described.run) if described.run is not None else {}
    return [ro_crate(described, record)]


def namespace_of(repository: OpenRepository) -> str:
    """Return what tells the artifacts of this repository from those of others: where they are shared, or else are."""
    remotes = repository.config.remotes
    if remotes:
        return remotes["origin" if "origin" in remotes else min(remotes)]["url"]
    return f"file://{socket.gethostname()}{repository.root.parent}"
