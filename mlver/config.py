"""`config.toml`: what a person sets for one repository. Never a secret, and never needed to read what is stored."""

from __future__ import annotations

import getpass
import socket
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from mlver.errors import MlverError, UsageError

CONFIG_NAME = "config.toml"
Compression = Literal["fast", "balanced", "max"]
"""How much time smaller packs are worth; docs/benchmarks.md has the table."""
COMPRESSIONS: tuple[Compression, ...] = get_args(Compression)
REFERENCE_CACHE_BYTES = 10_000_000_000
"""What downloaded references may take in a repository unless `config.toml` says otherwise."""

HOOK_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class SigningConfig:
    """Whose signatures count, and whether there must be one.

    Attributes:
        trusted: Public keys as PEM, or paths of such files, relative to the folder that `.mlver` is in.
        required: Nothing is pulled that does not bear a signature of one of them.
    """

    trusted: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    """A repository's settings.

    Attributes:
        identity: Who is recorded as the author of events, such as `ada@workstation`.
        compression: What `add` spends on making packs small.
        remotes: By name, each with its `url` and options as texts; `mlver.store.remote.address` knows them.
        references: Options as texts of buckets that references point to, by their root, such as `s3://data`.
        reference_cache_bytes: What downloaded references may take in the repository; 0: keep none.
        retention: Which versions are kept, as it is written; `mlver.ops.retention` understands it.
        hook_timeout_seconds: When a hook is killed.
        gc_auto: Whether `add` collects now and then what nobody uses.
        signing: Whose signatures count.
        unknown: What is set and means nothing, by its name with dots: a slip, or a later mlver's.
    """

    identity: str
    compression: Compression
    remotes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    references: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    reference_cache_bytes: int = REFERENCE_CACHE_BYTES
    retention: Mapping[str, Any] = field(default_factory=dict)
    gc_auto: bool = True
    hook_timeout_seconds: float = HOOK_TIMEOUT_SECONDS
    signing: SigningConfig = field(default_factory=SigningConfig)
    unknown: tuple[str, ...] = ()


_TABLES = {"identity": {"name"}, "hooks": {"timeout"}, "signing": {"trusted", "require"}}
"""The tables whose keys are all known, and these."""
_SETTINGS = {"compression", "reference_cache_bytes", "gc_auto", "remotes", "references", "retention", *_TABLES}


def parse_config(text: bytes) -> Config:
    """Read a `config.toml`.

    Raises:
        MlverError: It is not TOML, or a value has the wrong type.
    """
    try:
        document = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MlverError(
            f"config.toml cannot be read: {error}.",
            "Mend or delete .mlver/config.toml.",
        ) from error
    identity = _table(document, "identity").get("name", "")
    if not isinstance(identity, str):
        raise MlverError("config.toml: identity.name must be text.")
    compression = check_compression(document.get("compression", "balanced"), "config.toml: ")
    cache_bytes = document.get("reference_cache_bytes", REFERENCE_CACHE_BYTES)
    if type(cache_bytes) is not int or cache_bytes < 0:
        raise MlverError("config.toml: reference_cache_bytes must be a number of bytes.")
    gc_auto = document.get("gc_auto", True)
    if type(gc_auto) is not bool:
        raise MlverError("config.toml: gc_auto must be true or false.")
    return Config(
        identity or default_identity(),
        compression,
        _remotes(document),
        _references(document),
        cache_bytes,
        _table(document, "retention"),
        gc_auto,
        _hook_timeout(document),
        _signing(document),
        tuple(_unknown(document)),
    )


def notice_of(setting: str) -> str:
    """Return what to tell a person of a setting that means nothing."""
    from difflib import get_close_matches

    known = _SETTINGS | {f"{table}.{key}" for table, keys in _TABLES.items() for key in keys}
    close = get_close_matches(setting, sorted(known), n=1)
    return f"config.toml: {setting} is no setting of this mlver and was ignored." + (
        f" Did you mean {close[0]}?" if close else ""
    )


def _unknown(document: dict[str, Any]) -> Iterator[str]:
    yield from (key for key in document if key not in _SETTINGS)
    for table, keys in _TABLES.items():
        yield from (f"{table}.{key}" for key in _table(document, table) if key not in keys)


def _signing(document: dict[str, Any]) -> SigningConfig:
    table = _table(document, "signing")
    trusted, required = table.get("trusted", []), table.get("require", False)
    if not isinstance(trusted, list) or not all(isinstance(key, str) for key in trusted):
        raise MlverError("config.toml: signing.trusted must be a list of public keys, or of their files.")
    if type(required) is not bool:
        raise MlverError("config.toml: signing.require must be true or false.")
    return SigningConfig(tuple(trusted), required)


def _hook_timeout(document: dict[str, Any]) -> float:
    seconds = _table(document, "hooks").get("timeout", HOOK_TIMEOUT_SECONDS)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise MlverError("config.toml: hooks.timeout must be a number of seconds.")
    return float(seconds)


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


def with_remote(text: bytes, name: str, settings: Mapping[str, str] | None) -> bytes:
    """Return a `config.toml` with a remote set, or (None) taken out; everything else stays but comments.

    Raises:
        MlverError: The text is no `config.toml`.
    """
    return _with_entry(text, "remotes", name, settings)


def with_reference_options(text: bytes, root: str, options: Mapping[str, str]) -> bytes:
    """Return a `config.toml` with the options of a bucket that references point to; all else stays but comments.

    Raises:
        MlverError: The text is no `config.toml`.
    """
    return _with_entry(text, "references", root, options)


def with_retention(text: bytes, path: tuple[str, str] | None, rules: Mapping[str, Any] | None) -> bytes:
    """Return a `config.toml` with the rules of one scope set, or (None) taken out; all else stays but comments.

    Args:
        text: The `config.toml`.
        path: `types` or `artifacts`, and a name; None is the repository.
        rules: As they are to be written.

    Raises:
        MlverError: The text is no `config.toml`.
    """
    import tomli_w

    parse_config(text)
    document = tomllib.loads(text.decode("utf-8"))
    retention = dict(_table(document, "retention"))
    if path is None:
        retention = {key: value for key, value in retention.items() if key in ("types", "artifacts")}
        retention |= rules or {}
    else:
        entries = dict(_table(retention, path[0]))
        entries.pop(path[1], None)
        entries |= {path[1]: dict(rules)} if rules is not None else {}
        retention = {key: value for key, value in retention.items() if key != path[0]}
        retention |= {path[0]: entries} if entries else {}
    document.pop("retention", None)
    return tomli_w.dumps(document | ({"retention": retention} if retention else {})).encode()


def _with_entry(text: bytes, table: str, name: str, settings: Mapping[str, str] | None) -> bytes:
    import tomli_w

    parse_config(text)
    document = tomllib.loads(text.decode("utf-8"))
    entries = dict(_table(document, table))
    entries.pop(name, None)
    if settings is not None:
        entries[name] = dict(settings)
    document.pop(table, None)
    return tomli_w.dumps(document | ({table: entries} if entries else {})).encode()


def _remotes(document: dict[str, Any]) -> dict[str, dict[str, str]]:
    remotes: dict[str, dict[str, str]] = {}
    for name, settings in _table(document, "remotes").items():
        if not isinstance(settings, dict) or not isinstance(settings.get("url"), str):
            raise MlverError(f"config.toml: remotes.{name} must be a table with a url.")
        remotes[name] = {key: str(value) for key, value in settings.items()}
    return remotes


def _references(document: dict[str, Any]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for root, options in _table(document, "references").items():
        if not isinstance(options, dict):
            raise MlverError(f"config.toml: references.{root!r} must be a table of options.")
        found[root] = {key: str(value) for key, value in options.items()}
    return found


def _table(document: dict[str, Any], key: str) -> dict[str, Any]:
    table = document.get(key, {})
    if not isinstance(table, dict):
        raise MlverError(f"config.toml: {key} must be a table.")
    return table
