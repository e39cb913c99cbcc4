"""Where the repository is: `MLVER_DIR`, else the nearest `.mlver` upwards from here."""

from __future__ import annotations

import os
from pathlib import Path

from mlver.ops.opening import find_repository

REPOSITORY_VARIABLE = "MLVER_DIR"


def repository_root() -> Path:
    """Return the `.mlver` folder to work on.

    Raises:
        NotARepositoryError: There is none.
    """
    chosen = os.environ.get(REPOSITORY_VARIABLE)
    return Path(chosen) if chosen else find_repository(Path.cwd())
