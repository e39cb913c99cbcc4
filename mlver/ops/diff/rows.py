"""Files that hold tables: compared by rows, streamed from the store or the disk."""

from __future__ import annotations

import io
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from mlver.differences.rows.change import Wanted
from mlver.differences.rows.compare import compare_tables
from mlver.differences.rows.readers import NotATable, is_table
from mlver.errors import MlverError, NotFoundError
from mlver.history.manifest import FileEntry
from mlver.ops.diff.result import ModifiedFile
from mlver.ops.diff.sides import Side
from mlver.ops.progress import Progress
from mlver.ops.version_files import VersionFile

_BUFFER_BYTES = 1 << 20


def compare_rows(
    before: Side, after: Side, files: Sequence[ModifiedFile], wanted: Wanted, progress: Progress
) -> list[ModifiedFile]:
    """Return the files, those that hold tables with what changed in them, or why that cannot be told.

    Raises:
        NotFoundError: None of the tables has the columns that were asked for, or there is no table.
        IntegrityError: A stored file is damaged.
        MlverError: A file on disk cannot be read, or changed; or a table cannot be read that was asked for.
    """
    found = [_compare(before, after, file, wanted, progress) if _is_table(file) else file for file in files]
    _check_wanted(found, wanted)
    if wanted.columns and not any(is_table(entry.path) for side in (before, after) for entry in side.manifest.files):
        raise NotFoundError(
            "Neither side has a table whose rows could be compared.", "Tables are .csv, .tsv, .jsonl and .parquet."
        )
    return found


def _is_table(file: ModifiedFile) -> bool:
    return file.before.digest != file.after.digest and is_table(file.after.path)


def _compare(before: Side, after: Side, file: ModifiedFile, wanted: Wanted, progress: Progress) -> ModifiedFile:
    progress.start(file.before.size_bytes + file.after.size_bytes, f"Comparing the rows of {file.after.path}")
    try:
        change = compare_tables(
            file.after.path,
            lambda: _open(before, file.before, progress),
            lambda: _open(after, file.after, progress),
            wanted,
        )
    except NotATable as error:
        return file._replace(problem=str(error))
    finally:
        progress.done()
    return file._replace(table=change)


class _WatchedFile(VersionFile):
    """A file of either side that tells how far it was read."""

    def __init__(self, side: Side, entry: FileEntry, progress: Progress) -> None:
        super().__init__(side.chunks(), entry)
        self._progress = progress

    def readinto(self, buffer: Any) -> int:
        """Read into `buffer`, and tell of it."""
        count = super().readinto(buffer)
        self._progress.advance(count)
        return count


def _open(side: Side, entry: FileEntry, progress: Progress) -> io.BufferedReader:
    return io.BufferedReader(_WatchedFile(side, entry, progress), _BUFFER_BYTES)


def _check_wanted(files: Sequence[ModifiedFile], wanted: Wanted) -> None:
    """Refuse columns that no table has: it would pass for an answer to what was asked."""
    tables = [file for file in files if file.table is not None or (file.problem and is_table(file.after.path))]
    asked = wanted.columns
    if not asked or not tables:
        return
    columns = [file.table.columns for file in tables if file.table is not None]
    if not columns:
        raise MlverError(f"{tables[0].after.path} cannot be compared by rows: {tables[0].problem}.")
    if any(all(column in each for column in asked) for each in columns):
        return
    missing = next((column for column in asked if not any(column in each for each in columns)), asked[0])
    known = sorted({column for each in columns for column in each})
    close = get_close_matches(missing, known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known[:20])}"
    raise NotFoundError(f"No table that changed has the column {missing!r} on both sides.", hint)
