"""Keeping and reading what a run leaves beside its events."""

from __future__ import annotations

import json
from typing import Any

from mlver.errors import IntegrityError
from mlver.history import run_blob
from mlver.history.records import RunRecord
from mlver.ids import BlobId
from mlver.ops.opening import OpenRepository


def store_blob(repository: OpenRepository, raw: bytes) -> BlobId:
    """Keep some bytes; they are durable when this returns.

    Raises:
        UsageError: They are more than a blob may have.
        MlverError: They cannot be written.
    """
    return run_blob.store_blob(repository.storage, raw)


def read_blob(repository: OpenRepository, identity: BlobId) -> bytes:
    """Return what was kept, checked; where it is missing or damaged here, it is sought at the remotes.

    Raises:
        IntegrityError: It is missing or damaged, and no remote has it.
        MlverError: It cannot be read.
    """
    try:
        return run_blob.read_blob(repository.storage, identity)
    except IntegrityError:
        if not repository.config.remotes:
            raise
        from mlver.ops.remotes.blobs import find_blob

        find_blob(repository, identity)
        return run_blob.read_blob(repository.storage, identity)


def read_record(repository: OpenRepository, run: RunRecord) -> dict[str, Any]:
    """Return the circumstances of a run; none if none were recorded.

    Raises:
        IntegrityError: They are missing, damaged, or not what circumstances look like.
    """
    if run.record is None:
        return {}
    try:
        document = json.loads(read_blob(repository, run.record))
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"The record of run {run.title} is not JSON.") from error
    if not isinstance(document, dict):
        raise IntegrityError(f"The record of run {run.title} is malformed.")
    return document
