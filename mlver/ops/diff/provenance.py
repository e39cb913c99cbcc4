"""Where two versions come from, compared: the settings, inputs, code and command of what made them."""

from __future__ import annotations

from typing import Any

from mlver.differences.command_lines import compare_command_lines
from mlver.differences.values import ValueChange, compare_values
from mlver.errors import MlverError
from mlver.history.records import RunRecord, VersionRecord
from mlver.ids import RunId, is_run_id
from mlver.ops.opening import OpenRepository

_COMMANDS = ("command", "parent")
"""What holds command lines, which are compared argument by argument."""
_RECORDED = ("command", "folder", "host", "python", "packages", "environment", "hardware")
"""What a run's record tells that may explain a difference."""


def compare_provenance(
    repository: OpenRepository, before: VersionRecord | None, after: VersionRecord | None
) -> tuple[ValueChange, ...]:
    """Return what differs in where two versions come from; of a folder, nothing is known.

    What the run tells that made a version stands beside what the version says itself: `config.lr`, `inputs.DATA`,
    `code.commit`. A record that cannot be read is noted for the person, and left out.
    """
    if before is None or after is None:
        return ()
    old, new = _origin(repository, before), _origin(repository, after)
    changes: list[ValueChange] = []
    for key in _COMMANDS:
        if _is_command(old.get(key)) and _is_command(new.get(key)):
            changes += compare_command_lines(key, old.pop(key), new.pop(key))
    return (*changes, *compare_values(old, new))


def _origin(repository: OpenRepository, version: VersionRecord) -> dict[str, Any]:
    said = dict(version.provenance)
    run = _run_of(repository, said.get("run"))
    if run is not None:
        return {**said, **_told(repository, run)}
    artifact = repository.index.artifact(version.artifact)
    if artifact is not None and said.pop("inputs", None) is not None:
        links = repository.runs.derived_from(artifact, version.number)
        said["inputs"] = _inputs([(link.artifact, link.number) for link in links])
    return said


def _run_of(repository: OpenRepository, run: object) -> RunRecord | None:
    return repository.runs.run(RunId(run)) if isinstance(run, str) and is_run_id(run) else None


def _told(repository: OpenRepository, run: RunRecord) -> dict[str, Any]:
    """Return what is known of a run that may differ from another one's, but for how it went."""
    from mlver.ops.runs.blobs import read_record

    try:
        record = read_record(repository, run)
    except MlverError as error:
        repository.notices.append(f"What run {run.title} recorded cannot be compared: {error.message}")
        record = {}
    told = {key: record[key] for key in _RECORDED if key in record}
    told["config"] = run.config
    told["inputs"] = _inputs([(link.artifact, link.number) for link in run.inputs])
    told["code"] = run.code
    told["job_type"] = run.job_type
    return told


def _inputs(versions: list[tuple[str, int]]) -> dict[str, str]:
    """Return which versions of each artifact were used, as one value: a dataset that moved on is one change."""
    found: dict[str, list[int]] = {}
    for artifact, number in versions:
        found.setdefault(artifact, []).append(number)
    return {artifact: ", ".join(f"v{number}" for number in sorted(numbers)) for artifact, numbers in found.items()}


def _is_command(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(argument, str) for argument in value)


def settings_and_inputs(changes: tuple[ValueChange, ...]) -> tuple[ValueChange, ...]:
    """Return those of the changes that a person looks for first."""
    return tuple(change for change in changes if change.key.startswith(("config.", "inputs.")))
