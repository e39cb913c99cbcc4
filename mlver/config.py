"""`config.toml`: what a person sets for one repository. Never a secret, and never needed to read what is stored."""

from __future__ import annotations

import getpass
import socket
import tomllib
from dataclasses import dataclass
from typing import Any, Literal, get_args

from mlver.errors import MlverError, UsageError

CONFIG_NAME = "config.toml"
Compression = Literal["fast", "balanced", "max"]
"""How much time smaller packs are worth; docs/benchmarks.md has the table."""
COMPRESSIONS: tuple[Compression, ...] = get_args(Compression)


@dataclass(frozen=True, slots=True)
class Config:
    """A repository's settings.

    Attributes:
        identity: Who is recorded as the author of events, such as `ada@workstation`.
        compression: What `add` spends on making packs small.
    """

    identity: str
    compression: Compression


def parse_config(text: bytes) -> Config:
    """Read a `config.toml`.

    Raises:
        MlverError: It is not TOML, or a value has the wrong type.
    """
    try:
        document = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MlverError(
            f"config.toml cannot be read: {error}.",
            "Mend or delete .mlver/config.toml.",
        ) from error
    identity = _table(document, "identity").get("name", "")
    if not isinstance(identity, str):
        raise MlverError("config.toml: identity.name must be text.")
    compression = check_compression(document.get("compression", "balanced"), "config.toml: ")
    return Config(identity or default_identity(), compression)


def check_compression(word: Any, where: str = "") -> Compression:
    """Return a level of compression.

    Raises:
        UsageError: There is no such level; `where` begins the message.
    """
    if word not in COMPRESSIONS:
        raise UsageError(f"{where}compression {word!r} is not known.", f"Choose one of: {', '.join(COMPRESSIONS)}.")
    return word  # type: ignore[no-any-return]


def new_config_text() -> bytes:
    """Return the `config.toml` of a new repository."""
    import tomli_w

    return tomli_w.dumps({"compression": "balanced", "identity": {"name": ""}}).encode()


def default_identity() -> str:
    """Return `user@host` of this process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container without a passwd entry for its user
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _table(document: dict[str, Any], key: str) -> dict[str, Any]:
    table = document.get(key, {})
    if not isinstance(table, dict):
        raise MlverError(f"config.toml: {key} must be a table.")
    return table
