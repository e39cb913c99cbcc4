"""Which references are files in a folder already, with the content that was recorded."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from mlver.digests import ContentHasher
from mlver.errors import MlverError
from mlver.history.reference import ReferenceEntry
from mlver.ops.opening import OpenRepository
from mlver.ops.references.cache import ReferenceCache

_PIECE_BYTES = 1 << 20


def presence(
    repository: OpenRepository, place: Path, references: Sequence[ReferenceEntry]
) -> Iterator[Literal["write", "overwrite", "keep"]]:
    """Yield for each reference what a pull into the folder `place` would do with its file.

    A file whose reference has no digest yet cannot be compared, and counts as one with other content.

    Raises:
        MlverError: A folder is where a file should be, or a file cannot be read.
    """
    cache = ReferenceCache(repository)
    for reference in references:
        path = place / reference.path
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            yield "write"
            continue
        if stat.S_ISDIR(status.st_mode):
            raise MlverError(f"{path} is a folder, where the version has a file.", "Move it away first.")
        yield "keep" if stat.S_ISREG(status.st_mode) and is_same(path, reference, cache) else "overwrite"


def is_same(path: Path, reference: ReferenceEntry, cache: ReferenceCache) -> bool:
    """Tell whether a file is known to have the content of a reference.

    Raises:
        MlverError: It cannot be read.
    """
    digest = cache.digest(reference)
    try:
        if digest is None or os.stat(path).st_size != reference.size_bytes:
            return False
        hasher = ContentHasher()
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(_PIECE_BYTES):
                hasher.update(piece)
    except OSError as error:
        raise MlverError(f"{path} cannot be read: {os.strerror(error.errno or 0)}.") from error
    return hasher.digest() == digest
