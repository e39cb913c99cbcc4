"""Computing identities: chunk ids, and the digests derived from them. See `mlver.ids` for the types.

Source: https://github.com/BLAKE3-team/BLAKE3-specs, https://github.com/Cyan4973/xxHash (XXH3-64).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import blake3
import xxhash

from mlver.ids import (
    BLOB_PREFIX,
    ID_PREFIX,
    BlobId,
    ChunkId,
    FileDigest,
    ManifestId,
    TensorDigest,
    WeightsDigest,
)

Buffer = bytes | bytearray | memoryview


def chunk_id(raw: Buffer) -> ChunkId:
    """Return the identity of a chunk: BLAKE3-256 of its raw bytes."""
    return ChunkId(blake3.blake3(raw).digest())


def blake3_hex(data: Buffer) -> str:
    """Return the BLAKE3-256 of `data` as 64 hex digits."""
    return blake3.blake3(data).hexdigest()


class ContentHasher:
    """The BLAKE3-256 of bytes that come piece by piece, written with its algorithm's name."""

    def __init__(self) -> None:
        self._hasher = blake3.blake3()
        self.size_bytes = 0

    def update(self, piece: Buffer) -> None:
        """Take the next bytes."""
        self._hasher.update(piece)
        self.size_bytes += len(piece)

    def digest(self) -> str:
        """Return `blake3:` and 64 hex digits over all bytes so far."""
        return ID_PREFIX + self._hasher.hexdigest()


def manifest_id(canonical: bytes) -> ManifestId:
    """Return the id of a manifest from its canonical JSON bytes."""
    return ManifestId(ID_PREFIX + blake3_hex(canonical))


def blob_id(raw: Buffer) -> BlobId:
    """Return the id of a blob of a run from its raw bytes."""
    hasher = blake3.blake3(b"mlver blob 1\0")
    hasher.update(raw)
    return BlobId(BLOB_PREFIX + hasher.hexdigest())


def file_digest(size_bytes: int, chunks: Iterable[ChunkId]) -> FileDigest:
    """Return a file's digest from its size and the ids of its chunks in order."""
    hasher = blake3.blake3(b"mlver file 1\0" + size_bytes.to_bytes(8, "little"))
    for chunk in chunks:
        hasher.update(chunk)
    return FileDigest("blake3-chunks:" + hasher.hexdigest())


def tensor_digest(dtype: str, shape: Iterable[int], chunks: Iterable[ChunkId], layout: str = "C") -> TensorDigest:
    """Return a tensor's digest: the same in every file format, key order and sharding.

    Args:
        dtype: safetensors name of the element type, such as `BF16`.
        shape: Dimensions, outermost first; `()` is a scalar.
        chunks: Ids of the tensor's chunks in order.
        layout: `C` for row-major contiguous; anything else (`F`, strides) is another tensor.
    """
    head = canonical_json({"dtype": dtype, "layout": layout, "shape": list(shape)})
    hasher = blake3.blake3(b"mlver tensor 1\0" + head + b"\0")
    for chunk in chunks:
        hasher.update(chunk)
    return TensorDigest("blake3-tensor:" + hasher.hexdigest())


def view_digest(dtype: str, shape: Iterable[int], layout: str, owner: str, offset: int) -> TensorDigest:
    """Return the digest of a tensor that lies inside the bytes of another one, at `offset` bytes from its start."""
    head = canonical_json(
        {
            "dtype": dtype,
            "layout": layout,
            "offset": offset,
            "owner": owner,
            "shape": list(shape),
        }
    )
    return TensorDigest("blake3-tensor:" + blake3_hex(b"mlver view 1\0" + head))


def weights_digest(named: Iterable[tuple[str, str]]) -> WeightsDigest:
    """Return the digest of all weights of a version: over (name, digest) pairs, sorted."""
    pairs = sorted([name, digest] for name, digest in named)
    return WeightsDigest("blake3-weights:" + blake3_hex(b"mlver weights 1\0" + canonical_json(pairs)))


def checksum(data: Buffer) -> int:
    """Return the XXH3-64 of `data`, the fast checksum against rot."""
    return xxhash.xxh3_64_intdigest(data)


def canonical_json(value: Any) -> bytes:
    """Return `value` as the one JSON text that is hashed: sorted keys, no spaces, UTF-8, finite numbers.

    Raises:
        ValueError: A number is NaN or infinite.
    """
    return json.dumps(
        value,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    ).encode("utf-8", "strict")
