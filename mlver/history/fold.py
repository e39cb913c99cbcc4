"""Folding: one event of a log applied to the tables of the version index.

The tables are the state that the logs add up to; `apply` is the only code that changes them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any

from mlver.errors import IntegrityError
from mlver.history.event import (
    Action,
    AddVersion,
    CreateArtifact,
    Event,
    MoveAlias,
    ProtectAlias,
    RenameArtifact,
    SetNote,
    SetRemoved,
    SetTag,
    SetType,
    SetValue,
    TrackAlias,
    encode_event,
)
from mlver.history.fold_aliases import fold_alias, fold_protect, fold_track, follow
from mlver.history.fold_runs import RUN_FOLDS, fold_origin, forget_runs
from mlver.history.fold_signatures import fold_signature
from mlver.history.records import RUNS_KEY
from mlver.history.sign_action import SignVersion
from mlver.store.sqlite import cached_json

_BY_ARTIFACT = (
    "versions",
    "aliases",
    "events",
    "run_outputs",
    "version_inputs",
    "tracked",
    "protected",
    "followed",
    "signatures",
)


def apply(db: sqlite3.Connection, key: int, event: Event) -> None:
    """Apply `event` of the log of artifact row `key`, unless it is folded already.

    Raises:
        IntegrityError: The event contradicts the ones before it.
    """
    updated = db.execute(
        "UPDATE artifacts SET head = ? WHERE key = ? AND head = ?",
        (event.number, key, event.number - 1),
    )
    if updated.rowcount == 0:
        return  # another process folded it meanwhile
    for action in event.actions:
        apply_action(db, key, event, action)
    db.execute(
        "INSERT OR REPLACE INTO events VALUES (?, ?, ?)",
        (key, event.number, encode_event(event)),
    )


def apply_action(db: sqlite3.Connection, key: int, event: Event, action: Action) -> None:
    """Apply one action of an event, to know the state that the next one of it meets.

    Raises:
        IntegrityError: It contradicts the ones before it.
    """
    folds = RUN_FOLDS if key == RUNS_KEY else _NAME_FOLDS if key == 0 else _FOLDS
    fold = folds.get(type(action))
    if fold is None:
        raise IntegrityError(f"Event {event.number} has an action {action.do!r}, which has no place in its log.")
    fold(db, key, event, action)
    if isinstance(action, AddVersion | SetValue | SetRemoved):
        follow(db, key, event, action.version)


def restart(db: sqlite3.Connection, key: int) -> None:
    """Empty what was folded from one log, to fold it anew. Rows of artifacts keep their keys, which callers hold."""
    if key != 0:
        for table in _BY_ARTIFACT:
            db.execute(f"DELETE FROM {table} WHERE artifact = ?", (key,))
        if key == RUNS_KEY:
            forget_runs(db)
        db.execute(
            "UPDATE artifacts SET head = -1, latest = NULL, version_count = 0, next_version = 0, part = '' "
            "WHERE key = ?",
            (key,),
        )
        return
    db.execute("UPDATE artifacts SET name = NULL, type = NULL WHERE key > 0")
    db.execute("DELETE FROM former_names")
    db.execute("DELETE FROM events WHERE artifact = 0")
    db.execute("UPDATE artifacts SET head = -1, part = '' WHERE key = 0")


def drop_nameless(db: sqlite3.Connection) -> None:
    """Drop rows of artifacts that the log of names, folded anew, does not have any more."""
    for table in _BY_ARTIFACT:
        db.execute(f"DELETE FROM {table} WHERE artifact IN (SELECT key FROM artifacts WHERE key > 0 AND name IS NULL)")
    db.execute("DELETE FROM artifacts WHERE key > 0 AND name IS NULL")


def enter(db: sqlite3.Connection, key: int, part: str) -> None:
    """Note that the events from here on are those of another part of the log."""
    db.execute("UPDATE artifacts SET part = ? WHERE key = ?", (part, key))


def _fold_create(db: sqlite3.Connection, _key: int, _event: Event, action: CreateArtifact) -> None:
    again = db.execute(
        "UPDATE OR IGNORE artifacts SET name = ?1, type = ?2 WHERE folder = ?1 AND name IS NULL",
        (action.artifact, action.type),
    )
    if again.rowcount == 0:
        db.execute(
            "INSERT OR IGNORE INTO artifacts (name, folder, type) VALUES (?, ?, ?)",
            (action.artifact, action.artifact, action.type),
        )


def _fold_rename(db: sqlite3.Connection, _key: int, event: Event, action: RenameArtifact) -> None:
    row = db.execute("SELECT key FROM artifacts WHERE name = ?", (action.artifact,)).fetchone()
    if row is None:
        raise IntegrityError(f"Name event {event.number} renames {action.artifact!r}, which does not exist.")
    taken = db.execute("SELECT key FROM artifacts WHERE name = ?", (action.to,)).fetchone()
    if taken is not None and taken != row:
        raise IntegrityError(f"Name event {event.number} renames {action.artifact!r} to {action.to!r}, which is taken.")
    db.execute("UPDATE artifacts SET name = ? WHERE key = ?", (action.to, row[0]))
    db.execute("DELETE FROM former_names WHERE name = ?", (action.to,))
    db.execute("INSERT OR REPLACE INTO former_names VALUES (?, ?)", (action.artifact, row[0]))


def _fold_type(db: sqlite3.Connection, _key: int, _event: Event, action: SetType) -> None:
    db.execute("UPDATE artifacts SET type = ? WHERE name = ?", (action.to, action.artifact))


def _fold_add(db: sqlite3.Connection, key: int, event: Event, action: AddVersion) -> None:
    if db.execute(
        "SELECT 1 FROM versions WHERE artifact = ? AND number = ?",
        (key, action.version),
    ).fetchone():
        raise IntegrityError(f"Event {event.number} adds v{action.version} a second time.")
    db.execute(
        "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
        (
            key,
            action.version,
            action.manifest,
            event.at,
            event.by,
            action.message,
            json.dumps(sorted(set(action.tags))),
            json.dumps(action.metadata),
            json.dumps(action.metrics),
            json.dumps(action.provenance),
            action.logical_bytes,
            action.new_bytes,
            action.stored_bytes,
            action.file_count,
            action.tensor_count,
            action.weights,
            action.reference_count,
            action.reference_bytes,
        ),
    )
    fold_origin(db, key, action)
    db.execute(
        "UPDATE artifacts SET next_version = max(next_version, ?2 + 1), latest = max(ifnull(latest, -1), ?2), "
        "version_count = version_count + 1 WHERE key = ?1",
        (key, action.version),
    )


def _fold_tag(db: sqlite3.Connection, key: int, event: Event, action: SetTag) -> None:
    tags = set(cached_json(_column(db, key, event, action.version, "tags")))
    tags = tags | {action.tag} if action.present else tags - {action.tag}
    _set_column(db, key, action.version, "tags", json.dumps(sorted(tags)))


def _fold_note(db: sqlite3.Connection, key: int, _event: Event, action: SetNote) -> None:
    _set_column(db, key, action.version, "note", action.to)


def _fold_value(db: sqlite3.Connection, key: int, event: Event, action: SetValue) -> None:
    if action.field not in ("metadata", "metrics"):
        raise IntegrityError(f"Event {event.number} sets an unknown field {action.field!r}.")
    values = cached_json(_column(db, key, event, action.version, action.field))
    values.pop(action.key, None)
    if action.to:
        values[action.key] = action.to[0]
    _set_column(db, key, action.version, action.field, json.dumps(values))


def _fold_removed(db: sqlite3.Connection, key: int, _event: Event, action: SetRemoved) -> None:
    was = db.execute("SELECT removed FROM versions WHERE artifact = ? AND number = ?", (key, action.version)).fetchone()
    _set_column(db, key, action.version, "removed", int(action.removed))
    gained = bool(was[0]) - action.removed
    # Counted on, not anew, and the newest sought from the end: a log may remove thousands.
    db.execute(
        "UPDATE artifacts SET version_count = version_count + ?2, latest = (SELECT number FROM versions "
        "WHERE artifact = ?1 AND NOT removed ORDER BY number DESC LIMIT 1) WHERE key = ?1",
        (key, gained),
    )


def _column(db: sqlite3.Connection, key: int, event: Event, number: int, column: str) -> str:
    row = db.execute(
        f"SELECT {column} FROM versions WHERE artifact = ? AND number = ?",
        (key, number),
    ).fetchone()
    if row is None:
        raise IntegrityError(f"Event {event.number} speaks of v{number}, which does not exist.")
    return str(row[0])


def _set_column(db: sqlite3.Connection, key: int, number: int, column: str, value: str | int | None) -> None:
    updated = db.execute(
        f"UPDATE versions SET {column} = ? WHERE artifact = ? AND number = ?",
        (value, key, number),
    )
    if updated.rowcount == 0:
        raise IntegrityError(f"An event speaks of v{number}, which does not exist.")


_Fold = Callable[[sqlite3.Connection, int, Event, Any], None]
_NAME_FOLDS: dict[type[Any], _Fold] = {
    CreateArtifact: _fold_create,
    RenameArtifact: _fold_rename,
    SetType: _fold_type,
}
_FOLDS: dict[type[Any], _Fold] = {
    AddVersion: _fold_add,
    MoveAlias: fold_alias,
    TrackAlias: fold_track,
    ProtectAlias: fold_protect,
    SetTag: _fold_tag,
    SetNote: _fold_note,
    SetValue: _fold_value,
    SetRemoved: _fold_removed,
    SignVersion: fold_signature,
}
