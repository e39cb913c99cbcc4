"""Where a version comes from, as a person reads it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from mlver.cli.app import PROGRAM
from mlver.cli.text import number
from mlver.history.records import RunRecord

_COMMIT_DIGITS = 12


def origin_fields(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return provenance with commands as a person would type them, and code and inputs in a line each.

    Whatever does not have the form that mlver gives it stays as it is.
    """
    shown = dict(provenance)
    for key, before in (("command", [PROGRAM]), ("parent", [])):
        words = shown.get(key)
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            shown[key] = shlex.join([*before, *words])
    if isinstance(shown.get("code"), dict):
        shown["code"] = _code(shown["code"]) or shown["code"]
    if isinstance(shown.get("inputs"), list):
        names = [_input(entry) for entry in shown["inputs"]]
        shown["inputs"] = shown["inputs"] if None in names else ", ".join(map(str, names))
    return {key: value for key, value in shown.items() if value not in ("", None)}


def maker_fields(run: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield what a person wants to know first of the run that made a version."""
    name = f"{run.name} ({run.id[:8]})" if run.name else run.id[:8]
    job = f", {run.job_type}" if run.job_type else ""
    yield "run", f"{name}{job}, {run.status}; see: {PROGRAM} show run:{run.id[:8]}"
    if run.config:
        yield "config", " ".join(f"{key}={number(value)}" for key, value in sorted(run.config.items()))
    if run.inputs:
        yield "used", ", ".join(link.name for link in run.inputs)
    if code := _code(run.code):
        yield "code", code


def _code(code: Mapping[str, Any]) -> str:
    branch, commit = code.get("branch"), code.get("commit")
    parts = [text for text in (branch, str(commit)[:_COMMIT_DIGITS] if commit else None) if isinstance(text, str)]
    if parts and code.get("dirty"):
        parts.append("with changes" if code.get("patch") else "with changes that were not kept")
    return " ".join(parts)


def _input(entry: Any) -> str | None:
    if isinstance(entry, dict) and isinstance(entry.get("artifact"), str) and isinstance(entry.get("version"), int):
        return f"{entry['artifact']}:v{entry['version']}"
    return None
