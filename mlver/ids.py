"""Identities: every digest is a type of its own and carries its algorithm's name when written.

A chunk's id is the BLAKE3-256 of its raw bytes; all other digests are BLAKE3-256 over chunk ids or
canonical JSON (`mlver.digests` computes them), so no byte is hashed twice. XXH3 is a checksum for rot,
never an identity. Nothing is imported here that costs start-up time.
"""

from __future__ import annotations

from typing import NewType

from mlver.errors import IntegrityError

ChunkId = NewType("ChunkId", bytes)
"""32 raw bytes: BLAKE3-256 of a chunk's raw bytes."""
PackId = NewType("PackId", str)
"""64 hex digits: BLAKE3-256 of a pack's index."""
ManifestId = NewType("ManifestId", str)
"""`blake3:` and 64 hex digits: BLAKE3-256 of a manifest's canonical JSON. It is also a version's id."""
FileDigest = NewType("FileDigest", str)
"""`blake3-chunks:` and 64 hex digits, see `file_digest`."""
TensorDigest = NewType("TensorDigest", str)
"""`blake3-tensor:` and 64 hex digits, see `tensor_digest`."""
WeightsDigest = NewType("WeightsDigest", str)
"""`blake3-weights:` and 64 hex digits, see `weights_digest`."""
BlobId = NewType("BlobId", str)
"""`blake3-blob:` and 64 hex digits, see `blob_id`: what a run leaves beside its events."""
RunId = NewType("RunId", str)
"""16 hex digits, at random: runs of different machines never have the same."""

DIGEST_SIZE = 32
ID_PREFIX = "blake3:"
BLOB_PREFIX = "blake3-blob:"
RUN_ID_DIGITS = 16


def manifest_hex(identity: str) -> str:
    """Return the 64 hex digits of a `ManifestId`.

    Raises:
        IntegrityError: `identity` is not `blake3:` and 64 lower-case hex digits.
    """
    digits = identity.removeprefix(ID_PREFIX)
    if len(identity) != len(ID_PREFIX) + 64 or digits == identity or not is_hex(digits):
        raise IntegrityError(f"{identity!r} is not a manifest id.")
    return digits


def is_hex(text: str) -> bool:
    """Tell whether `text` is made of lower-case hex digits only (and is not empty)."""
    return bool(text) and not text.strip("0123456789abcdef")


def is_blob_id(text: str) -> bool:
    """Tell whether `text` is a `BlobId`."""
    return len(text) == len(BLOB_PREFIX) + 64 and text.startswith(BLOB_PREFIX) and is_hex(text[len(BLOB_PREFIX) :])


def is_run_id(text: str) -> bool:
    """Tell whether `text` is a `RunId`."""
    return len(text) == RUN_ID_DIGITS and is_hex(text)
