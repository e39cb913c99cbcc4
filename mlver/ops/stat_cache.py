"""The stat cache: files that were read before, by what the filesystem says of them, so they need not be read again.

A file counts as untouched when size, mtime, ctime, inode, device and permission to execute are what they were, and
were not so young when it was read that a later change could have left them as they are (git calls that racily clean).

Source: https://github.com/git/git/blob/master/Documentation/technical/racy-git.adoc
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mlver.ids import ManifestId
from mlver.store.sqlite import CacheConnection
from mlver.store.storage import TICK_NS

_COARSE_TICK_NS = 2_000_000_000
"""Coarsest step of timestamps where whole seconds are seen (FAT has steps of two)."""
_BATCH = 500


class Stamp(NamedTuple):
    """What the filesystem says of a file; equal stamps that are not young mean equal content."""

    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    executable: bool

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Return the stamp of a `stat` result."""
        return cls(
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_ino,
            status.st_dev,
            bool(status.st_mode & 0o100),
        )

    def is_young(self, read_at_ns: int) -> bool:
        """Tell whether a change after `read_at_ns` (Unix time) could leave this stamp as it is."""
        newest = max(self.mtime_ns, self.ctime_ns)
        tick = _COARSE_TICK_NS if self.mtime_ns % 1_000_000_000 == 0 else TICK_NS
        return newest + tick >= read_at_ns

    def text(self) -> str:
        """Return the stamp as one word."""
        return f"{self.size_bytes}.{self.mtime_ns}.{self.ctime_ns}.{self.inode}.{self.device}.{int(self.executable)}"


class StatCache:
    """Which files and trees were read before, and which manifest describes them."""

    def __init__(self, connection: CacheConnection) -> None:
        self._connection = connection

    def files(self, paths: Iterable[str]) -> dict[str, tuple[str, ManifestId, str]]:
        """Return (stamp, manifest, path in it) of those of `paths` that are known."""
        found: dict[str, tuple[str, ManifestId, str]] = {}
        pending = list(paths)
        for start in range(0, len(pending), _BATCH):
            batch = pending[start : start + _BATCH]
            marks = ",".join("?" * len(batch))
            with self._connection.reading():
                rows = self._connection.execute(
                    f"SELECT path, stamp, manifest, stored_path FROM seen_files WHERE path IN ({marks})",
                    [os.fsencode(path) for path in batch],
                ).fetchall()
            found.update(
                (os.fsdecode(path), (stamp, ManifestId(manifest), stored)) for path, stamp, manifest, stored in rows
            )
        return found

    def files_of(self, manifest: ManifestId) -> list[tuple[str, str, str]]:
        """Return path, stamp, and path in the manifest of each file that was read last when it was part of that."""
        with self._connection.reading():
            rows = self._connection.execute(
                "SELECT path, stamp, stored_path FROM seen_files WHERE manifest = ?", (manifest,)
            ).fetchall()
        return [(os.fsdecode(path), stamp, stored) for path, stamp, stored in rows]

    def tree(self, fingerprint: bytes) -> ManifestId | None:
        """Return the manifest of a tree all of whose files are as they were."""
        with self._connection.reading():
            row = self._connection.execute(
                "SELECT manifest FROM seen_trees WHERE fingerprint = ?", (fingerprint,)
            ).fetchone()
        return ManifestId(row[0]) if row else None

    def forget_all(self) -> None:
        """Trust nothing any more: some stored bytes are gone."""
        with self._connection.transaction():
            self._connection.execute("DELETE FROM seen_files")
            self._connection.execute("DELETE FROM seen_trees")

    def remember(self, manifest: ManifestId, files: Sequence[tuple[str, str, str]], fingerprint: bytes | None) -> None:
        """Note files that were read, none of them young.

        Args:
            manifest: What describes them.
            files: Path, stamp, and path in the manifest of each.
            fingerprint: Of the whole tree, unless a file of it is young.
        """
        with self._connection.transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO seen_files VALUES (?, ?, ?, ?)",
                [(os.fsencode(path), stamp, manifest, stored) for path, stamp, stored in files],
            )
            if fingerprint is not None:
                self._connection.execute("INSERT OR REPLACE INTO seen_trees VALUES (?, ?)", (fingerprint, manifest))
