"""The JSON document of a diff; docs/json.md describes it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlver.cli.diff_rows import table_document
from mlver.cli.documents import reference_document
from mlver.differences.values import ValueChange
from mlver.history.manifest import TensorEntry
from mlver.ops.diff.gates import GateFailure
from mlver.ops.diff.result import DiffResult, ModifiedFile, SideName, TensorChanges, TensorPair


def diff_document(result: DiffResult, failures: Sequence[GateFailure]) -> dict[str, Any]:
    """Return everything that differs."""
    return {
        "from": _side(result.before),
        "to": _side(result.after),
        "identical": result.identical,
        "identical_weights": result.identical_weights,
        "summary": result.summary,
        "metrics": [
            {
                "name": metric.name,
                "from": metric.before,
                "to": metric.after,
                "change": metric.change,
                "relative_change": metric.relative_change,
                "better": metric.is_better,
            }
            for metric in result.metrics
        ],
        "metadata": _values(result.metadata),
        "files": {
            "added": list(result.files.added),
            "removed": list(result.files.removed),
            "renamed": [{"from": pair.before, "to": pair.after} for pair in result.files.renamed],
            "modified": [file.after.path for file in result.files.modified],
            "unchanged_count": result.files.unchanged_count,
            "references": [
                {
                    "path": change.path,
                    "kind": change.kind,
                    "from": None if change.before is None else reference_document(change.before),
                    "to": None if change.after is None else reference_document(change.after),
                    "same_content": change.has_same_content,
                }
                for change in result.files.references
            ],
        },
        "contents": [_content(file) for file in result.files.modified],
        "tensors": _tensors(result.tensors),
        "measured": result.is_measured,
        "provenance": _values(result.provenance),
        "failures": [failure._asdict() for failure in failures],
    }


def _side(side: SideName) -> dict[str, Any]:
    version = side.version
    return {
        "name": side.name,
        "artifact": version.artifact if version else None,
        "version": f"v{version.number}" if version else None,
        "id": version.id if version else None,
        "path": side.path,
    }


def _values(changes: Iterable[ValueChange]) -> list[dict[str, Any]]:
    return [{"key": change.key, "kind": change.kind, "from": change.before, "to": change.after} for change in changes]


def _content(file: ModifiedFile) -> dict[str, Any]:
    return {
        "path": file.after.path,
        "from_path": file.before.path,
        "from_bytes": file.before.size_bytes,
        "to_bytes": file.after.size_bytes,
        "format": file.after.format,
        "executable": file.after.executable,
        "values": _values(file.content.values) if file.content else [],
        "lines": list(file.content.lines) if file.content else [],
        "table": table_document(file.table) if file.table else None,
        "problem": file.problem,
    }


def _tensors(tensors: TensorChanges) -> dict[str, Any]:
    return {
        "added": _described(tensors.added),
        "removed": _described(tensors.removed),
        "renamed": [{"from": pair.from_name, "to": pair.name} for pair in tensors.renamed],
        "reshaped": [pair.name for pair in tensors.changed if pair.is_reshaped],
        "recast": [pair.name for pair in tensors.changed if pair.is_recast],
        "changed": [_changed(pair) for pair in tensors.changed],
        "unchanged": list(tensors.unchanged),
    }


def _described(tensors: Mapping[str, TensorEntry]) -> list[dict[str, Any]]:
    return [
        {"name": name, "dtype": tensor.dtype, "shape": list(tensor.shape), "size_bytes": tensor.size_bytes}
        for name, tensor in tensors.items()
    ]


def _changed(pair: TensorPair) -> dict[str, Any]:
    figures = pair.figures
    return {
        "name": pair.name,
        "from_name": pair.from_name,
        "dtype": pair.after.dtype,
        "from_dtype": pair.before.dtype,
        "shape": list(pair.after.shape),
        "from_shape": list(pair.before.shape),
        "kind": pair.kind.value,
        "relative_change": _finite(pair.relative_change),
        "max_abs": _finite(pair.max_abs),
        "cosine": _finite(pair.cosine),
        "changed_fraction": pair.changed_fraction,
        "from_nan_count": figures.from_nan if figures else None,
        "to_nan_count": figures.to_nan if figures else None,
        "from_inf_count": figures.from_inf if figures else None,
        "to_inf_count": figures.to_inf if figures else None,
        "rank": pair.rank.value if pair.rank else None,
        "rank_is_lower_bound": pair.rank.is_least if pair.rank else None,
        "unmeasured": pair.unmeasured,
    }


def _finite(value: float | None) -> float | None:
    """Return a number that JSON has: a change from nothing but zeros is infinite."""
    return value if value is not None and math.isfinite(value) else None
