"""`add` of references: what the version before recorded, what is there now, and whether it fits beside the files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlver.errors import IntegrityError
from mlver.history.manifest import read_manifest
from mlver.history.reference import ReferenceEntry
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress
from mlver.ops.references.cache import ReferenceCache
from mlver.ops.references.finding import Finder, refuse_conflicts
from mlver.ops.references.found import FoundReferences
from mlver.ops.references.opening import ReferenceStores, keep_options
from mlver.ops.scan import Scan
from mlver.store.objects.address import clean_uri

if TYPE_CHECKING:
    from mlver.ops.add import AddRequest


def find_references(
    repository: OpenRepository, name: str, request: AddRequest, beside: Scan, progress: Progress
) -> FoundReferences:
    """Return what is to be recorded of the references that a request names.

    Args:
        repository: The repository.
        name: The artifact, which may be new.
        request: What to add.
        beside: The files that are added too.
        progress: Told of the bytes read.

    Raises:
        NotFoundError: There is no such object.
        UsageError: A URI or an option is not allowed, or two things have one path.
        ConflictError: An object changes while it is read.
        RemoteError: A server failed or refused.
        MlverError: An object cannot be a file of a version, or there are too many.
    """
    for uri in request.references if request.reference_options else ():
        keep_options(repository, clean_uri(uri).uri, request.reference_options)
    cache = ReferenceCache(repository)
    with ReferenceStores(repository.config) as stores:
        found = Finder(stores, cache, request.exclude, request.max_files).find(
            request.references,
            _previous(repository, name),
            progress,
            keep_names=len(request.paths) + len(request.references) > 1,
            digest=request.digest,
        )
    cache.learn(found.learned)
    found.warnings += refuse_conflicts(
        [source.path for source in beside.sources] + [reference.path for reference in found.entries]
    )
    return found


def _previous(repository: OpenRepository, name: str) -> Sequence[ReferenceEntry]:
    """Return the references of the artifact's newest version; none if there is none, or it cannot be read here."""
    artifact = repository.index.artifact(name)
    newest = repository.index.versions(artifact, limit=1) if artifact is not None else []
    if not newest or not newest[0].reference_count:
        return ()
    try:
        return read_manifest(repository.storage, newest[0].id).references
    except IntegrityError:
        return ()  # it is at a remote only: what is found is recorded as it is now
