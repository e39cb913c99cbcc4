"""Manifests as stored: a compressed blob each, named by its id. What is in them, `mlver.history.manifest` knows."""

from __future__ import annotations

import re
from contextlib import suppress

from mlver.digests import manifest_id
from mlver.errors import IntegrityError, NotFoundError
from mlver.ids import DIGEST_SIZE, ManifestId, manifest_hex
from mlver.store.aside import AsideStorage, find_aside
from mlver.store.storage import Storage

MANIFESTS_FOLDER = "manifests"
MAX_MANIFEST_BYTES = 1 << 30
_SUFFIX = ".json.zst"
_ID = re.compile("[0-9a-f]{64}")
_CHUNKS = re.compile(rb'"chunks":\[([^\]]*)\]')
"""Quotation marks within texts are escaped in JSON, so this is the list of a file's chunks and nothing else."""


def manifest_name(identity: str) -> str:
    """Return the name of a manifest's blob in a storage."""
    return f"{MANIFESTS_FOLDER}/{manifest_hex(identity)}{_SUFFIX}"


def manifest_id_of(name: str) -> ManifestId | None:
    """Return the id in a blob's name, given with or without its folder; None if it is no manifest's name."""
    digits = name.removeprefix(MANIFESTS_FOLDER + "/").removesuffix(_SUFFIX)
    return ManifestId(f"blake3:{digits}") if name.endswith(_SUFFIX) and _ID.fullmatch(digits) else None


def read_compressed(storage: Storage, identity: ManifestId) -> bytes:
    """Return a manifest's blob as it is, also if a collector has set it aside.

    Raises:
        NotFoundError: It is missing.
        MlverError: It cannot be read.
    """
    name = manifest_name(identity)
    try:
        return storage.read(name)
    except NotFoundError:
        if not isinstance(storage, AsideStorage):
            raise
    for aside, proper in find_aside(storage, MANIFESTS_FOLDER):
        if proper == name:
            with suppress(NotFoundError):
                return storage.read(aside)
    return storage.read(name)  # it may have been put back meanwhile


def read_encoded(storage: Storage, identity: ManifestId) -> bytes:
    """Return the canonical JSON of a stored manifest, whose digest is not checked yet.

    Raises:
        IntegrityError: It is missing, or damaged.
    """
    import zstandard

    try:
        data = read_compressed(storage, identity)
        declared = zstandard.get_frame_parameters(data).content_size
        if not 0 < declared <= MAX_MANIFEST_BYTES:
            raise IntegrityError(f"Manifest {identity} declares {declared} bytes.")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=declared, allow_extra_data=False)
    except NotFoundError as error:
        raise IntegrityError(
            f"Manifest {identity} is missing.", "Where the version is at a remote, mlver pull gets it."
        ) from error
    except zstandard.ZstdError as error:
        raise IntegrityError(f"Manifest {identity} is damaged: {error}.") from error


def chunk_ids(storage: Storage, identity: ManifestId) -> bytes:
    """Return the raw ids of a manifest's chunks end to end: all that `gc` needs of thousands of them, sooner.

    Raises:
        IntegrityError: It is missing, or damaged.
    """
    data = read_encoded(storage, identity)
    if manifest_id(data) != identity:
        raise IntegrityError(f"Manifest {identity} is damaged: its digest does not match.")
    lists = b",".join(_CHUNKS.findall(data))
    try:
        ids = bytes.fromhex(lists.translate(None, b'",').decode("ascii"))
        if len(ids) % DIGEST_SIZE:
            raise ValueError(len(ids))
        return ids
    except ValueError as error:
        raise IntegrityError(f"Manifest {identity} is malformed: it lists chunks that are none.") from error
