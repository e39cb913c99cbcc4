"""Files at web servers, which may know ranges and entity tags, or neither.

Source: https://www.rfc-editor.org/rfc/rfc9110 (ranges, entity tags, If-Match)
"""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO
from urllib.parse import quote, urlsplit

from mlver.errors import RemoteError
from mlver.store.objects.service import Listed, ObjectChanged, Stat, strong_etag
from mlver.store.remote.s3 import STALL_SECONDS

_PIECE_BYTES = 1 << 20
_KEPT = "%/:=&?~#+!$,;'@()*[]"
"""Characters of a URL that are not quoted again."""


class WebObjects:
    """Files at a web server. A key is a URL."""

    def __init__(self) -> None:
        handlers = [urllib.request.HTTPSHandler(context=ssl.create_default_context()), Redirects()]
        self._opener = urllib.request.build_opener(*handlers)

    def stat(self, key: str, version: str | None = None) -> Stat:
        """See `Objects.stat`. One byte is asked for: many servers answer GET only, and it shows if they know ranges."""
        if version is not None:
            raise FileNotFoundError(key)
        try:
            with self._open(key, {"Range": "bytes=0-0"}) as response:
                etag = strong_etag(response.headers.get("ETag"))
                if response.status == 206:
                    return Stat(_total(response.headers.get("Content-Range")), etag, None, etag)
                return Stat(_number(response.headers.get("Content-Length")), etag, None, None)
        except urllib.error.HTTPError as error:
            if error.code != 416:
                raise
            return Stat(_total(error.headers.get("Content-Range")), strong_etag(error.headers.get("ETag")), None, None)

    def list(self, prefix: str, limit: int) -> Sequence[Listed]:
        """See `Objects.list`."""
        raise NotImplementedError

    def read(self, key: str, stat: Stat, start: int, end: int) -> bytes:
        """See `Objects.read`."""
        with self._open(key, {"Range": f"bytes={start}-{end - 1}", "If-Match": f'"{stat.guard}"'}) as response:
            is_part = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            if strong_etag(response.headers.get("ETag")) != stat.guard or not is_part:
                raise ObjectChanged(key)
            return b"".join(_pieces(response, end - start))

    def stream(self, key: str, stat: Stat) -> Iterator[bytes]:
        """See `Objects.stream`."""
        with self._open(key, {}) as response:
            if stat.etag is not None and strong_etag(response.headers.get("ETag")) != stat.etag:
                raise ObjectChanged(key)
            yield from _pieces(response, None)

    def close(self) -> None:
        """See `Objects.close`."""
        self._opener.close()

    @contextmanager
    def _open(self, url: str, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse]:
        headers = {"Accept-Encoding": "identity", "User-Agent": "mlver", **headers}
        request = urllib.request.Request(quote(url, safe=_KEPT), headers=headers)  # noqa: S310 - `locate` chose it
        try:
            with self._opener.open(request, timeout=STALL_SECONDS) as response:
                yield response
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (404, 410):
                raise FileNotFoundError(url) from error
            if error.code == 412:
                raise ObjectChanged(url) from error
            raise
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise RemoteError(f"Cannot read {url}: its certificate is not valid ({error.reason}).") from error
            raise error.reason if isinstance(error.reason, OSError) else error from None
        except http.client.HTTPException as error:
            raise ConnectionError(f"the answer broke off ({type(error).__name__})") from error


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to any server, as files on content networks need it, but not from https to anything else."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the request to make instead.

        Raises:
            RemoteError: It leads off the encrypted web.
        """
        protocol = urlsplit(newurl).scheme
        if protocol != "https" and (protocol != "http" or req.type != "http"):
            fp.close()
            where = f"{protocol}://{urlsplit(newurl).hostname}"
            raise RemoteError(f"{req.full_url} redirects to {where}, which is not followed: it is not encrypted.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _pieces(response: http.client.HTTPResponse, limit: int | None) -> Iterator[bytes]:
    while limit is None or limit > 0:
        piece = response.read(_PIECE_BYTES if limit is None else min(_PIECE_BYTES, limit))
        if not piece:
            return
        if limit is not None:
            limit -= len(piece)
        yield piece


def _total(content_range: str | None) -> int | None:
    """Return the whole size that `Content-Range: bytes 0-0/42` tells."""
    return _number((content_range or "").rpartition("/")[2])


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None
