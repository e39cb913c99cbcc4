"""Where a version comes from, as its own event says: the run that made it, else the code and command around `add`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlver.history.revision import Resolved
from mlver.ids import RunId
from mlver.ops.opening import OpenRepository
from mlver.ops.runs.begin import CODE_FIELDS
from mlver.ops.runs.blobs import store_blob
from mlver.ops.runs.current import current_run
from mlver.ops.runs.use import use_version


@dataclass(frozen=True, slots=True)
class Caller:
    """What is around a command that adds a version.

    Attributes:
        folder: Where it runs.
        environment: Its environment variables, which `git` gets; none of them is recorded.
        command: What is recorded as the command line around it; None finds that of the parent process.
    """

    folder: Path
    environment: Mapping[str, str]
    command: Sequence[str] | None = None


@dataclass(slots=True)
class Provenance:
    """What is known of where the version comes from that is about to be added.

    Attributes:
        repository: Where it is added.
        caller: What is around the command; None if that is not to be recorded.
        run: The run that it is part of.
        inputs: Versions that it follows from without a run.
    """

    repository: OpenRepository
    caller: Caller | None
    run: RunId | None = None
    inputs: list[Resolved] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return what the version's event is to say: a run has told the rest already.

        Raises:
            MlverError: A patch cannot be kept.
        """
        if self.run is not None:
            return {"run": self.run}
        said = {} if self.caller is None else _surroundings(self.repository, self.caller)
        if self.inputs:
            said["inputs"] = [_input(found) for found in self.inputs]
        return said

    def metrics(self) -> dict[str, float]:
        """Return the newest values of the metrics that the run has logged so far."""
        if self.run is None:
            return {}
        from mlver.ops.runs.living import logged_metrics

        return logged_metrics(self.repository, self.run)


def find_provenance(repository: OpenRepository, uses: Sequence[str], caller: Caller | None) -> Provenance:
    """Find out which run this is part of, and what it uses; a run is told of that at once.

    Raises:
        NotFoundError: There is no such version.
        ConflictError: It follows from what the run made.
    """
    found = [repository.resolve(revision) for revision in uses]
    run = current_run(repository)
    if run is None:
        return Provenance(repository, caller, None, found)
    for revision in uses:
        use_version(repository, run, revision)
    return Provenance(repository, caller, run)


def _input(found: Resolved) -> dict[str, Any]:
    return {"artifact": found.artifact.folder, "version": found.version.number, "manifest": found.version.id}


def _surroundings(repository: OpenRepository, caller: Caller) -> dict[str, Any]:
    """Return the code and the command, as far as they can be found out."""
    from mlver.lineage.capture.git import capture_code
    from mlver.lineage.capture.processes import parent_command

    command = parent_command() if caller.command is None else list(caller.command)
    said: dict[str, Any] = {"host": os.uname().nodename, "parent": command}
    captured = capture_code(caller.folder, caller.environment)
    if captured.document:
        said["code"] = {key: captured.document[key] for key in CODE_FIELDS if key in captured.document}
    if captured.patch is not None:
        said["code"]["patch"] = store_blob(repository, captured.patch)
    return said
