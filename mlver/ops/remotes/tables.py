"""What is known of one remote, in a cache of its own: its packs (`mlver.store.tables`) its logs' heads, its damage."""

from __future__ import annotations

SCHEMA = """
CREATE TABLE heads (folder TEXT PRIMARY KEY, number INTEGER NOT NULL);
CREATE TABLE damage (name TEXT PRIMARY KEY);
"""
