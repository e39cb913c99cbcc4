"""Blobs of runs: circumstances, patches, series of metrics, the end of what a command wrote.

Each is compressed, named by the digest of its raw bytes, and written before the event that names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mlver.errors import IntegrityError, NotFoundError, UsageError
from mlver.history.event import Action, AddVersion, Event
from mlver.history.run_actions import FinishRun, StartRun
from mlver.ids import BLOB_PREFIX, BlobId, is_blob_id
from mlver.store.storage import Storage

BLOBS_FOLDER = "runs/blobs"
MAX_BLOB_BYTES = 256 << 20
_SUFFIX = ".zst"


def blob_name(identity: BlobId) -> str:
    """Return the name of a blob in a storage."""
    return f"{BLOBS_FOLDER}/{identity.removeprefix(BLOB_PREFIX)}{_SUFFIX}"


def blob_id_of(name: str) -> BlobId | None:
    """Return the id in a blob's name, given with or without its folder; None if it is no blob's name."""
    identity = BLOB_PREFIX + name.removeprefix(BLOBS_FOLDER + "/").removesuffix(_SUFFIX)
    return BlobId(identity) if name.endswith(_SUFFIX) and is_blob_id(identity) else None


def store_blob(storage: Storage, raw: bytes) -> BlobId:
    """Keep some bytes, which are durable when this returns, and return their id.

    Raises:
        UsageError: They are too many.
        MlverError: They cannot be written.
    """
    import zstandard

    from mlver.digests import blob_id

    if len(raw) > MAX_BLOB_BYTES:
        raise UsageError(f"What is to be kept of a run has {len(raw)} bytes; it may have {MAX_BLOB_BYTES}.")
    identity = blob_id(raw)
    storage.put(blob_name(identity), zstandard.ZstdCompressor().compress(raw))  # a damaged copy is mended
    return identity


def read_blob(storage: Storage, identity: BlobId) -> bytes:
    """Return the bytes of a blob, checked.

    Raises:
        IntegrityError: It is missing, or damaged.
        MlverError: It cannot be read.
    """
    try:
        data = storage.read(blob_name(identity))
    except NotFoundError as error:
        raise IntegrityError(f"What a run left in {blob_name(identity)} is missing.") from error
    return check_blob(data, identity)


def check_blob(data: bytes, identity: BlobId) -> bytes:
    """Return the raw bytes of a stored blob.

    Raises:
        IntegrityError: They are not those of this id.
    """
    import zstandard

    from mlver.digests import blob_id

    try:
        declared = zstandard.get_frame_parameters(data).content_size
        if not 0 <= declared <= MAX_BLOB_BYTES:
            raise IntegrityError(f"{blob_name(identity)} declares {declared} bytes.")
        raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=declared, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise IntegrityError(f"{blob_name(identity)} is damaged: {error}.") from error
    if blob_id(raw) != identity:
        raise IntegrityError(f"{blob_name(identity)} is damaged: its digest does not match.")
    return raw


def blobs_named_by(events: Iterable[Event]) -> list[BlobId]:
    """Return the blobs that events name, each once: those of runs, and the patches of versions that no run made."""
    found: dict[BlobId, None] = {}
    for event in events:
        for action in event.actions:
            found |= dict.fromkeys(_named(action))
    return list(found)


def _named(action: Action) -> Iterator[BlobId]:
    match action:
        case StartRun():
            yield from filter(None, (action.record, *action.blobs))
        case FinishRun():
            yield from filter(None, (action.series, action.output))
        case AddVersion():
            patch = patch_of(action.provenance)
            if patch is not None:
                yield patch


def patch_of(provenance: Mapping[str, Any]) -> BlobId | None:
    """Return the blob that a version's provenance names as what was changed since its commit."""
    code = provenance.get("code")
    patch = code.get("patch") if isinstance(code, dict) else None
    return BlobId(patch) if isinstance(patch, str) and is_blob_id(patch) else None
