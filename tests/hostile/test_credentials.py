"""Credentials: whatever was given as one must be nowhere afterwards, neither on a screen nor in any file.

A canary is put into every place where credentials come from; then all that mlver printed and all it wrote is searched.
"""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
import tomllib
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pytest
import zstandard

from mlver.errors import MlverError
from mlver.store.remote.failures import remote_error
from mlver.store.remote.secrets import without_credentials, without_secrets_in
from tests.cli.conftest import Person
from tests.support.keys import make_key

CANARY = "c4n4ryS3cr3t"
HARD = f"pa/{CANARY}"
"""With a slash, which ought to have been escaped: URL parsers take what precedes it for the host."""

URLS = [
    f"s3://AKIA:{CANARY}@bucket/prefix",
    f"s3://AKIA:{HARD}@bucket/prefix",
    f"gs://{CANARY}@bucket/prefix",
    f"https://user:{CANARY}@127.0.0.1:9/x",
    f"https://user:{HARD}@127.0.0.1:9/x",
    f"https://{CANARY}@127.0.0.1:9/x",
    f"https://127.0.0.1:9/x?X-Amz-Signature={CANARY}&X-Amz-Credential=1",
    f"https://127.0.0.1:9/x?sv=1&sig={CANARY}",
    f"https://127.0.0.1:9/x?token={CANARY}",
    f"https://127.0.0.1:9/x#access_token={CANARY}",
    f"http://user:{CANARY}@[::1/x",
    f"sftp://ada:{CANARY}@127.0.0.1/x",
    f"s3://bucket:{CANARY}@x:y/z",
]
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": f"AKIA{CANARY}",
    "AWS_SECRET_ACCESS_KEY": CANARY,
    "AWS_SESSION_TOKEN": CANARY,
    "GOOGLE_APPLICATION_CREDENTIALS": f"/nonexistent/{CANARY}",
    "GITHUB_TOKEN": CANARY,
    "WANDB_API_KEY": CANARY,
    "HF_TOKEN": CANARY,
    "DATABASE_URL": f"postgres://u:{CANARY}@h/d",
}


def searched(folder: Path) -> list[str]:
    """Return the files in which the canary is: as it is, or in what zstd or zlib packed, or in another spelling."""
    needles = (CANARY.encode(), quote(CANARY).encode(), CANARY.encode("utf-16-le"), CANARY.encode().hex().encode())
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            texts = [data, str(path).encode(), *unpacked(data)]
            found += [str(path)] if any(needle in text for text in texts for needle in needles) else []
    return found


def unpacked(data: bytes) -> list[bytes]:
    """Return what zstd frames in some bytes unfold to."""
    found = []
    for match in re.finditer(rb"\x28\xb5\x2f\xfd", data):
        try:
            found.append(zstandard.ZstdDecompressor().decompressobj().decompress(data[match.start() :]))
        except zstandard.ZstdError:
            continue
    for match in re.finditer(rb"\x78[\x01\x9c\xda]", data):
        try:
            found.append(zlib.decompressobj().decompress(data[match.start() :]))
        except zlib.error:
            continue
    return found


@pytest.fixture
def watched(person: Person, monkeypatch: pytest.MonkeyPatch) -> tuple[Person, io.StringIO]:
    """A person whose every log line is kept, at the level of debugging; waiting between tries takes no time."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    ours = logging.getLogger("mlver")
    monkeypatch.setattr(ours, "handlers", [handler])
    monkeypatch.setattr(ours, "level", logging.DEBUG)
    monkeypatch.setattr("mlver.store.remote.patience._FIRST_PAUSE_SECONDS", 0.0)
    return person, log


@pytest.mark.parametrize("url", URLS)
def test_a_url_with_credentials_leaves_no_trace(watched: tuple[Person, io.StringIO], url: str) -> None:
    person, log = watched
    lines = [
        ["remote", "add", "origin", url],
        ["clone", url, "copy"],
        ["add", "--ref", url, "--name", "r", "--type", "t"],
    ]
    for line in lines:
        for arguments in (line, [*line, "--json"]):
            done = person.run(*arguments)
            assert done.code != 0, arguments
            assert CANARY not in done.out + done.err, arguments
            assert "Traceback" not in done.err
    assert CANARY not in log.getvalue()
    assert searched(person.here) == []


@pytest.mark.parametrize("endpoint", [f"http://user:{CANARY}@127.0.0.1:9", f"http://127.0.0.1:9/?sig={CANARY}"])
def test_an_endpoint_with_credentials_is_not_kept(person: Person, endpoint: str) -> None:
    for line in (
        ["remote", "add", "origin", "s3://bucket/x", "--endpoint", endpoint, "--anonymous"],
        ["clone", "s3://bucket/x", "copy", "--endpoint", endpoint],
        ["add", "--ref", "s3://bucket/x", "--name", "r", "--type", "t", "--ref-option", f"endpoint={endpoint}"],
    ):
        done = person.run(*line)
        assert (done.code, CANARY in done.out + done.err) == (2, False), line
    assert searched(person.here) == []


def test_a_config_that_somebody_wrote_credentials_into_is_refused_and_not_shown(person: Person) -> None:
    config = person.here / ".mlver/config.toml"
    for text in (
        f'[remotes.origin]\nurl = "https://user:{CANARY}@127.0.0.1:9/x"\n',
        f'[remotes.origin]\nurl = "s3://b/x"\nsecret = "{CANARY}"\n',
        f'[remotes.origin]\nurl = "s3://b/x"\nendpoint = "http://user:{CANARY}@127.0.0.1:9"\n',
    ):
        config.write_text(text)
        for line in ("fetch", "push", "remote", "remote show origin", "pull net -o out", "verify --remote"):
            for arguments in (line.split(), [*line.split(), "--json"]):
                done = person.run(*arguments)
                assert CANARY not in done.out + done.err, (text, line)
    assert tomllib.loads(config.read_text())["remotes"]["origin"]["endpoint"].endswith("127.0.0.1:9")  # it is theirs


def test_the_environment_leaves_no_trace(watched: tuple[Person, io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where it is used (a server that is not there is asked), nor where it has nothing to do with anything."""
    person, log = watched
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    (person.here / "w").write_text("w")
    said = ""
    for line in (
        "remote add origin s3://bucket/x --endpoint http://127.0.0.1:9 --region us-east-1",
        "add w --name new --type t",
        "show new --json",
        "show new",
        "reflog new",
        "log --all",
        "--help",
        "add --help",
        "nonsense",
    ):
        done = person.run(*line.split())
        said += done.out + done.err
        assert "Traceback" not in done.err, line
    assert CANARY not in said.replace(f"/nonexistent/{CANARY}", "")  # the name of a file is no secret
    assert CANARY not in log.getvalue().replace(f"/nonexistent/{CANARY}", "")
    assert searched(person.here) == []


def test_a_command_that_is_recorded_leaves_no_trace_of_its_secrets(
    watched: tuple[Person, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `run` and `add` record of code, command and environment, and what a key's password unlocks."""
    person, log = watched
    script = person.here / "train.py"
    script.write_text("print('trained')\n")
    for line in ("init -q", f"remote add origin https://ada:{CANARY}@example.org/x.git", "add train.py"):
        subprocess.run(["git", *line.split()], cwd=person.here, check=True)
    author = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", *author, "commit", "-q", "-m", "x"], cwd=person.here, check=True)
    monkeypatch.setenv("MY_API_KEY", CANARY)
    monkeypatch.setenv("MLVER_KEY_PASSWORD", CANARY)
    with TemporaryDirectory() as elsewhere:
        key = make_key(Path(elsewhere), "ada", password=CANARY.encode())
        said = ""
        for arguments in (
            ["run", "--", sys.executable, "train.py", "--token", CANARY, f"--password={CANARY}", f"https://u:{CANARY}@h/"],
            ["add", "train.py", "--name", "code", "--type", "t"],
            ["sign", "code", "--key", str(key)],
            ["runs", "--json"], ["show", "code", "--json"], ["reflog", "code", "--json"],
        ):  # fmt: skip
            done = person.run(*arguments)
            assert done.code == 0, done
            said += done.out + done.err
    assert CANARY not in said
    assert CANARY not in log.getvalue()
    assert searched(person.here / ".mlver") == []


@pytest.mark.parametrize(
    "text",
    [
        f"GET https://host/a?X-Amz-Signature={CANARY}&b=1 failed",
        f"Cannot connect to https://user:{CANARY}@host:443/x",
        f"'https://user:{HARD}@host/x' timed out",
        f"<Error>https://h/?sig={CANARY}</Error>",
    ],
)
def test_what_a_library_says_of_a_failure_is_searched_for_urls(text: str) -> None:
    for error in (RuntimeError(text), OSError(5, text), PermissionError(text), FileNotFoundError(text)):
        told = remote_error(error, "s3://bucket/x", "read", "format")
        assert isinstance(told, MlverError)
        assert CANARY not in told.message + (told.hint or "")
        assert "host" in told.message or "h/" in told.message


def test_what_is_no_secret_stays() -> None:
    for text in ("s3://bucket/a@b/c", "http://host:8080/a@b", "https://host/x", "a@b: no URL", "sftp://host:22/x@y"):
        assert without_credentials(text) == text
    assert without_secrets_in("https://host/x?a=1 and more") == "https://host/x?… and more"


def test_a_bug_shows_its_traceback_without_credentials(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one case with a traceback, which a person is asked to send to strangers."""

    def broken(*arguments: object) -> None:
        raise RuntimeError(f"cannot open https://user:{CANARY}@host/x?sig={CANARY}")

    monkeypatch.setattr("mlver.ops.opening.OpenRepository.artifact", broken)
    for arguments in (["log"], ["log", "--json"]):
        done = person.run(*arguments)
        assert done.code == 70
        assert "RuntimeError" in done.err
        assert CANARY not in done.err
