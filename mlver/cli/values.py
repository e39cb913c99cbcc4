"""Values from the command line: `K=V` pairs and files of metadata."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlver.errors import UsageError

_FILE_MAX_BYTES = 8 << 20
_MAX_VALUES = 100_000
_NUMBER = re.compile(r"[+-]?[0-9]+")


class _ConstantError(ValueError):
    """A value is NaN or an infinity, which JSON does not have."""


def metadata(pairs: Sequence[str], file: Path | None = None, option: str = "--meta") -> dict[str, Any]:
    """Return metadata, or settings, from a file and `K=V` pairs; pairs come after and win.

    A value that is JSON (a number, `true`, `null`, a list, an object, a quoted string) is that; all else is text.

    Raises:
        UsageError: A pair has no `=`, or the file cannot be read or is not a table of values.
    """
    values = _read_file(file) if file is not None else {}
    for pair in pairs:
        key, value = _split(pair, option)
        values[key] = _typed(key, value)
    return values


def metrics(pairs: Sequence[str]) -> dict[str, float]:
    """Return metrics from `K=V` pairs.

    Raises:
        UsageError: A pair has no `=`, or its value is not a number.
    """
    values: dict[str, float] = {}
    for pair in pairs:
        key, value = _split(pair, "--metric")
        try:
            values[key] = _number(value.strip())
        except ValueError as error:
            raise UsageError(f"Metric {key!r} is {value!r}, which is not a number.") from error
    return values


def texts(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """Return texts from `K=V` pairs.

    Raises:
        UsageError: A pair has no `=`.
    """
    return dict(_split(pair, option) for pair in pairs)


def _split(pair: str, option: str) -> tuple[str, str]:
    key, separator, value = pair.partition("=")
    if not separator or not key.strip():
        raise UsageError(f"{pair!r} is not KEY=VALUE.", f"Write it like: {option} epochs=3")
    return key.strip(), value


def _number(text: str) -> float:
    if not text.isascii() or "_" in text:
        raise ValueError  # Python would read 1_0 as 10
    return int(text) if _NUMBER.fullmatch(text) else float(text)


def _typed(key: str, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except _ConstantError as error:
        raise UsageError(f"Metadata {key!r} cannot be stored: {error}.", "Use a number, text, or null.") from error
    except (ValueError, RecursionError):
        return text


def _refuse_constant(text: str) -> Any:
    raise _ConstantError(f"{text} is no value of JSON")


def _read_file(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _FILE_MAX_BYTES:
            raise UsageError(f"{file} is larger than {_FILE_MAX_BYTES >> 20} MiB, too large for metadata.")
        text = file.read_text(encoding="utf-8-sig")
        document = _parse(text, file.suffix.lower())
        _check_count(document)
        values = json_values(document)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {os.strerror(error.errno or 0)}.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read: {error}.") from error
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise UsageError(f"{file} does not hold a table of named values.")
    return dict(values)


def _parse(text: str, suffix: str) -> Any:
    if suffix == ".toml":
        return tomllib.loads(text)
    if suffix in (".yaml", ".yml"):
        import yaml

        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(" ".join(str(error).split())) from error
    return json.loads(text, parse_constant=_refuse_constant)


def _check_count(document: Any) -> None:
    """Refuse what is small in the file and huge when written out: YAML may refer to a value from many places."""
    remaining = _MAX_VALUES
    stack = [document]
    while stack:
        remaining -= 1
        if remaining < 0:
            raise ValueError(f"it holds more than {_MAX_VALUES:,} values, or one that contains itself")
        value = stack.pop()
        if isinstance(value, dict):
            stack += value.values()
        elif isinstance(value, list | tuple | set):
            stack += value


def json_values(value: Any) -> Any:
    """Return a value with TOML's and YAML's dates and times as ISO 8601 text, and all keys as text."""
    if isinstance(value, dict):
        return {_key(key): json_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [json_values(item) for item in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value


def _key(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(json_values(key), default=str)
