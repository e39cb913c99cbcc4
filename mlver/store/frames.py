"""Frames: one encoded chunk with everything needed to find, check and decode it. The bytes of a pack are frames.

On the way in `build_frame` wraps what the codec made (in worker threads); on the way out `parse_frame` checks it.
The payload is opaque here. The layout is in `mlver.store.pack`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import xxhash

from mlver.errors import IntegrityError
from mlver.ids import DIGEST_SIZE, ChunkId
from mlver.store.storage import Buffer

FRAME_MAGIC = b"\x89ML1"
MAX_CHUNK_BYTES = 1 << 24
"""No chunk, encoded or raw, is larger; checked before anything is allocated."""

MAX_BASES = 2
"""A chunk of a narrow type that was cast from a wide one lies across two chunks of it."""

FIXED = struct.Struct("<4sIIBBH32s")
CHECKSUM = struct.Struct("<Q")
HEADER_BYTES = FIXED.size + CHECKSUM.size

_BASES_BYTES = range(0, (MAX_BASES + 1) * DIGEST_SIZE, DIGEST_SIZE)


class FrameHeader(NamedTuple):
    """What a frame says of its payload.

    Attributes:
        chunk: Identity of the raw bytes.
        raw_size: Bytes of the chunk before encoding, at most `MAX_CHUNK_BYTES`.
        encoding: Number of the encoding, 0 to 255; the codec knows what it means.
        bases: Ids of the chunks that decoding needs, end to end; see `split_bases`.
    """

    chunk: ChunkId
    raw_size: int
    encoding: int
    bases: bytes = b""


class Frame(NamedTuple):
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


def split_bases(bases: bytes) -> list[ChunkId]:
    """Return the ids that a frame's bases consist of."""
    return [ChunkId(bases[at : at + DIGEST_SIZE]) for at in range(0, len(bases), DIGEST_SIZE)]


def build_frame(header: FrameHeader, parts: Sequence[Buffer]) -> Frame:
    """Wrap an encoded payload, given in pieces, without copying it. Pure, and safe in any thread.

    Raises:
        ValueError: The payload or the chunk is larger than `MAX_CHUNK_BYTES`, there are too many bases, or the chunk is
            its own base.
    """
    payload_bytes = sum(memoryview(part).nbytes for part in parts)
    if max(payload_bytes, header.raw_size) > MAX_CHUNK_BYTES or not _are_bases(header.bases, header.chunk):
        raise ValueError(f"No frame can hold chunk {header.chunk.hex()}: too large, or with bases that cannot be.")
    flags = len(header.bases) // DIGEST_SIZE
    fixed = FIXED.pack(
        FRAME_MAGIC,
        payload_bytes,
        header.raw_size,
        header.encoding,
        flags,
        0,
        header.chunk,
    )
    covered = fixed + header.bases
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
    if magic != FRAME_MAGIC or flags > MAX_BASES or reserved or max(payload_bytes, raw_size) > MAX_CHUNK_BYTES:
        return None
    return int(HEADER_BYTES + flags * DIGEST_SIZE + payload_bytes)


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
    end = FIXED.size + flags * DIGEST_SIZE
    bases = bytes(view[FIXED.size : end])
    (checksum,) = CHECKSUM.unpack_from(view, end)
    payload = view[end + CHECKSUM.size :]
    hasher = xxhash.xxh3_64(view[:end])
    hasher.update(payload)
    if hasher.intdigest() != checksum or not _are_bases(bases, chunk):
        raise IntegrityError(f"The frame of {culprit} is damaged: its checksum does not match.")
    return FrameHeader(ChunkId(chunk), raw_size, encoding, bases), payload


def _are_bases(bases: bytes, chunk: bytes) -> bool:
    """Tell whether `bases` can be those of `chunk`."""
    return not bases or (len(bases) in _BASES_BYTES and chunk not in split_bases(bases))
