"""Objects in a bucket of S3, or of what speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mlver.store.objects.service import Listed, ObjectChanged, Stat, strong_etag
from mlver.store.remote.s3 import S3Service, allowed_seconds, error_code

_CONTENTS = ("list_objects_v2", "Contents", {"ContinuationToken": "NextContinuationToken"})
_VERSIONS = (
    "list_object_versions",
    "Versions",
    {"KeyMarker": "NextKeyMarker", "VersionIdMarker": "NextVersionIdMarker"},
)
_CHANGED = frozenset({"PreconditionFailed", "412"})
_NO_SUCH_VERSION = frozenset({"400", "405"})
"""What Amazon answers to HEAD, which has no body to say more: it is no version's id, or that of a deletion."""


class S3Objects:
    """A bucket.

    Args:
        service: Its root, as a remote would use it.
    """

    def __init__(self, service: S3Service) -> None:
        self._service = service
        self._keeps_versions: bool | None = None

    def stat(self, key: str, version: str | None = None) -> Stat:
        """See `Objects.stat`."""
        which = {} if version is None else {"VersionId": version}
        try:
            found = self._service.call("head_object", Key=key, **which)
        except OSError as error:
            if version is not None and error_code(error) in _NO_SUCH_VERSION:
                raise FileNotFoundError(key) from error
            raise
        return _stat(found, int(found["ContentLength"]))

    def list(self, prefix: str, limit: int) -> Sequence[Listed]:
        """See `Objects.list`. Only a bucket that keeps versions is asked for their ids."""
        method, items, after = _VERSIONS if self._has_versions() else _CONTENTS
        found: list[Listed] = []
        wanted: dict[str, Any] = {"Prefix": prefix}
        while len(found) < limit:
            page = self._service.call(method, **wanted)
            found += [
                Listed(item["Key"], _stat(item, int(item["Size"])))
                for item in page.get(items, ())
                if item.get("IsLatest", True) and not item["Key"].endswith("/")
            ]
            if not page.get("IsTruncated"):
                break
            wanted |= {name: page[following] for name, following in after.items() if page.get(following)}
        return found[:limit]

    def read(self, key: str, stat: Stat, start: int, end: int) -> bytes:
        """See `Objects.read`."""
        which = {"VersionId": stat.version} if stat.version else {"IfMatch": f'"{stat.guard}"'}
        try:
            found, data = self._service.fetch(
                allowed_seconds(end - start), Key=key, Range=f"bytes={start}-{end - 1}", **which
            )
        except OSError as error:
            if isinstance(error, FileExistsError) or error_code(error) in _CHANGED:
                raise ObjectChanged(key) from error
            raise
        if strong_etag(found.get("ETag")) != stat.guard:
            raise ObjectChanged(key)
        return data

    def stream(self, key: str, stat: Stat) -> Iterator[bytes]:
        """See `Objects.stream`. For a server that gives no entity tags, of which none is known."""
        yield self._service.fetch(allowed_seconds(stat.size_bytes or 1 << 30), Key=key)[1]

    def close(self) -> None:
        """See `Objects.close`."""
        self._service.close()

    def _has_versions(self) -> bool:
        """Tell whether the bucket keeps versions; who may not ask does without their ids."""
        if self._keeps_versions is None:
            try:
                self._keeps_versions = bool(self._service.call("get_bucket_versioning").get("Status"))
            except (PermissionError, NotImplementedError):
                self._keeps_versions = False
        return self._keeps_versions


def _stat(found: dict[str, Any], size_bytes: int) -> Stat:
    etag = strong_etag(found.get("ETag"))
    version = found.get("VersionId")
    return Stat(size_bytes, etag, None if version in (None, "", "null") else str(version), etag)
