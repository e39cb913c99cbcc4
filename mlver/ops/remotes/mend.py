"""Mending a remote: what `mlver verify --remote` found damaged, and is sound here, is written there once more.

Chunks go into new packs, since packs never change; a reader that meets the damaged copy tries the others. Manifests and
events have one name and one content, so the sound bytes replace the damaged ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlver.errors import MlverError
from mlver.history.event import encode_event
from mlver.history.index import NAMES_FOLDER, log_folder
from mlver.history.records import RUNS
from mlver.history.run_blob import BLOBS_FOLDER, blob_id_of, check_blob
from mlver.ids import ChunkId, is_hex
from mlver.ops.opening import OpenRepository
from mlver.ops.remotes.opening import OpenRemote

_CHUNK = "chunk "


def chunk_damage(chunk: ChunkId) -> str:
    """Return how a damaged chunk is noted."""
    return _CHUNK + chunk.hex()


def damaged_chunks(damage: Iterable[str]) -> list[ChunkId]:
    """Return the chunks among what is damaged."""
    digits = [name.removeprefix(_CHUNK) for name in damage if name.startswith(_CHUNK)]
    return [ChunkId(bytes.fromhex(each)) for each in digits if is_hex(each)]


def mend(repository: OpenRepository, remote: OpenRemote, damage: Sequence[str]) -> list[str]:
    """Replace damaged manifests and events by those that are here; chunks were sent before.

    Returns:
        What there is to tell: how much was mended, and what could not be.

    Raises:
        RemoteError: The remote failed.
    """
    sent = {chunk_damage(chunk) for chunk in repository.chunk_index.find_many(damaged_chunks(damage))}
    left = []
    for name in damage:
        if name in sent:
            continue
        data = _sound_bytes(repository, remote, name)
        if data is None:
            left.append(name)
        else:
            remote.storage.put(name, data)
    remote.note_damage(left)
    told = [f"{len(damage) - len(left)} of {len(damage)} damages of {remote.name} were mended."]
    if left:
        told.append(f"What is damaged there and not here either, such as {left[0]}, must be pushed by who has it.")
    return told


def _sound_bytes(repository: OpenRepository, remote: OpenRemote, name: str) -> bytes | None:
    """Return what a blob of the remote must hold, None if that is not known here."""
    folder, _, base = name.rpartition("/")
    if folder == "manifests":
        try:
            return repository.storage.read(name)
        except MlverError:
            return None
    if folder == BLOBS_FOLDER:
        return _sound_blob(repository, name)
    if not base.endswith(".json") or not base[:12].isdigit():
        return None
    number = int(base[:12])
    artifacts = {log_folder(log): log for log in (RUNS, *repository.index.artifacts(empty=True))}
    if (folder != NAMES_FOLDER and folder not in artifacts) or number > remote.known_head(folder):
        return None
    found = repository.index.events_from(artifacts.get(folder), number)[:1]
    return encode_event(found[0]) if found and found[0].number == number else None


def _sound_blob(repository: OpenRepository, name: str) -> bytes | None:
    identity = blob_id_of(name)
    if identity is None:
        return None
    try:
        data = repository.storage.read(name)
        check_blob(data, identity)
    except MlverError:
        return None
    return data
