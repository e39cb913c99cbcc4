"""The tables of the stat cache, by themselves: every command opens the cache, few look at files."""

from __future__ import annotations

SCHEMA = """
CREATE TABLE seen_files (
    path BLOB PRIMARY KEY, stamp TEXT NOT NULL, manifest TEXT NOT NULL, stored_path TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE seen_trees (fingerprint BLOB PRIMARY KEY, manifest TEXT NOT NULL) WITHOUT ROWID;
"""
