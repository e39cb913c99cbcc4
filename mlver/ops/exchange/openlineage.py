"""OpenLineage: each run as an event of its start and one of its end, with the versions that it used and made.

Source: https://openlineage.io/spec/2-0-2/OpenLineage.json
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from mlver.history.records import LinkedVersion, RunRecord
from mlver.ops.exchange.ro_crate import end_time

_EVENT = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = "https://openlineage.io/spec/facets"
PRODUCER = "urn:x-mlver:openlineage"
"""A name and no place: whoever reads the events need not find this program."""
_ENDS = {"finished": "COMPLETE", "failed": "FAIL", "killed": "ABORT", "lost": "ABORT"}
_NAMESPACE = uuid.UUID("7d1f3c0e-6a52-5f0a-9d0e-2b6f5a0c9c11")
"""Under which ids of runs become UUIDs: the same run is the same UUID everywhere."""


def run_events(runs: Sequence[RunRecord], namespace: str) -> Iterator[dict[str, Any]]:
    """Yield the events of runs, the oldest run first.

    Args:
        runs: The runs.
        namespace: Where the artifacts are, such as the URL of a remote.
    """
    for run in sorted(runs, key=lambda each: each.started_at):
        yield _event(run, namespace, "START", run.started_at)
        if run.status in _ENDS:
            yield _event(run, namespace, _ENDS[run.status], end_time(run))


def _event(run: RunRecord, namespace: str, kind: str, at: str) -> dict[str, Any]:
    return {
        "eventType": kind,
        "eventTime": at,
        "run": {"runId": str(uuid.uuid5(_NAMESPACE, run.id)), "facets": _run_facets(run, is_over=kind != "START")},
        "job": {"namespace": namespace, "name": run.name or run.job_type or run.id, "facets": _job_facets(run)},
        "inputs": [_dataset(found, namespace) for found in run.inputs],
        "outputs": [_dataset(found, namespace) for found in run.outputs] if kind != "START" else [],
        "producer": PRODUCER,
        "schemaURL": _EVENT,
    }


def _facet(schema: str, **fields: Any) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": schema, **fields}


def _run_facets(run: RunRecord, *, is_over: bool) -> dict[str, Any]:
    """Return what OpenLineage has no words for, as a facet of our own; it allows that of everybody."""
    fields: dict[str, Any] = {"id": run.id, "config": dict(run.config)}
    if is_over:
        fields["metrics"] = {name: summary.last for name, summary in run.metrics.items()}
        fields["exitCode"] = run.exit_code
    return {"mlver_run": _facet("https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunFacet", **fields)}


def _job_facets(run: RunRecord) -> dict[str, Any]:
    facets = {
        "jobType": _facet(
            f"{_FACETS}/2-0-3/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
            processingType="BATCH",
            integration="MLVER",
            jobType=(run.job_type or "run").upper(),
        )
    }
    code = run.code or {}
    if code.get("remote"):
        location = {"type": "git", "url": _as_url(str(code["remote"])), "repoUrl": code["remote"]}
        location |= {name: code[key] for name, key in (("version", "commit"), ("branch", "branch")) if code.get(key)}
        schema = f"{_FACETS}/1-0-1/SourceCodeLocationJobFacet.json#/$defs/SourceCodeLocationJobFacet"
        facets["sourceCodeLocation"] = _facet(schema, **location)
    return facets


def _as_url(remote: str) -> str:
    """Return where a git repository is as a URL, which git's own `user@host:path` is not."""
    if "://" in remote:
        return remote
    host, colon, path = remote.partition(":")
    return f"ssh://{host}/{quote(path.lstrip('/'))}" if colon and "/" not in host else f"file://{quote(remote)}"


def _dataset(found: LinkedVersion, namespace: str) -> dict[str, Any]:
    schema = f"{_FACETS}/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet"
    return {
        "namespace": namespace,
        "name": found.artifact,
        "facets": {"version": _facet(schema, datasetVersion=f"v{found.number}")},
    }
