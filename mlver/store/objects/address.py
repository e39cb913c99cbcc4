"""URIs of references: which are allowed, what they lose before they are kept, and what they name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from mlver.errors import UsageError
from mlver.store.remote.secrets import without_credentials

MAX_URI_BYTES = 8192
_BUCKET = re.compile(r"(s3|gs)://([^/?#@:\s]+)(?:/(.*))?", re.DOTALL)
_OTHER_NAMES = {"s3a": "s3", "gcs": "gs"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SECRET = re.compile(
    r"x-(amz|goog|oss|ms|cos)-.*|(google|aws|oss)access(key)?id|signature|sig|expires|policy|key-pair-id|hdnea"
    r"|((api|access)[-_]?)?key|auth|authorization|credentials?|jwt|.*(token|secret|passw(or)?d).*",
    re.IGNORECASE,
)
"""Names of parameters that grant access to whoever has the URL."""


class Location(NamedTuple):
    """What a URI names.

    Attributes:
        root: The bucket or server: `s3://data`, `https://example.org`; `file://` for all files.
        key: The object in the bucket; the whole URL for a web server; a file's path.
    """

    root: str
    key: str

    @property
    def protocol(self) -> str:
        """Such as `s3`."""
        return self.root.partition(":")[0]


class Cleaned(NamedTuple):
    """A URI that may be kept.

    Attributes:
        uri: Without credentials and signatures.
        lost: What was taken off it, for a person; None if nothing.
    """

    uri: str
    lost: str | None


def clean_uri(text: str) -> Cleaned:
    """Return the URI that a person gave as it may be kept.

    A query that has a signature or another secret in it is taken off, all of it.

    Raises:
        UsageError: It is no URI of a known kind, or has credentials in it.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        hint = f"Write file://{os.path.abspath(text)}, or s3://, gs:// or https:// and so on."
        raise UsageError(f"{text!r} is no URI.", hint)
    scheme = _OTHER_NAMES.get(scheme.lower(), scheme.lower())
    uri, lost = _without_secrets(f"{scheme}://{rest}")
    if problem := uri_problem(uri):
        raise UsageError(f"The reference {shown(uri)!r} {problem}.")
    if scheme == "file":
        uri = _plain_file(uri)
    elif scheme in ("http", "https"):
        uri = uri.partition("#")[0]
    return Cleaned(uri, lost)


def shown(uri: str) -> str:
    """Return a URI that may have credentials in it without them."""
    return without_credentials(uri)


def without_secrets(argument: str) -> str:
    """Return an argument of a command line as it may be recorded, if there is a URI in it or not."""
    option, separator, rest = argument.partition("://")
    if not separator:
        return argument
    name, equals, scheme = option.rpartition("=")
    return name + equals + shown(_without_secrets(f"{scheme}://{rest}")[0])


def _without_secrets(uri: str) -> tuple[str, str | None]:
    base, separator, query = uri.partition("?")
    names = [name for name, _ in parse_qsl(query.partition("#")[0], keep_blank_values=True)] if separator else []
    secrets = [name for name in names if _SECRET.fullmatch(name)]
    if not secrets:
        return uri, None
    return base, f"its query, which has {', '.join(sorted(set(secrets)))} in it"


def _plain_file(uri: str) -> str:
    path = os.path.normpath(_file_path(uri))
    return Path(path).as_uri() + ("/" if uri.endswith("/") and path != "/" else "")


def uri_problem(uri: str) -> str | None:
    """Return why a URI must not be stored or followed, None if it may.

    Unknown protocols are fine here: whoever wants to read from there is told.
    """
    try:
        encoded = uri.encode("utf-8", "strict")
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except (UnicodeEncodeError, ValueError) as error:
        return f"is malformed ({type(error).__name__})"
    if len(encoded) > MAX_URI_BYTES or _CONTROL.search(uri):
        return f"is longer than {MAX_URI_BYTES} bytes, or has control characters in it"
    if not re.match(r"[a-z][a-z0-9+.-]*://", uri):
        return "does not begin with a protocol"
    if "@" in parts.netloc:
        return "has credentials in it, which would be kept: they come from the usual places of each SDK"
    return _place_problem(uri, parts.scheme, host)


def _place_problem(uri: str, scheme: str, host: str | None) -> str | None:
    if scheme in ("s3", "gs") and not _BUCKET.fullmatch(uri):
        return "names no bucket"
    if scheme in ("http", "https") and not host:
        return "names no host"
    if scheme == "file" and (host not in (None, "localhost") or not _file_path(uri).startswith("/")):
        return "names no file of this machine: write file:/// and an absolute path"
    if scheme == "file" and "\0" in _file_path(uri):
        return "has a zero byte in it"
    return None


def _file_path(uri: str) -> str:
    rest = uri.removeprefix("file://")
    return unquote(rest.removeprefix("localhost") if rest.startswith("localhost/") else rest)


def locate(uri: str) -> Location:
    """Return what a URI names that has no problem.

    Raises:
        UsageError: Its protocol is not known here.
    """
    if bucket := _BUCKET.fullmatch(uri):
        return Location(f"{bucket[1]}://{bucket[2]}", bucket[3] or "")
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        return Location(urlunsplit((parts.scheme, parts.netloc, "", "", "")), uri)
    if parts.scheme == "file":
        return Location("file://", _file_path(uri))
    raise UsageError(
        f"The protocol of the reference {uri} is not known here.",
        "Known are s3://, gs://, https://, http:// and file://.",
    )


def uri_of(location: Location) -> str:
    """Return the URI of a location; `locate` takes it apart again."""
    if location.protocol == "file":
        return Path(location.key).as_uri()
    return location.key if location.protocol in ("http", "https") else f"{location.root}/{location.key}"


def last_name(uri: str) -> str:
    """Return what an object or prefix is called: the last part of its path, or the bucket's name."""
    location = locate(uri)
    if location.protocol in ("http", "https"):
        return unquote(urlsplit(uri).path.rstrip("/").rpartition("/")[2])
    return location.key.rstrip("/").rpartition("/")[2] or location.root.rpartition("/")[2]
