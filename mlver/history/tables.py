"""The tables of the version index, by themselves: every command opens the cache, few fold events into it."""

from __future__ import annotations

SCHEMA = """
CREATE TABLE artifacts (
    key INTEGER PRIMARY KEY, name TEXT UNIQUE, folder TEXT UNIQUE, type TEXT,
    head INTEGER NOT NULL DEFAULT -1, latest INTEGER, version_count INTEGER NOT NULL DEFAULT 0,
    next_version INTEGER NOT NULL DEFAULT 0, part TEXT NOT NULL DEFAULT '');
INSERT INTO artifacts (key) VALUES (0), (-1);
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
CREATE TABLE tracked (artifact INTEGER, alias TEXT, rule TEXT, PRIMARY KEY (artifact, alias)) WITHOUT ROWID;
CREATE TABLE protected (artifact INTEGER, alias TEXT, PRIMARY KEY (artifact, alias)) WITHOUT ROWID;
CREATE TABLE followed (
    artifact INTEGER, event INTEGER, alias TEXT, was INTEGER, version INTEGER,
    PRIMARY KEY (artifact, event, alias)) WITHOUT ROWID;
CREATE TABLE signatures (
    artifact INTEGER, number INTEGER, signature TEXT, key TEXT, statement TEXT,
    PRIMARY KEY (artifact, number, signature));
CREATE TABLE events (
    artifact INTEGER, number INTEGER, data BLOB, PRIMARY KEY (artifact, number)) WITHOUT ROWID;
CREATE TABLE runs (
    id TEXT PRIMARY KEY, name TEXT, job_type TEXT, status TEXT NOT NULL DEFAULT 'running', started_at TEXT,
    started_by TEXT, exit_code INTEGER, duration_seconds REAL, config TEXT, metrics TEXT NOT NULL DEFAULT '{}',
    record TEXT, series TEXT, output TEXT, code TEXT) WITHOUT ROWID;
CREATE INDEX runs_by_name ON runs (name);
CREATE INDEX runs_by_start ON runs (started_at);
CREATE TABLE run_versions (
    run TEXT, position INTEGER, made INTEGER, folder TEXT, number INTEGER, manifest TEXT, role TEXT,
    PRIMARY KEY (run, position)) WITHOUT ROWID;
CREATE INDEX run_versions_by_manifest ON run_versions (manifest);
CREATE TABLE run_outputs (
    artifact INTEGER, number INTEGER, run TEXT, PRIMARY KEY (artifact, number)) WITHOUT ROWID;
CREATE INDEX run_outputs_by_run ON run_outputs (run);
CREATE TABLE version_inputs (
    artifact INTEGER, number INTEGER, position INTEGER, folder TEXT, input INTEGER, manifest TEXT,
    PRIMARY KEY (artifact, number, position)) WITHOUT ROWID;
CREATE INDEX version_inputs_by_manifest ON version_inputs (manifest);
"""
