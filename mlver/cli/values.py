"""Values from the command line: `K=V` pairs and files of metadata."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlver.errors import UsageError

_FILE_MAX_BYTES = 8 << 20


def metadata(pairs: Sequence[str], file: Path | None = None) -> dict[str, Any]:
    """Return metadata from a file and `K=V` pairs; pairs come after and win.

    A value that is JSON (a number, `true`, `null`, a list, an object, a quoted string) is that; all else is text.

    Raises:
        UsageError: A pair has no `=`, or the file cannot be read or is not a table of values.
    """
    values = _read_file(file) if file is not None else {}
    for pair in pairs:
        key, value = _split(pair, "--meta")
        values[key] = _typed(value)
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
            values[key] = int(value) if value.strip().lstrip("+-").isdigit() else float(value)
        except ValueError as error:
            raise UsageError(f"Metric {key!r} is {value!r}, which is not a number.") from error
    return values


def _split(pair: str, option: str) -> tuple[str, str]:
    key, separator, value = pair.partition("=")
    if not separator or not key.strip():
        raise UsageError(f"{pair!r} is not KEY=VALUE.", f"Write it like: {option} epochs=3")
    return key.strip(), value


def _typed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text


def _refuse_constant(text: str) -> Any:
    raise UsageError(f"{text} is not a value that metadata can hold.", "Use a number, text, or null.")


def _read_file(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _FILE_MAX_BYTES:
            raise UsageError(f"{file} is larger than {_FILE_MAX_BYTES >> 20} MiB, too large for metadata.")
        text = file.read_text(encoding="utf-8")
        document = _parse(text, file.suffix.lower())
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {os.strerror(error.errno or 0)}.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read: {error}.") from error
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise UsageError(f"{file} does not hold a table of named values.")
    return {key: json_values(value) for key, value in document.items()}


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


def json_values(value: Any) -> Any:
    """Return a value with TOML's and YAML's dates and times as ISO 8601 text, and all keys as text."""
    if isinstance(value, dict):
        return {str(key): json_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [json_values(item) for item in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value
