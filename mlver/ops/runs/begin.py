"""Beginning a run: its circumstances are kept first, then one event says that it runs, and what it was given to use."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mlver.errors import UsageError
from mlver.history.event import Action
from mlver.history.records import RUNS
from mlver.history.revision import Resolved
from mlver.history.run_actions import StartRun, UseVersion
from mlver.ids import RunId
from mlver.names import check_artifact_type, check_text
from mlver.ops.commit import commit
from mlver.ops.opening import OpenRepository
from mlver.ops.runs.blobs import store_blob
from mlver.ops.runs.places import places_of
from mlver.ops.values import check_metadata

MAX_NAME_CHARACTERS = 128
CODE_FIELDS = ("commit", "branch", "remote", "dirty", "patch", "left_out")
"""What is said of the code in events: all but what git does not know."""


def new_run_id() -> RunId:
    """Return an id that no run has."""
    return RunId(os.urandom(8).hex())


def begin_run(
    repository: OpenRepository,
    *,
    name: str | None = None,
    job_type: str | None = None,
    config: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
    patch: bytes | None = None,
    uses: Sequence[str] = (),
    run: RunId | None = None,
) -> RunId:
    """Record that a run has begun.

    Args:
        repository: The repository.
        name: What to call it; others may be called so too.
        job_type: Such as `train`.
        config: Its settings.
        record: Its circumstances, as JSON values; see `docs/format.md`.
        patch: What differs from the commit that `record["code"]` names.
        uses: Revisions of what it reads. All are found before anything is written.
        run: A new id, where the caller had to have one before; None makes one.

    Raises:
        NotFoundError: There is no such version.
        UsageError: A name, type or setting is not allowed.
        MlverError: The repository cannot be written.
    """
    check_run(name, job_type, config)
    used = [repository.resolve(revision) for revision in uses]
    run = run or new_run_id()
    if record is not None and (places := places_of(repository, (found.version for found in used))):
        record = {**record, "places": places}
    start = _start(repository, StartRun(run, name, job_type, dict(config or {}), None), record, patch)
    actions: list[Action] = [start, *dict.fromkeys(use_action(run, found) for found in used)]
    commit(repository, RUNS, lambda: actions)
    return run


def check_run(name: str | None, job_type: str | None, config: Mapping[str, Any] | None) -> None:
    """Refuse what a run may not be called, or set to.

    Raises:
        UsageError: It is not allowed.
    """
    if name is not None and not (0 < len(name) <= MAX_NAME_CHARACTERS and name.isprintable()):
        raise UsageError(f"A run has a name of 1 to {MAX_NAME_CHARACTERS} printable characters, not {name!r}.")
    check_text("The run's name", name or "")
    if job_type is not None:
        check_artifact_type(job_type)
    check_metadata(config or {})


def use_action(run: RunId, found: Resolved, role: str | None = None) -> UseVersion:
    """Return what says that a run uses a version."""
    return UseVersion(run, found.artifact.folder, found.version.number, found.version.id, role)


def _start(
    repository: OpenRepository, start: StartRun, record: Mapping[str, Any] | None, patch: bytes | None
) -> StartRun:
    """Keep the circumstances, and the patch that they name; return what tells of them too."""
    if record is None:
        return start
    from mlver.digests import canonical_json

    blobs = [] if patch is None else [store_blob(repository, patch)]
    code = dict(record.get("code") or {})
    if blobs:
        code["patch"] = blobs[0]
    kept = store_blob(repository, canonical_json({**record, "code": code}))
    return replace(start, record=kept, blobs=blobs, code={key: code[key] for key in CODE_FIELDS if key in code})
