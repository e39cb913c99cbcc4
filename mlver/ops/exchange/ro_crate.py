"""RO-Crate: a version as a research object, with the run that made it as an action.

Source: https://w3id.org/ro/crate/1.1 and the profile https://w3id.org/ro/wfrun/process/0.5 (Process Run Crate).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from mlver.history.records import LinkedVersion, RunRecord
from mlver.ops.exchange.described import DescribedFile, DescribedVersion, described_text

_SPECIFICATION = "https://w3id.org/ro/crate/1.1"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_STATUS = {"finished": "http://schema.org/CompletedActionStatus", "running": "http://schema.org/ActiveActionStatus"}
_FAILED = "http://schema.org/FailedActionStatus"


def ro_crate(described: DescribedVersion, record: dict[str, Any]) -> dict[str, Any]:
    """Return the document `ro-crate-metadata.json` of a folder that a version was pulled into.

    Args:
        described: The version.
        record: The circumstances of the run that made it; empty if none did.
    """
    version, run = described.version, described.run
    person = {"@id": f"#{quote(version.created_by)}", "@type": "Person", "name": version.created_by}
    root: dict[str, Any] = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"{version.artifact} v{version.number}",
        "description": described_text(version),
        "datePublished": version.created_at,
        "version": f"v{version.number}",
        "identifier": version.id,
        "author": {"@id": person["@id"]},
        "hasPart": [{"@id": _place(file)} for file in described.files],
    }
    if version.tags:
        root["keywords"] = ", ".join(version.tags)
    if isinstance(version.metadata.get("license"), str):
        root["license"] = version.metadata["license"]
    graph = [_descriptor(), root, person, *map(_file, described.files)]
    if run is not None:
        root["conformsTo"] = {"@id": _PROFILE}
        root["mentions"] = {"@id": f"#run-{run.id}"}
        graph += [{"@id": _PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}]
        graph += _action(run, record, str(person["@id"]))
    return {"@context": f"{_SPECIFICATION}/context", "@graph": graph}


def _descriptor() -> dict[str, Any]:
    return {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": _SPECIFICATION},
    }


def _place(file: DescribedFile) -> str:
    return file.uri or quote(file.path)


def _file(file: DescribedFile) -> dict[str, Any]:
    entry = {
        "@id": _place(file),
        "@type": "File",
        "name": file.path,
        "contentSize": str(file.size_bytes),
        "encodingFormat": file.media_type,
    }
    return entry if file.sha256 is None else {**entry, "sha256": file.sha256}


def _action(run: RunRecord, record: dict[str, Any], person: str) -> list[dict[str, Any]]:
    """Return the run as an action, with the program, what it used and how it was set."""
    command = [str(word) for word in record.get("command") or ()]
    code = run.code or {}
    program: dict[str, Any] = {
        "@id": f"#program-{run.id}",
        "@type": "SoftwareApplication",
        "name": command[0] if command else run.job_type or "unknown",
    }
    if code.get("commit"):
        program["version"] = code["commit"]
    if code.get("remote"):
        program["codeRepository"] = code["remote"]
    settings = [
        {"@id": f"#{run.id}-{quote(key)}", "@type": "PropertyValue", "name": key, "value": _plain(value)}
        for key, value in run.config.items()
    ]
    inputs = [_input(found) for found in run.inputs]
    action: dict[str, Any] = {
        "@id": f"#run-{run.id}",
        "@type": "CreateAction",
        "name": run.name or run.id,
        "startTime": run.started_at,
        "actionStatus": {"@id": _STATUS.get(run.status, _FAILED)},
        "agent": {"@id": person},
        "instrument": {"@id": program["@id"]},
        "object": [{"@id": entry["@id"]} for entry in (*inputs, *settings)],
        "result": {"@id": "./"},
    }
    if command:
        action["description"] = " ".join(command)
    if run.duration_seconds is not None:
        action["endTime"] = end_time(run)
    return [action, program, *inputs, *settings]


def _input(found: LinkedVersion) -> dict[str, Any]:
    return {"@id": f"#{quote(found.name)}", "@type": "Dataset", "name": found.name, "identifier": found.id}


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else str(value)


def end_time(run: RunRecord) -> str:
    """Return when a run ended, as it is written for its start."""
    ended = datetime.fromisoformat(run.started_at) + timedelta(seconds=run.duration_seconds or 0)
    return ended.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
