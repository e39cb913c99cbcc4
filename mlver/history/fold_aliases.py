"""Folding aliases: those that are moved, those that follow a metric by themselves, and those that are protected."""

from __future__ import annotations

import sqlite3
from typing import Any

from mlver.errors import IntegrityError, UsageError
from mlver.history.event import Event, MoveAlias, ProtectAlias, TrackAlias
from mlver.history.following import Rule, best, parse_rule
from mlver.store.sqlite import cached_json


def fold_alias(db: sqlite3.Connection, key: int, event: Event, action: MoveAlias) -> None:
    """Move an alias; one that follows a metric stays where that says it is."""
    if db.execute("SELECT 1 FROM tracked WHERE artifact = ? AND alias = ?", (key, action.alias)).fetchone():
        return
    if action.to is not None and _version(db, key, action.to) is None:
        raise IntegrityError(f"Event {event.number} speaks of v{action.to}, which does not exist.")
    _place(db, key, action.alias, action.to)


def fold_track(db: sqlite3.Connection, key: int, event: Event, action: TrackAlias) -> None:
    """Let an alias follow a metric from here on, or go."""
    was = _place_of(db, key, action.alias)
    db.execute("DELETE FROM tracked WHERE artifact = ? AND alias = ?", (key, action.alias))
    now: int | None = None
    if action.to is not None:
        db.execute("INSERT INTO tracked VALUES (?, ?, ?)", (key, action.alias, action.to))
        now = best(db, key, _rule(event, action.to))
    _follow(db, key, event, action.alias, was, now)


def fold_protect(db: sqlite3.Connection, key: int, _event: Event, action: ProtectAlias) -> None:
    """Protect an alias, or no longer."""
    db.execute("DELETE FROM protected WHERE artifact = ? AND alias = ?", (key, action.alias))
    if action.protected:
        db.execute("INSERT INTO protected VALUES (?, ?)", (key, action.alias))


def follow(db: sqlite3.Connection, key: int, event: Event, number: int) -> None:
    """Let the aliases that follow a metric move, now that something was said of version `number`."""
    for alias, text in db.execute("SELECT alias, rule FROM tracked WHERE artifact = ?", (key,)).fetchall():
        was, rule = _place_of(db, key, alias), _rule(event, text)
        # One comparison where that is enough, and not one with all: logs may add thousands.
        if was is None or was == number:
            now = best(db, key, rule)
        else:
            now = number if _is_better(db, key, rule, number, was) else was
        if now != was:
            _follow(db, key, event, alias, was, now)


def _is_better(db: sqlite3.Connection, key: int, rule: Rule, number: int, than: int) -> bool:
    challenger, holder = _version(db, key, number), _version(db, key, than)
    if challenger is None or holder is None or challenger[1]:
        return False
    value, standing = (rule.value(cached_json(row[0])) for row in (challenger, holder))
    return value is not None and standing is not None and (value, -number) > (standing, -than)


def _follow(db: sqlite3.Connection, key: int, event: Event, alias: str, was: int | None, now: int | None) -> None:
    """Place an alias, and remember what that came to in this event: no action of it says so."""
    _place(db, key, alias, now)
    db.execute(
        "INSERT INTO followed VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET version = excluded.version",
        (key, event.number, alias, was, now),
    )


def _place(db: sqlite3.Connection, key: int, alias: str, number: int | None) -> None:
    if number is None:
        db.execute("DELETE FROM aliases WHERE artifact = ? AND alias = ?", (key, alias))
    else:
        db.execute("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?)", (key, alias, number))


def _place_of(db: sqlite3.Connection, key: int, alias: str) -> int | None:
    row = db.execute("SELECT version FROM aliases WHERE artifact = ? AND alias = ?", (key, alias)).fetchone()
    return None if row is None else int(row[0])


def _version(db: sqlite3.Connection, key: int, number: int) -> tuple[Any, ...] | None:
    """Return the metrics of a version, and whether it is removed; None if there is none."""
    query = "SELECT metrics, removed FROM versions WHERE artifact = ? AND number = ?"
    row: tuple[Any, ...] | None = db.execute(query, (key, number)).fetchone()
    return row


def _rule(event: Event, text: str) -> Rule:
    try:
        return parse_rule(text)
    except UsageError as error:
        raise IntegrityError(f"Event {event.number} lets an alias follow {text!r}, which is no rule.") from error
