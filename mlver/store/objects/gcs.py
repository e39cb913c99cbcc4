"""Objects in a bucket of Google Cloud Storage: a generation is the very content it was made with."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

from mlver.store.objects.service import Listed, ObjectChanged, Stat, strong_etag
from mlver.store.remote.gcs import GcsService


class GcsObjects:
    """A bucket.

    Args:
        service: Its root, as a remote would use it.
    """

    def __init__(self, service: GcsService) -> None:
        self._service = service

    def stat(self, key: str, version: str | None = None) -> Stat:
        """See `Objects.stat`."""
        which = {} if version is None else {"generation": version}
        return _stat(self._service.call("o/{}", key, **which))

    def list(self, prefix: str, limit: int) -> Sequence[Listed]:
        """See `Objects.list`."""
        found: list[Listed] = []
        wanted: dict[str, Any] = {"prefix": prefix}
        while len(found) < limit:
            page = self._service.call("o", **wanted)
            items = [item for item in page.get("items", ()) if not item["name"].endswith("/")]
            found += [Listed(item["name"], _stat(item)) for item in items]
            if not page.get("nextPageToken"):
                break
            wanted["pageToken"] = page["nextPageToken"]
        return found[:limit]

    def read(self, key: str, stat: Stat, start: int, end: int) -> bytes:
        """See `Objects.read`."""
        generation = str(stat.guard)
        try:
            headers, data = self._service.fetch(key, start, end, generation)
        except FileNotFoundError as error:
            raise ObjectChanged(key) from error  # its generation is gone
        if headers.get("x-goog-generation", generation) != generation:
            raise ObjectChanged(key)
        return data

    def stream(self, key: str, stat: Stat) -> Iterator[bytes]:
        """See `Objects.stream`. Every object has a generation, so ranges are always safe."""
        raise NotImplementedError

    def close(self) -> None:
        """See `Objects.close`."""
        self._service.close()


def _stat(found: dict[str, Any]) -> Stat:
    generation = str(found["generation"])
    return Stat(int(found["size"]), _etag(found), generation, generation)


def _etag(found: dict[str, Any]) -> str | None:
    """Return the entity tag that downloads have: the MD5, where there is one; the other changes with metadata."""
    if "md5Hash" in found:
        return base64.b64decode(found["md5Hash"]).hex()
    return strong_etag(found.get("etag"))
