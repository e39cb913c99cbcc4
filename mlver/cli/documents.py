"""The JSON documents that several commands print; docs/json.md describes them."""

from __future__ import annotations

from typing import Any

from mlver.history.records import ArtifactRecord, VersionRecord
from mlver.history.reference import ReferenceEntry
from mlver.ops.log import LogResult


def version_document(version: VersionRecord) -> dict[str, Any]:
    """Return everything the log says of a version."""
    return {
        "artifact": version.artifact,
        "type": version.type,
        "version": f"v{version.number}",
        "id": version.id,
        "created_at": version.created_at,
        "created_by": version.created_by,
        "message": version.message,
        "note": version.note,
        "aliases": list(version.aliases),
        "tags": list(version.tags),
        "metadata": version.metadata,
        "metrics": version.metrics,
        "provenance": version.provenance,
        "logical_bytes": version.logical_bytes,
        "new_bytes": version.new_bytes,
        "stored_bytes": version.stored_bytes,
        "file_count": version.file_count,
        "tensor_count": version.tensor_count,
        "weights": version.weights,
        "reference_count": version.reference_count,
        "reference_bytes": version.reference_bytes,
        "removed": version.removed,
    }


def artifact_document(artifact: ArtifactRecord) -> dict[str, Any]:
    """Return an artifact's summary."""
    return {
        "artifact": artifact.name,
        "type": artifact.type,
        "version_count": artifact.version_count,
        "latest": None if artifact.latest is None else f"v{artifact.latest}",
    }


def reference_document(reference: ReferenceEntry) -> dict[str, Any]:
    """Return where a file is that stays there, and what identifies it."""
    return {
        "path": reference.path,
        "uri": reference.uri,
        "size_bytes": reference.size_bytes,
        "etag": reference.etag,
        "object_version": reference.version,
        "digest": reference.digest,
    }


def log_document(result: LogResult) -> dict[str, Any]:
    """Return the versions of an artifact."""
    return {
        "artifact": result.artifact.name,
        "type": result.artifact.type,
        "versions": [
            version_document(version) | {"restorable": result.restorable.get(version.number)}
            for version in result.versions
        ],
        "older_count": result.older_count,
    }
