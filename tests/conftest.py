"""How tests run, and real servers, one of each kind for all tests that ask for it. See `tests.support.servers`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import hypothesis
import pytest

from tests.support.servers import Server, start_gcs, start_https, start_s3, start_sftp

# How long an example takes depends on what else the machine does. The same code meets the same examples, so that it
# passes everywhere or nowhere; `pytest --hypothesis-profile=explore` looks for others.
hypothesis.settings.register_profile("mlver", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.load_profile("mlver")
# A shell's background job ignores ^C, and so would all that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _running(start: Callable[[], Server]) -> Iterator[Server]:
    """Yield a server, with the environment that its clients need; it is killed at the end."""
    server = start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server
    server.stop()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Server]:
    yield from _running(start_s3)


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[Server]:
    yield from _running(start_gcs)


@pytest.fixture(scope="session")
def sftp_server() -> Iterator[Server]:
    yield from _running(start_sftp)


@pytest.fixture(scope="session")
def https_server() -> Iterator[Server]:
    yield from _running(start_https)
