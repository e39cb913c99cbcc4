"""The table of measured changes, by itself: every command opens the cache, few look at magnitudes."""

from __future__ import annotations

SCHEMA = """
CREATE TABLE tensor_changes (number INTEGER PRIMARY KEY, pair BLOB UNIQUE, figures BLOB NOT NULL, rank INTEGER);
"""
