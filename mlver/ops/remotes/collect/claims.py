"""Claims: what collectors are about to delete from a remote, each a blob `collecting/<16 hex>`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass

from mlver.digests import canonical_json
from mlver.errors import NotFoundError, RemoteError
from mlver.history.manifest_blob import manifest_id_of, manifest_name
from mlver.ids import ManifestId, PackId
from mlver.store.pack import pack_id_of, pack_name
from mlver.store.storage import Storage

CLAIMS_FOLDER = "collecting"


@dataclass(frozen=True, slots=True)
class Claims:
    """What must not be relied on, since somebody is about to delete it."""

    manifests: frozenset[ManifestId] = frozenset()
    packs: frozenset[PackId] = frozenset()


def new_claim() -> str:
    """Return a name for a claim that nobody else has."""
    return f"{CLAIMS_FOLDER}/{os.urandom(8).hex()}"


def encode_claim(manifests: Iterable[ManifestId], packs: Iterable[PackId]) -> bytes:
    """Return the content of a claim."""
    names = sorted([*map(manifest_name, manifests), *map(pack_name, packs)])
    return canonical_json({"delete": names}) + b"\n"


def read_claims(storage: Storage) -> Claims:
    """Return what all claims of a remote name.

    Raises:
        RemoteError: One cannot be understood, or the remote failed.
    """
    manifests: set[ManifestId] = set()
    packs: set[PackId] = set()
    for last in storage.list(CLAIMS_FOLDER):
        try:
            data = storage.read(f"{CLAIMS_FOLDER}/{last}")
        except NotFoundError:
            continue  # done since it was listed
        for name in _names(last, data):
            if (manifest := manifest_id_of(name)) is not None:
                manifests.add(manifest)
            elif (pack := pack_id_of(name)) is not None:
                packs.add(pack)
    return Claims(frozenset(manifests), frozenset(packs))


def _names(last: str, data: bytes) -> list[str]:
    """Return the names in a claim; one that is empty names nothing yet."""
    try:
        names = json.loads(data)["delete"] if data else []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(names)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise RemoteError(
            f"{CLAIMS_FOLDER}/{last} at the remote says something that this mlver does not know.",
            "A newer mlver may be at work there: upgrade. Else mlver gc --remote --grace 0 clears it away.",
        ) from error
    return names
