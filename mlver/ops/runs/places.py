"""Where a run finds what it uses: the folders that its versions came from or were pulled into, as far as is known."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mlver.history.records import VersionRecord
from mlver.ops.opening import OpenRepository
from mlver.ops.origins import places_from


def places_of(repository: OpenRepository, versions: Iterable[VersionRecord]) -> dict[str, str]:
    """Return the folder of each version that has one here, by the version's id.

    Args:
        repository: The repository.
        versions: What the run uses.
    """
    wanted = {version.id for version in versions}
    found: dict[str, str] = {}
    for identity, place in places_from(repository) if wanted else ():
        folder = _folder(place)
        if identity in wanted and folder is not None:
            # Of several, the one that is easiest to name.
            found[identity] = min(found.get(identity, folder), folder, key=lambda path: (len(path), path))
    return found


def _folder(place: Path) -> str | None:
    """Return the folder of a place that is there: a file that is a version by itself is in one."""
    if place.is_dir():
        return os.path.realpath(place)
    return os.path.realpath(place.parent) if place.is_file() else None
