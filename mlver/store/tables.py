"""The tables of `mlver.store.chunk_index`, by themselves: every command opens the cache, few look for chunks."""

from __future__ import annotations

SCHEMA = """
CREATE TABLE packs (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, size_bytes INTEGER NOT NULL, written_ns INTEGER
);
CREATE TABLE chunks (
    id BLOB NOT NULL, pack INTEGER NOT NULL, offset INTEGER NOT NULL, frame_length INTEGER NOT NULL,
    raw_size INTEGER NOT NULL, encoding INTEGER NOT NULL, bases BLOB NOT NULL, PRIMARY KEY (id, pack)
) WITHOUT ROWID;
"""
"""Two writers may store one chunk in two packs; both places are kept, for when one pack goes.

When a pack was written is known of those that were written here, for `mlver.chunks.fresh`."""
