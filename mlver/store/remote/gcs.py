"""Google Cloud Storage, through gcsfs. `ifGenerationMatch=0` on a simple upload is what makes creation exclusive.

Resumable uploads may ignore the condition, so everything is one simple upload: packs are small enough.

Source: https://cloud.google.com/storage/docs/request-preconditions
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from typing import Any

from mlver.store.remote.s3 import allowed_seconds, nanoseconds
from mlver.store.remote.service import Entry

_ONE_UPLOAD_BYTES = 4 << 30


class GcsService:
    """A prefix in a bucket.

    Args:
        bucket: Its name.
        prefix: What all names begin with; may be empty.
        endpoint: URL of a server other than Google's.
        project: The project that is billed.
        anonymous: Send no credentials.
    """

    is_read_only = False

    def __init__(
        self,
        bucket: str,
        prefix: str,
        endpoint: str | None = None,
        project: str | None = None,
        anonymous: bool = False,
    ) -> None:
        import gcsfs

        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        settings: dict[str, Any] = {
            "endpoint_url": endpoint,
            "project": project,
            "token": "anon" if anonymous else None,
        }
        self._fs = gcsfs.GCSFileSystem(
            skip_instance_cache=True,
            use_listings_cache=False,
            **{key: value for key, value in settings.items() if value is not None},
        )

    def get(self, path: str, start: int, end: int | None) -> bytes:
        """See `Service.get`."""
        limits = {} if start == 0 and end is None else {"start": start, "end": end}
        try:
            with _told():
                data: bytes = self._fs.cat_file(
                    self._full(path), timeout=allowed_seconds((end or 1 << 30) - start), **limits
                )
        except Exception as error:  # gcsfs has one class for all statuses, which is no OSError
            if getattr(error, "code", None) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b""
            raise
        return data

    def size(self, path: str) -> int:
        """See `Service.size`."""
        return int(self._call("GET", "b/{}/o/{}", self._bucket, self._prefix + path)["size"])

    def list(self, folder: str, deep: bool) -> Sequence[Entry]:
        """See `Service.list`."""
        prefix = self._prefix + (f"{folder}/" if folder else "")
        found: list[Entry] = []
        wanted: dict[str, Any] = {"prefix": prefix} | ({} if deep else {"delimiter": "/"})
        while True:
            page = self._call("GET", "b/{}/o", self._bucket, **wanted)
            found += [_entry(item, len(prefix)) for item in page.get("items", ())]
            found += [Entry(name[len(prefix) : -1], None) for name in page.get("prefixes", ())]
            if not page.get("nextPageToken"):
                return [entry for entry in found if entry.name]
            wanted["pageToken"] = page["nextPageToken"]

    def create(self, path: str, data: bytes) -> bool:
        """See `Service.create`."""
        try:
            self._put(path, data, "create")
        except FileExistsError:
            return False
        return True

    def put(self, path: str, data: bytes) -> None:
        """See `Service.put`."""
        self._put(path, data, "overwrite")

    def delete(self, path: str) -> None:
        """See `Service.delete`."""
        with _told():
            self._fs.call("DELETE", "b/{}/o/{}", self._bucket, self._prefix + path, timeout=allowed_seconds(0))

    def close(self) -> None:
        """See `Service.close`. gcsfs closes its session when it is collected."""

    def call(self, path: str, *parts: str, **parameters: Any) -> dict[str, Any]:
        """Ask for a document about the bucket; names are whole, without the prefix."""
        return self._call("GET", f"b/{{}}/{path}", self._bucket, *parts, **parameters)

    def fetch(self, name: str, start: int, end: int, generation: str) -> tuple[dict[str, str], bytes]:
        """Get a range of one generation of an object of the bucket; return the answer's headers, and the bytes."""
        with _told():
            headers, data = self._fs.call(
                "GET",
                "b/{}/o/{}",
                self._bucket,
                name,
                alt="media",
                generation=generation,
                headers={"Range": f"bytes={start}-{end - 1}"},
                timeout=allowed_seconds(end - start),
            )
        return {str(key).lower(): str(value) for key, value in headers.items()}, bytes(data)

    def _put(self, path: str, data: bytes, mode: str) -> None:
        with _told():
            self._fs.pipe_file(
                self._full(path), data, mode=mode, chunksize=_ONE_UPLOAD_BYTES, timeout=allowed_seconds(len(data))
            )

    def _call(self, method: str, path: str, *parts: str, **parameters: Any) -> dict[str, Any]:
        with _told():
            answer: dict[str, Any] = self._fs.call(
                method, path, *parts, json_out=True, timeout=allowed_seconds(0), **parameters
            )
        return answer

    def _full(self, path: str) -> str:
        return f"{self._bucket}/{self._prefix}{path}"


@contextmanager
def _told() -> Iterator[None]:
    """Raise `PermissionError` where access was refused: of that, gcsfs says only `Forbidden` in an `OSError`."""
    try:
        yield
    except OSError as error:
        if str(error).startswith("Forbidden: "):
            raise PermissionError(errno.EACCES, str(error)) from error
        raise


def _entry(item: dict[str, Any], start: int) -> Entry:
    told = item.get("updated")
    moment = datetime.fromisoformat(told) if isinstance(told, str) else None
    return Entry(item["name"][start:], int(item["size"]), nanoseconds(moment))
