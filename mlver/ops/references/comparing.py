"""Whether an object still has the content that a reference was recorded with, as far as its server tells."""

from __future__ import annotations

from typing import Literal, NamedTuple

from mlver.errors import NotFoundError
from mlver.history.reference import ReferenceEntry
from mlver.ops.references.opening import ReferenceStores
from mlver.ops.references.reading import ObjectSource
from mlver.store.objects.service import Stat

Status = Literal["same", "changed", "gone"]
By = Literal["version", "etag", "size"]


class Standing(NamedTuple):
    """How a reference stands.

    Attributes:
        status: Whether it is what it was.
        by: What told so; None if it is gone.
        reason: What differs, for a person; empty if nothing.
        source: The object to read: the version that was recorded, else what is there now; None if it is gone.
    """

    status: Status
    by: By | None
    reason: str
    source: ObjectSource | None


def standing(stores: ReferenceStores, reference: ReferenceEntry) -> Standing:
    """Ask the server about a reference.

    Raises:
        RemoteError: It did not answer.
    """
    store, location = stores.at(reference.uri)
    if reference.version is not None:
        try:
            old = store.stat(location.key, reference.version)
        except NotFoundError:
            pass
        else:
            pinned = old._replace(version=reference.version)
            return _judged(reference, ObjectSource(store, location.key, pinned))
    try:
        found = store.stat(location.key)
    except NotFoundError:
        return Standing("gone", None, "it does not exist any more", None)
    return _judged(reference, ObjectSource(store, location.key, found))


def _judged(reference: ReferenceEntry, source: ObjectSource) -> Standing:
    by, reason = difference(reference, source.stat)
    return Standing("changed" if reason else "same", by, reason, source)


def difference(reference: ReferenceEntry, stat: Stat) -> tuple[By, str]:
    """Return by what an object was compared with a reference, and what differs; an empty text if nothing does.

    Of the size alone it is only said that nothing differs where nothing else identifies the content.
    """
    if stat.size_bytes is not None and stat.size_bytes != reference.size_bytes:
        return "size", f"it has {stat.size_bytes} bytes, not {reference.size_bytes}"
    if reference.version is not None and reference.version == stat.version:
        return "version", ""
    if reference.etag is not None:
        if reference.etag == stat.etag:
            return "etag", ""
        return "etag", f"its ETag is {stat.etag!r}, not {reference.etag!r}"
    if reference.version is not None:
        return "version", f"its version is {stat.version!r}, not {reference.version!r}"
    return "size", ""
