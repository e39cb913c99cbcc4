"""Whether a repository was made here, or came from elsewhere, hooks and all: from an archive, a checkout, as a copy.

`init` notes when its file `format` last changed, to the nanosecond, as the file system says it. Nobody can choose that
time, neither an archive nor a copy, though they bring the note along; and moving or renaming the folder keeps it.
"""

from __future__ import annotations

from pathlib import Path

from mlver.errors import IntegrityError, NotFoundError
from mlver.ops.opening import FORMAT_NAME
from mlver.store.local import LocalStorage

HERE_NAME = "here"


def note_here(root: Path) -> None:
    """Note that the repository `root` is of this place, and its hooks are its person's own.

    Raises:
        MlverError: The note cannot be written.
    """
    LocalStorage(root).put(HERE_NAME, _mark(root))


def is_here(root: Path) -> bool:
    """Tell whether it was noted of the repository `root` in this place that it is of this place."""
    try:
        return LocalStorage(root).read(HERE_NAME) == _mark(root)
    except (NotFoundError, IntegrityError):
        return False


def _mark(root: Path) -> bytes:
    return f"{(root / FORMAT_NAME).stat().st_ctime_ns}\n".encode()
