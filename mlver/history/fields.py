"""What the names in an expression mean, asked of a version or a run: `val_acc`, `metrics.val_acc`, `config.lr`.

A path is a key, or keys of objects within objects joined by dots. A key may hold dots itself: the longest one that is
there is tried first, so `a.b` finds both `{"a.b": 1}` and `{"a": {"b": 1}}`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mlver.expressions import Value
    from mlver.history.records import MetricSummary, RunRecord, VersionRecord

MISSING: Final = object()
"""What a path finds where there is nothing; null is a value."""

_VERSION_FIELDS = (
    "artifact", "type", "number", "created_at", "created_by", "message", "note", "logical_bytes", "new_bytes",
    "stored_bytes", "file_count", "tensor_count", "reference_count", "reference_bytes",
)  # fmt: skip
_RUN_FIELDS = (
    "id", "name", "job_type", "status", "started_at", "started_by", "exit_code", "duration_seconds",
)  # fmt: skip
_SUMMARY_FIELDS = {"last": "last", "min": "min", "max": "max", "count": "value_count", "nan": "nan_count"}


def look_up(values: Mapping[str, Any], path: str) -> Any:
    """Return what is at a path of an object, `MISSING` if nothing is."""
    if path in values:
        return values[path]
    end = path.rfind(".")
    while end > 0:
        inner = values.get(path[:end])
        if isinstance(inner, Mapping) and (found := look_up(inner, path[end + 1 :])) is not MISSING:
            return found
        end = path.rfind(".", 0, end)
    return MISSING


def paths(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the paths to everything in an object that is no object itself."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from paths(value, f"{path}.")
        else:
            yield path


def as_value(found: Any) -> Value:
    """Return what was found as an expression can use it: lists and objects as JSON text, NaN and nothing as null."""
    if found is MISSING or found is None or (isinstance(found, float) and math.isnan(found)):
        return None
    if isinstance(found, bool | int | float | str):
        return found
    return json.dumps(found, ensure_ascii=False, sort_keys=True)


def version_field(version: VersionRecord, name: str) -> Any:
    """Return what a name means of a version, `MISSING` if nothing.

    A bare name is a metric; then one of the version's own fields, such as `logical_bytes`; then a key of its metadata.
    `metrics.NAME` and `metadata.NAME` say which.
    """
    group, separator, rest = name.partition(".")
    if separator and group in ("metrics", "metadata"):
        found = look_up(version.metrics if group == "metrics" else version.metadata, rest)
        if found is not MISSING:
            return found
    found = look_up(version.metrics, name)
    if found is MISSING and name in _VERSION_FIELDS:
        return getattr(version, name)
    return look_up(version.metadata, name) if found is MISSING else found


def version_names(version: VersionRecord) -> Iterator[str]:
    """Yield the names that mean something of a version, as short as they can be."""
    yield from paths(version.metrics)
    yield from _VERSION_FIELDS
    yield from (f"metadata.{path}" for path in paths(version.metadata))


def run_field(run: RunRecord, name: str) -> Any:
    """Return what a name means of a run, `MISSING` if nothing.

    A bare name is a metric, by which its last value is meant; then one of the run's own fields, such as `job_type`;
    then a key of its config. `metrics.NAME`, `config.NAME` and `code.NAME` say which, `metrics.NAME.max` another
    summary.
    """
    group, separator, rest = name.partition(".")
    if separator and group == "metrics" and (found := _metric(run.metrics, rest)) is not MISSING:
        return found
    if separator and group in ("config", "code"):
        found = look_up(run.config if group == "config" else run.code, rest)
        if found is not MISSING:
            return found
    found = _metric(run.metrics, name)
    if found is MISSING and name in _RUN_FIELDS:
        return getattr(run, name)
    return look_up(run.config, name) if found is MISSING else found


def run_names(run: RunRecord) -> Iterator[str]:
    """Yield the names that mean something of a run, as short as they can be."""
    yield from run.metrics
    yield from _RUN_FIELDS
    yield from (f"config.{path}" for path in paths(run.config))
    yield from (f"code.{path}" for path in paths(run.code))


def _metric(metrics: Mapping[str, MetricSummary], name: str) -> Any:
    if name in metrics:
        return metrics[name].last
    metric, _, part = name.rpartition(".")
    if metric in metrics and part in _SUMMARY_FIELDS:
        return getattr(metrics[metric], _SUMMARY_FIELDS[part])
    return MISSING
