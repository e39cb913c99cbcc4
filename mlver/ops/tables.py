"""The tables of the stat cache and of sketches, by themselves: every command opens the cache, few look at files."""

from __future__ import annotations

SCHEMA = """
CREATE TABLE seen_files (
    path BLOB PRIMARY KEY, stamp TEXT NOT NULL, manifest TEXT NOT NULL, stored_path TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX seen_of ON seen_files (manifest);
CREATE TABLE seen_trees (fingerprint BLOB PRIMARY KEY, manifest TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sketches (key INTEGER NOT NULL, manifest TEXT NOT NULL, PRIMARY KEY (key, manifest)) WITHOUT ROWID;
CREATE TABLE sketched (id TEXT PRIMARY KEY) WITHOUT ROWID;
"""
