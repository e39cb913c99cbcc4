"""A web server that does what its test wants: no entity tags, no lengths, redirects, contents that change meanwhile."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What a path answers with.

    Attributes:
        content: Its bytes.
        etag: Sent as it is, if there is one.
        tells_length: Whether the length is sent; else the answer ends when the connection does.
        knows_ranges: Whether parts can be asked for.
        location: Where it redirects to, if it does.
        status: What it refuses with, if not 0.
        turns: Contents that it has afterwards, one more with each request.
        lie: How many more bytes are promised than sent.
        instead: Sent instead of an answer, before the connection ends.
    """

    content: bytes = b""
    etag: str | None = None
    tells_length: bool = True
    knows_ranges: bool = False
    location: str | None = None
    status: int = 0
    turns: list[tuple[bytes, str]] = field(default_factory=list)
    lie: int = 0
    instead: bytes | None = None


@dataclass
class OddWeb:
    """A running server.

    Attributes:
        url: Of its root, without a `/` at the end.
        pages: By path, with a `/` at the start.
        requests: Paths and headers of all requests, in order.
    """

    url: str
    pages: dict[str, Page] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    web: OddWeb

    def do_GET(self) -> None:
        self.web.requests.append((self.path, dict(self.headers)))
        page = self.web.pages.get(self.path.partition("?")[0])
        if page is None or page.status:
            self.send_error(page.status if page else 404)
        elif page.instead is not None:
            self.wfile.write(page.instead)
        elif page.location is not None:
            self._head(302, {"Location": page.location, "Content-Length": "0"})
        elif page.etag and self.headers.get("If-Match", page.etag) != page.etag:
            self.send_error(412)
        else:
            self._answer(page, self.headers.get("Range") if page.knows_ranges else None)

    def _answer(self, page: Page, part: str | None) -> None:
        whole = len(page.content)
        first, last = map(int, re.findall(r"\d+", part)) if part else (0, whole - 1)
        if part and first >= whole:
            self._head(416, {"Content-Range": f"bytes */{whole}", "Content-Length": "0"})
            return
        body = page.content[first : last + 1]
        headers = {"ETag": page.etag} if page.etag else {}
        if part:
            headers["Content-Range"] = f"bytes {first}-{min(last, whole - 1)}/{whole}"
        if page.tells_length:
            headers["Content-Length"] = str(len(body) + page.lie)
        self._head(206 if part else 200, headers)
        if page.turns:
            page.content, page.etag = page.turns.pop(0)
        self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is given
        return


@contextmanager
def odd_web() -> Iterator[OddWeb]:
    """Start one on a free port of the loopback."""
    web = OddWeb("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": web}))
    server.daemon_threads = True
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
