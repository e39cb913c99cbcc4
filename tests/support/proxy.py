"""A bad connection: a proxy in front of a real server that refuses, cuts, stalls or loses what goes through it."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["busy", "slow down", "bad request", "forbidden", "not allowed", "reset", "lost reply", "cut", "stall"]
Policy = Callable[[str, str], Fault | None]
"""Says what happens to a request, given its method and path."""

_STATUS = {"busy": 503, "slow down": 429, "bad request": 400, "forbidden": 403, "not allowed": 405}
STALL_SECONDS = 30.0


class Proxy:
    """A running proxy.

    Args:
        target: URL of the server.

    Attributes:
        target: Host and port of the server.
        policy: What happens to each request; may be set at any time.
        alter_path: What is asked of the server instead of what the proxy was asked, for a server that knows less.
        alter_answer: What is answered instead of what the server said.
        seen: Method and path of each request so far.
        faults: How many of them something happened to.
    """

    def __init__(self, target: str) -> None:
        self.policy: Policy = lambda method, path: None
        self.alter_path: Callable[[str], str] = lambda path: path
        self.alter_answer: Callable[[bytes], bytes] = lambda data: data
        self.seen: list[tuple[str, str]] = []
        self.faults = 0
        self._lock = threading.Lock()
        self.target = urlsplit(target).netloc
        self._ended = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop it."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def decide(self, method: str, path: str) -> Fault | None:
        """Return what happens to a request."""
        with self._lock:
            self.seen.append((method, path))
            fault = self.policy(method, path)
            self.faults += fault is not None
            return fault

    def stall(self) -> None:
        """Wait as if the server had gone to sleep."""
        self._ended.wait(STALL_SECONDS)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: Proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _pass(self) -> None:
        fault = self.server.proxy.decide(self.command, self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fault == "stall":
            self.server.proxy.stall()
        if fault in ("reset", "stall"):
            self._hang_up()
        elif fault in _STATUS:
            self._answer(_STATUS[fault], [], b"<Error><Code>SlowDown</Code></Error>")
        else:
            self._forward(body, fault)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass  # noqa: N815 - as BaseHTTPRequestHandler wants it

    def _forward(self, body: bytes, fault: Fault | None) -> None:
        connection = http.client.HTTPConnection(self.server.proxy.target, timeout=60)
        try:
            path = self.server.proxy.alter_path(self.path)
            connection.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            data = self.server.proxy.alter_answer(answer.read())
        finally:
            connection.close()
        if fault == "lost reply":
            self._hang_up()
            return
        left_out = ("connection", "transfer-encoding", *(() if self.command == "HEAD" else ("content-length",)))
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in left_out]
        self._answer(answer.status, kept, data, cut=fault == "cut")

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def bad_connection(target: str) -> Iterator[Proxy]:
    """Run a proxy in front of a server."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()


def every(number: int, *faults: Fault) -> Policy:
    """Let each `number`-th request fail, in these ways in turn."""
    count = 0

    def policy(method: str, path: str) -> Fault | None:
        nonlocal count
        count += 1
        return faults[count // number % len(faults)] if count % number == 0 else None

    return policy
