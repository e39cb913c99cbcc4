"""Folding signatures: which ones a version bears, as the log says. Whether they hold is for others to find out."""

from __future__ import annotations

import sqlite3

from mlver.errors import IntegrityError
from mlver.history.event import Event
from mlver.history.sign_action import SignVersion


def fold_signature(db: sqlite3.Connection, key: int, event: Event, action: SignVersion) -> None:
    """Let a version bear a signature, or no longer."""
    if db.execute("SELECT 1 FROM versions WHERE artifact = ? AND number = ?", (key, action.version)).fetchone() is None:
        raise IntegrityError(f"Event {event.number} signs v{action.version}, which does not exist.")
    place = (key, action.version, action.signature)
    db.execute("DELETE FROM signatures WHERE artifact = ? AND number = ? AND signature = ?", place)
    if action.present:
        db.execute("INSERT INTO signatures VALUES (?, ?, ?, ?, ?)", (*place, action.key, action.statement))
