"""Frames: one encoded chunk with everything needed to find, check and decode it. The bytes of a pack are frames.

On the way in `build_frame` wraps what the codec made (in worker threads); on the way out `parse_frame` checks it.
The payload is opaque here. The layout is in `mlver.store.pack`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import xxhash

from mlver.errors import IntegrityError
from mlver.ids import DIGEST_SIZE, ChunkId
from mlver.store.storage import Buffer

FRAME_MAGIC = b"\x89ML1"
MAX_CHUNK_BYTES = 1 << 24
"""No chunk, encoded or raw, is larger; checked before anything is allocated."""

FIXED = struct.Struct("<4sIIBBH32s")
CHECKSUM = struct.Struct("<Q")
HEADER_BYTES = FIXED.size + CHECKSUM.size
MAX_HEADER_BYTES = HEADER_BYTES + DIGEST_SIZE

_HAS_BASE = 1


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What a frame says of its payload.

    Attributes:
        chunk: Identity of the raw bytes.
        raw_size: Bytes of the chunk before encoding, at most `MAX_CHUNK_BYTES`.
        encoding: Number of the encoding, 0 to 255; the codec knows what it means.
        base: The chunk that decoding needs, if any.
    """

    chunk: ChunkId
    raw_size: int
    encoding: int
    base: ChunkId | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame ready to be appended to a pack: `head` and then `parts` are its bytes.

    Attributes:
        header: What `head` encodes.
        checksum: XXH3-64 over the head before it and the payload.
        head: The encoded header.
        parts: The payload, in pieces that were never copied together.
        size_bytes: Of the whole frame.
    """

    header: FrameHeader
    checksum: int
    head: bytes
    parts: tuple[Buffer, ...]
    size_bytes: int


def build_frame(header: FrameHeader, parts: Sequence[Buffer]) -> Frame:
    """Wrap an encoded payload, given in pieces, without copying it. Pure, and safe in any thread.

    Raises:
        ValueError: The payload or the chunk is larger than `MAX_CHUNK_BYTES`, or the chunk is its own base.
    """
    payload_bytes = sum(memoryview(part).nbytes for part in parts)
    if max(payload_bytes, header.raw_size) > MAX_CHUNK_BYTES or header.base == header.chunk:
        raise ValueError(f"No frame can hold chunk {header.chunk.hex()}: too large, or its own base.")
    flags = 0 if header.base is None else _HAS_BASE
    fixed = FIXED.pack(
        FRAME_MAGIC,
        payload_bytes,
        header.raw_size,
        header.encoding,
        flags,
        0,
        header.chunk,
    )
    covered = fixed + (header.base or b"")
    hasher = xxhash.xxh3_64(covered)
    for part in parts:
        hasher.update(part)
    checksum = hasher.intdigest()
    head = covered + CHECKSUM.pack(checksum)
    return Frame(header, checksum, head, tuple(parts), len(head) + payload_bytes)


def frame_size(data: Buffer) -> int | None:
    """Return the size in bytes that a frame's head claims for the whole frame, None where no frame can start.

    Args:
        data: At least `HEADER_BYTES` bytes from where the frame starts.
    """
    magic, payload_bytes, raw_size, _, flags, reserved, _ = FIXED.unpack_from(data)
    if magic != FRAME_MAGIC or flags & ~_HAS_BASE or reserved or max(payload_bytes, raw_size) > MAX_CHUNK_BYTES:
        return None
    return HEADER_BYTES + (DIGEST_SIZE if flags & _HAS_BASE else 0) + int(payload_bytes)


def parse_frame(data: Buffer, culprit: str) -> tuple[FrameHeader, memoryview]:
    """Return the header and the payload of a whole frame after checking every byte of it.

    Args:
        data: Exactly one frame.
        culprit: Names the frame in the error, as `pack ab12… at 8`.

    Raises:
        IntegrityError: The bytes are not an intact frame.
    """
    view = memoryview(data)
    if len(view) < HEADER_BYTES or frame_size(view) != len(view):
        raise IntegrityError(f"The frame of {culprit} is damaged: its header is not one.")
    _, _, raw_size, encoding, flags, _, chunk = FIXED.unpack_from(view)
    end = FIXED.size + (DIGEST_SIZE if flags & _HAS_BASE else 0)
    base = ChunkId(bytes(view[FIXED.size : end])) if flags & _HAS_BASE else None
    (checksum,) = CHECKSUM.unpack_from(view, end)
    payload = view[end + CHECKSUM.size :]
    hasher = xxhash.xxh3_64(view[:end])
    hasher.update(payload)
    if hasher.intdigest() != checksum or base == chunk:
        raise IntegrityError(f"The frame of {culprit} is damaged: its checksum does not match.")
    return FrameHeader(ChunkId(chunk), raw_size, encoding, base), payload
