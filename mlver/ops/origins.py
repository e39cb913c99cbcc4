"""Where a folder came from: which version was added from it or pulled into it last.

Kept in the repository, not in the folder, so that nothing of ours gets into what people ship. It is a convenience:
losing it loses no version.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlver.digests import blake3_hex, canonical_json
from mlver.errors import NotFoundError
from mlver.ids import ManifestId
from mlver.ops.opening import OpenRepository

ORIGINS_FOLDER = "origins"


@dataclass(frozen=True, slots=True)
class Origin:
    """The version a folder or file came from, and the patterns of files that were left out."""

    artifact: str
    version: int
    id: ManifestId
    exclude: tuple[str, ...] = ()


def write_origin(repository: OpenRepository, place: Path, origin: Origin) -> None:
    """Note that `place` holds a version now."""
    path = _key(repository, place)
    document = {
        "path": path,
        "artifact": origin.artifact,
        "version": origin.version,
        "id": origin.id,
        "exclude": list(origin.exclude),
    }
    if read_origin(repository, place) != origin:
        repository.storage.put(_name(path), canonical_json(document))


def forget_origin(repository: OpenRepository, place: Path) -> None:
    """Forget what `place` came from, since it is going to be gone."""
    repository.storage.delete(_name(_key(repository, place)))


def read_origin(repository: OpenRepository, place: Path) -> Origin | None:
    """Return what `place` came from, None if nothing (readable) is known of it."""
    path = _key(repository, place)
    try:
        document = json.loads(repository.storage.read(_name(path)))
        if document["path"] != path:
            return None
        return Origin(
            str(document["artifact"]),
            int(document["version"]),
            ManifestId(str(document["id"])),
            tuple(map(str, document.get("exclude", ()))),
        )
    except (NotFoundError, ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return None


def places_from(repository: OpenRepository) -> Iterator[tuple[ManifestId, Path]]:
    """Yield the places that are noted, which may be gone, and the ids of the versions that they hold."""
    for name in repository.storage.list(ORIGINS_FOLDER):
        with suppress(NotFoundError, ValueError, LookupError, TypeError, RecursionError):
            document = json.loads(repository.storage.read(f"{ORIGINS_FOLDER}/{name}"))
            yield ManifestId(str(document["id"])), repository.root.parent / str(document["path"])


def _key(repository: OpenRepository, place: Path) -> str:
    """Return a place's path: relative inside the repository's folder, so that the whole can be moved."""
    absolute, home = os.path.abspath(place), str(repository.root.parent)
    if absolute == home or absolute.startswith(home.rstrip("/") + "/"):
        absolute = os.path.relpath(absolute, home)
    return absolute.encode("utf-8", "backslashreplace").decode()


def _name(path: str) -> str:
    return f"{ORIGINS_FOLDER}/{blake3_hex(path.encode())[:32]}.json"


def correct_origins(repository: OpenRepository, old: str, new: str, numbers: Mapping[int, int]) -> None:
    """Let folders that came from versions of an artifact come from those that these are now.

    Args:
        repository: The repository.
        old: The artifact's name.
        new: Name of the one whose versions they are now.
        numbers: New numbers by old ones; others stay.
    """
    if old == new and not numbers:
        return
    for name in repository.storage.list(ORIGINS_FOLDER):
        place = f"{ORIGINS_FOLDER}/{name}"
        with suppress(
            ValueError, LookupError, TypeError, RecursionError
        ):  # a convenience: what cannot be read is left alone
            document = json.loads(repository.storage.read(place))
            if document["artifact"] == old:
                number = document["version"]
                document |= {"artifact": new, "version": numbers.get(number, number)}
                repository.storage.put(place, canonical_json(document))
