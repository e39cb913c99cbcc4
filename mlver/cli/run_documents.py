"""A run as a JSON document, which several commands print; docs/json.md describes it."""

from __future__ import annotations

from typing import Any

from mlver.history.records import LinkedVersion, MetricSummary, RunRecord


def run_document(run: RunRecord) -> dict[str, Any]:
    """Return everything the logs say of a run."""
    return {
        "id": run.id,
        "name": run.name,
        "job_type": run.job_type,
        "status": run.status,
        "started_at": run.started_at,
        "started_by": run.started_by,
        "duration_seconds": run.duration_seconds,
        "exit_code": run.exit_code,
        "config": run.config,
        "metrics": {name: metric_document(summary) for name, summary in run.metrics.items()},
        "inputs": [link_document(link) for link in run.inputs],
        "outputs": [link_document(link) for link in run.outputs],
        "code": run.code,
    }


def metric_document(summary: MetricSummary) -> dict[str, Any]:
    """Return what became of a metric; `nan` is how many of its values were no number."""
    return {
        "last": summary.last,
        "min": summary.min,
        "max": summary.max,
        "count": summary.value_count,
        "nan": summary.nan_count,
    }


def link_document(link: LinkedVersion) -> dict[str, Any]:
    """Return a version that was used or made; `known` tells whether this repository has it."""
    return {
        "artifact": link.artifact,
        "version": f"v{link.number}",
        "id": link.id,
        "role": link.role,
        "known": link.is_known,
    }
