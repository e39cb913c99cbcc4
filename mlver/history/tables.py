"""The tables of the version index, by themselves: every command opens the cache, few fold events into it."""

from __future__ import annotations

SCHEMA = """
CREATE TABLE artifacts (
    key INTEGER PRIMARY KEY, name TEXT UNIQUE, folder TEXT UNIQUE, type TEXT,
    head INTEGER NOT NULL DEFAULT -1, latest INTEGER, version_count INTEGER NOT NULL DEFAULT 0,
    next_version INTEGER NOT NULL DEFAULT 0, part TEXT NOT NULL DEFAULT '');
INSERT INTO artifacts (key) VALUES (0);
CREATE TABLE former_names (name TEXT PRIMARY KEY, artifact INTEGER NOT NULL);
CREATE TABLE versions (
    artifact INTEGER, number INTEGER, manifest TEXT, created_at TEXT, created_by TEXT, message TEXT, note TEXT,
    tags TEXT, metadata TEXT, metrics TEXT, provenance TEXT, logical_bytes INTEGER, new_bytes INTEGER,
    stored_bytes INTEGER, file_count INTEGER, tensor_count INTEGER, weights TEXT, removed INTEGER NOT NULL DEFAULT 0,
    reference_count INTEGER NOT NULL, reference_bytes INTEGER NOT NULL,
    PRIMARY KEY (artifact, number)) WITHOUT ROWID;
CREATE INDEX versions_by_manifest ON versions (manifest);
CREATE INDEX versions_by_weights ON versions (weights);
CREATE TABLE aliases (
    artifact INTEGER, alias TEXT, version INTEGER, PRIMARY KEY (artifact, alias)) WITHOUT ROWID;
CREATE TABLE events (
    artifact INTEGER, number INTEGER, data BLOB, PRIMARY KEY (artifact, number)) WITHOUT ROWID;
"""
