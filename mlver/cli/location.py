"""Where the repository is: `MLVER_DIR`, else the nearest `.mlver` upwards from here."""

from __future__ import annotations

import os
from pathlib import Path

from mlver.errors import UsageError
from mlver.ops.opening import REPOSITORY_FOLDER, REPOSITORY_VARIABLE, find_repository


def repository_root() -> Path:
    """Return the `.mlver` folder to work on.

    Raises:
        NotARepositoryError: There is none.
    """
    chosen = os.environ.get(REPOSITORY_VARIABLE)
    return Path(chosen) if chosen else find_repository(Path.cwd())


def new_repository_folder() -> Path:
    """Return the folder in which a repository is to be made: it must be found by `repository_root` afterwards.

    Raises:
        UsageError: `MLVER_DIR` names something that could not be a repository.
    """
    chosen = os.environ.get(REPOSITORY_VARIABLE)
    if not chosen:
        return Path.cwd()
    if Path(chosen).name != REPOSITORY_FOLDER:
        raise UsageError(
            f"{REPOSITORY_VARIABLE} is {chosen!r}, which mlver init cannot make.",
            f"Let it end in /{REPOSITORY_FOLDER}, or unset it.",
        )
    return Path(chosen).parent
