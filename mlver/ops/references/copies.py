"""Files that are copies of references, as a pull makes them: who adds them again should know that they are stored."""

from __future__ import annotations

from pathlib import Path

from mlver.errors import IntegrityError
from mlver.history.manifest import read_manifest
from mlver.ops.opening import OpenRepository
from mlver.ops.origins import read_origin
from mlver.ops.scan import Scan


def warn_of_copies(repository: OpenRepository, path: Path, found: Scan) -> list[str]:
    """Return a warning where files below `path` are copies of references of the version that it came from."""
    origin = read_origin(repository, path)
    versions = repository.index.live_versions_of(origin.id)[:1] if origin is not None else []
    if not versions or not versions[0].reference_count:
        return []
    try:
        references = read_manifest(repository.storage, versions[0].id).references
    except IntegrityError:
        return []  # it is at a remote only
    copies = {reference.path for reference in references} & {source.path for source in found.sources}
    if not copies:
        return []
    what = f"{len(copies)} of the files, such as {min(copies)}, were references in {versions[0].name}"
    return [f"{what}: they are stored now. To keep them references, leave them out with --exclude and use --ref."]
