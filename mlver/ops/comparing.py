"""Whether a file on disk is what a manifest says, without storing anything."""

from __future__ import annotations

import os
from pathlib import Path

from mlver.digests import chunk_id
from mlver.errors import MlverError
from mlver.history.manifest import FileEntry


def same_content(path: Path, entry: FileEntry) -> bool:
    """Tell whether the file at `path` has the bytes of `entry`. Reads no further than the first difference.

    Raises:
        MlverError: It cannot be read.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size != entry.size_bytes:
                return False
            return all(chunk_id(file.read(chunk.size_bytes)) == chunk.id for chunk in entry.chunks)
    except OSError as error:
        raise MlverError(f"{path} cannot be read: {os.strerror(error.errno or 0)}.") from error
