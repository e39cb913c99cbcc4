"""S3 and what speaks its protocol, through s3fs's signed and translated calls, one request each.

`If-None-Match: *` on a single PUT is what makes creation exclusive; multipart uploads may ignore it, so nothing here
uses them: packs are far below the 5 GB that one PUT may have.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from mlver.store.remote.service import Entry

CONNECT_SECONDS = 10
STALL_SECONDS = 30
SLOWEST_BYTES_PER_SECOND = 32 << 10
"""A request that is slower than this is given up and tried again."""
_ELSEWHERE = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
"""Servers that are not Amazon's often refuse the trailing checksums that botocore adds, and these cost a copy."""


def allowed_seconds(size_bytes: int) -> float:
    """Return how long a request that moves so many bytes may take."""
    return STALL_SECONDS + CONNECT_SECONDS + size_bytes / SLOWEST_BYTES_PER_SECOND


class S3Service:
    """A prefix in a bucket.

    Args:
        bucket: Its name.
        prefix: What all keys begin with, such as `team/models`; may be empty.
        endpoint: URL of a server other than Amazon's.
        region: Where the bucket is.
        profile: Section of the AWS credentials file.
        anonymous: Do not sign requests.
    """

    is_read_only = False

    def __init__(
        self,
        bucket: str,
        prefix: str,
        endpoint: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        anonymous: bool = False,
    ) -> None:
        import s3fs

        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        settings: dict[str, Any] = {"endpoint_url": endpoint, "profile": profile}
        client = {} if region is None else {"region_name": region}
        self._fs = s3fs.S3FileSystem(
            anon=anonymous,
            client_kwargs=client,
            config_kwargs={
                "connect_timeout": CONNECT_SECONDS,
                "read_timeout": STALL_SECONDS,
                "retries": {"max_attempts": 0},
                "max_pool_connections": 32,
                **({} if endpoint is None else _ELSEWHERE),
            },
            skip_instance_cache=True,
            use_listings_cache=False,
            **{key: value for key, value in settings.items() if value is not None},
        )
        self._fs.retries = 1  # `RemoteStorage` retries; two loops inside each other would wait for minutes

    def get(self, path: str, start: int, end: int | None) -> bytes:
        """See `Service.get`."""
        key = f"{self._bucket}/{self._key(path)}"
        is_whole = start == 0 and end is None
        reach: dict[str, Any] = {"max_concurrency": 1} if is_whole else {"start": start, "end": end}
        try:
            data: bytes = self._fs.cat_file(key, timeout=allowed_seconds((end or 1 << 30) - start), **reach)
        except OSError as error:
            if error_code(error) == "InvalidRange":
                return b""
            raise
        return data

    def size(self, path: str) -> int:
        """See `Service.size`."""
        return int(self._call("head_object", Key=self._key(path))["ContentLength"])

    def list(self, folder: str, deep: bool) -> Sequence[Entry]:
        """See `Service.list`."""
        prefix = self._key(f"{folder}/") if folder else self._prefix
        found: list[Entry] = []
        wanted: dict[str, Any] = {"Prefix": prefix} | ({} if deep else {"Delimiter": "/"})
        while True:
            page = self._call("list_objects_v2", **wanted)
            found += [
                Entry(item["Key"][len(prefix) :], int(item["Size"]), nanoseconds(item.get("LastModified")))
                for item in page.get("Contents", ())
            ]
            found += [Entry(item["Prefix"][len(prefix) : -1], None) for item in page.get("CommonPrefixes", ())]
            if not page.get("IsTruncated"):
                return [entry for entry in found if entry.name]
            wanted["ContinuationToken"] = page["NextContinuationToken"]

    def create(self, path: str, data: bytes) -> bool:
        """See `Service.create`. The refusal has several forms; a blob that is there is what they have in common."""
        try:
            self._put(path, data, IfNoneMatch="*")
        except OSError as error:
            if error.errno != errno.EINVAL and error_code(error) != "PreconditionFailed":
                raise
            self.size(path)  # raises where it is not there: then it was no refusal
            return False
        return True

    def put(self, path: str, data: bytes) -> None:
        """See `Service.put`."""
        self._put(path, data)

    def delete(self, path: str) -> None:
        """See `Service.delete`."""
        self._call("delete_object", Key=self._key(path))

    def close(self) -> None:
        """See `Service.close`. s3fs closes its session when it is collected."""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Make any other request about the bucket; keys are whole, without the prefix."""
        return self._call(method, **parameters)

    def fetch(self, seconds: float, **parameters: Any) -> tuple[dict[str, Any], bytes]:
        """Get (a range or version of) an object of the bucket; return what was said of it, and its bytes."""
        from fsspec.asyn import sync

        async def get() -> tuple[dict[str, Any], bytes]:
            response = await self._fs._call_s3("get_object", Bucket=self._bucket, **parameters)
            async with response["Body"] as body:
                return response, await body.read()

        found: tuple[dict[str, Any], bytes] = sync(self._fs.loop, get, timeout=seconds)
        return found

    def _put(self, path: str, data: bytes, **conditions: str) -> None:
        self._call("put_object", len(data), Key=self._key(path), Body=data, **conditions)

    def _call(self, method: str, size_bytes: int = 0, **parameters: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._fs.call_s3(
            method, Bucket=self._bucket, timeout=allowed_seconds(size_bytes), **parameters
        )
        return answer

    def _key(self, path: str) -> str:
        return self._prefix + path


def nanoseconds(moment: datetime | None) -> int | None:
    """Return the time of a moment in nanoseconds since 1970, None of none."""
    return None if moment is None else round(moment.timestamp() * 1e6) * 1000


def error_code(error: BaseException) -> str | None:
    """Return S3's own word for a failure, such as `NoSuchBucket`, that s3fs translated."""
    response = getattr(error.__cause__, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return str(code) if code else None
