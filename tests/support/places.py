"""Where tests keep files: in memory if there is room, since most of their time is waiting for the disk to flush."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 1 << 30


@contextmanager
def quick_folder() -> Iterator[Path]:
    """Give an empty folder, removed afterwards, on a file system that flushes at once where there is one."""
    has_room = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES
    with tempfile.TemporaryDirectory(prefix="mlver-test-", dir=_MEMORY if has_room else None) as folder:
        yield Path(folder).resolve()
