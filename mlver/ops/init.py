"""`init`: make a folder a repository."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mlver.config import CONFIG_NAME, new_config_text
from mlver.errors import MlverError
from mlver.ops.hooks.here import note_here
from mlver.ops.opening import (
    FORMAT_NAME,
    FORMAT_TEXT,
    REPOSITORY_FOLDER,
    open_repository,
)
from mlver.ops.placing import make_folder, umask
from mlver.store.local import LocalStorage


@dataclass(frozen=True, slots=True)
class InitResult:
    """What `init` did.

    Attributes:
        path: The repository's `.mlver` folder.
        created: False when it was there already; nothing was changed then.
    """

    path: str
    created: bool


def init_repository(folder: Path, *, trust_hooks: bool = False) -> InitResult:
    """Create `.mlver/` in `folder`, which is created too if need be.

    The `format` blob comes last: without it, nothing takes the folder for a repository.

    Args:
        folder: The folder.
        trust_hooks: Of a repository that is there already: take it for one that was made here, hooks and all.

    Raises:
        MlverError: The folder cannot be created, or `.mlver` is no folder.
        NotARepositoryError: There is a `.mlver` of a layout that is not known.
    """
    root = folder / REPOSITORY_FOLDER
    if (root / FORMAT_NAME).exists():
        open_repository(root).close()
        if trust_hooks:
            note_here(root)
        return InitResult(str(root.absolute()), created=False)
    try:
        make_folder(root)
    except FileExistsError as error:
        raise MlverError(f"{root} is there already, and it is not a folder.", "Move it away first.") from error
    except OSError as error:
        raise MlverError(f"Cannot create {root}: {os.strerror(error.errno or 0)}.") from error
    storage = LocalStorage(root)
    if storage.create(CONFIG_NAME, new_config_text()):
        (root / CONFIG_NAME).chmod(0o666 & ~umask())  # unlike all else in here, it is for people to edit
    created = storage.create(FORMAT_NAME, FORMAT_TEXT)
    if created:
        note_here(root)
    return InitResult(str(root.absolute()), created)
