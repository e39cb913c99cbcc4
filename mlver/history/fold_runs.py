"""Folding what logs say of runs: into the tables of runs, of what they used, and of what they made.

Who made a version is said where it is added, see `fold_origin`; everything else in the log of runs. What that says of
a run that never started is ignored: no statement about a run may keep anyone from their versions.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlver.history.run_actions import ConfigureRun, FinishRun, MadeAgain, StartRun, UseVersion
from mlver.ids import is_run_id
from mlver.store.sqlite import cached_json

if TYPE_CHECKING:
    from mlver.history.event import AddVersion, Event


def forget_runs(db: sqlite3.Connection) -> None:
    """Empty what was folded from the log of runs."""
    db.execute("DELETE FROM runs")
    db.execute("DELETE FROM run_versions")


def fold_origin(db: sqlite3.Connection, key: int, action: AddVersion) -> None:
    """Note which run made a version, or which versions it was said to follow from.

    Provenance may hold anything that its writer knew, so what has another form than expected is no link.
    """
    run = action.provenance.get("run")
    if isinstance(run, str) and is_run_id(run):
        db.execute("INSERT OR REPLACE INTO run_outputs VALUES (?, ?, ?)", (key, action.version, run))
    inputs = action.provenance.get("inputs")
    for position, entry in enumerate(inputs if isinstance(inputs, list) else ()):
        link = _link(entry)
        if link is not None:
            values = (key, action.version, position, *link)
            db.execute("INSERT OR REPLACE INTO version_inputs VALUES (?, ?, ?, ?, ?, ?)", values)


def _link(entry: Any) -> tuple[str, int, str] | None:
    """Return folder, number and manifest that an input names, None if it names none."""
    if not isinstance(entry, dict):
        return None
    folder, number, manifest = entry.get("artifact"), entry.get("version"), entry.get("manifest")
    if isinstance(folder, str) and type(number) is int and 0 <= number < 1 << 62 and isinstance(manifest, str):
        return folder, number, manifest
    return None


def _fold_start(db: sqlite3.Connection, _key: int, event: Event, action: StartRun) -> None:
    db.execute(
        "INSERT OR IGNORE INTO runs (id, name, job_type, started_at, started_by, config, record, code) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            action.run,
            action.name,
            action.job_type,
            event.at,
            event.by,
            json.dumps(action.config),
            action.record,
            json.dumps(action.code),
        ),
    )


def _fold_use(db: sqlite3.Connection, _key: int, _event: Event, action: UseVersion) -> None:
    _add_link(db, action, False, action.role)


def _fold_made(db: sqlite3.Connection, _key: int, _event: Event, action: MadeAgain) -> None:
    _add_link(db, action, True, None)


def _add_link(db: sqlite3.Connection, action: UseVersion | MadeAgain, made: bool, role: str | None) -> None:
    db.execute(
        "INSERT INTO run_versions SELECT id, (SELECT ifnull(max(position), -1) + 1 FROM run_versions WHERE run = ?1), "
        "?2, ?3, ?4, ?5, ?6 FROM runs WHERE id = ?1",
        (action.run, made, action.artifact, action.version, action.manifest, role),
    )


def _fold_config(db: sqlite3.Connection, _key: int, _event: Event, action: ConfigureRun) -> None:
    row = db.execute("SELECT config FROM runs WHERE id = ?", (action.run,)).fetchone()
    if row is not None:
        config = cached_json(row[0]) | action.values
        db.execute(
            "UPDATE runs SET config = ?, name = ifnull(?, name), job_type = ifnull(?, job_type) WHERE id = ?",
            (json.dumps(config), action.name, action.job_type, action.run),
        )


def _fold_finish(db: sqlite3.Connection, _key: int, _event: Event, action: FinishRun) -> None:
    db.execute(
        "UPDATE runs SET status = ?, exit_code = ?, duration_seconds = ?, metrics = ?, series = ?, output = ? "
        "WHERE id = ?",
        (
            action.status,
            action.exit_code,
            action.duration_seconds,
            json.dumps(action.metrics),
            action.series,
            action.output,
            action.run,
        ),
    )


_RunFold = Callable[[sqlite3.Connection, int, "Event", Any], None]
RUN_FOLDS: dict[type[Any], _RunFold] = {
    StartRun: _fold_start,
    UseVersion: _fold_use,
    ConfigureRun: _fold_config,
    FinishRun: _fold_finish,
    MadeAgain: _fold_made,
}
