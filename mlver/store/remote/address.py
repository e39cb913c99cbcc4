"""Where a remote is: a URL without secrets, and the options that `config.toml` may hold beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from mlver.errors import UsageError
from mlver.store.remote.secrets import without_secrets_in

OPTIONS = ("endpoint", "region", "profile", "prefix", "project", "anonymous", "key-file", "known-hosts", "library")
"""What may be set for a remote. No secret is among them."""
_PROTOCOLS = {"s3a": "s3", "gcs": "gs", "ssh": "sftp", "local": "file"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a remote is.

    Attributes:
        url: As it is kept and shown.
        options: Some of `OPTIONS`.
    """

    url: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def protocol(self) -> str:
        """Such as `s3`; `file` for a folder."""
        protocol = urlsplit(self.url).scheme if "://" in self.url else "file"
        return _PROTOCOLS.get(protocol, protocol)

    @property
    def host(self) -> str:
        """Bucket or machine, with its port, if there is one."""
        return urlsplit(self.url).netloc

    @property
    def path(self) -> str:
        """What comes after the host, with the prefix; a folder's path for `file`."""
        parts = urlsplit(self.url) if "://" in self.url else None
        path = parts.path if parts is not None else self.url
        prefix = self.options.get("prefix", "").strip("/")
        return f"{path.rstrip('/')}/{prefix}" if prefix else path


def check_address(url: str, options: Mapping[str, str] | None = None, base: Path | None = None) -> Address:
    """Return the address that a person gave, after refusing what must not be kept.

    Args:
        url: A URL, or a folder's path.
        options: Settings by name.
        base: The folder that a relative path is seen from.

    Raises:
        UsageError: It has credentials or a query in it, or is no address; or an option is not known.
    """
    options = dict(options or {})
    for name in options:
        if name not in OPTIONS:
            raise UsageError(f"A remote has no option {name!r}.", f"Choose from: {', '.join(OPTIONS)}.")
    if "endpoint" in options:
        _check_endpoint(options["endpoint"])
    if not url or any(ord(character) < 32 for character in url):
        raise UsageError("A remote's URL is empty or has control characters in it.")
    if "://" not in url:
        path = os.path.abspath(base / url if base is not None else url)
        return Address(path, options)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{without_secrets_in(url)!r} is no URL.") from error
    _check_parts(parts)
    stripped = url.rstrip("/")
    address = Address(stripped if "://" in stripped else url, options)  # else s3:// would be the folder "s3:"
    if address.protocol in ("s3", "gs", "sftp", "http", "https") and not parts.hostname:
        raise UsageError(f"{url!r} names no {'bucket' if address.protocol in ('s3', 'gs') else 'host'}.")
    if port is not None and address.protocol in ("s3", "gs"):
        raise UsageError(f"{url!r} has a port: a bucket has none.", "Give the server with --endpoint URL.")
    return address


def _check_endpoint(url: str) -> None:
    """Refuse a server's URL that has what may be a secret in it: it is kept in `config.toml`."""
    if without_secrets_in(url) != url or "?" in url:
        raise UsageError(
            "The endpoint has credentials or a query in it, which would be kept in config.toml.",
            "Leave them out: they come from the usual places of each SDK.",
        )


def _check_parts(parts: SplitResult) -> None:
    """Refuse a remote's URL with what may be a secret in it: it is kept in `config.toml`."""
    if parts.password is not None or (parts.username is not None and parts.scheme not in ("sftp", "ssh")):
        raise UsageError(
            "The URL has credentials in it, which would be kept in config.toml.",
            "Leave them out: they come from the usual places, such as ~/.aws, the environment, or an SSH agent.",
        )
    if parts.query or parts.fragment:
        raise UsageError(
            "The URL has a query in it, which may be a signature.", "Give the plain URL of the folder or bucket."
        )
