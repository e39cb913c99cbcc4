"""Packs: files of many frames with an index at the end. Between the codec and the storage, both ways.

All numbers are little-endian. A pack is named `packs/<pack id>.pack` and never changes::

    pack     = frame+ index trailer                 frames back to back from offset 0, in the order of the index
    frame      0   4  magic  89 'M' 'L' '1'
               4   4  payload length in bytes, u32, at most 16 MiB
               8   4  raw size of the chunk in bytes, u32, at most 16 MiB
              12   1  encoding, u8 (the numbers are the codec's)
              13   1  number of bases, u8, at most 2
              14   2  reserved, u16 = 0
              16  32  chunk id: BLAKE3-256 of the raw bytes
              48 32b  chunk ids of the b bases; none is the chunk id itself
        48 + 32b   8  XXH3-64, u64, seed 0, of all bytes of the frame before this field, followed by the payload
        56 + 32b      payload
    index      for each frame, in the order of the frames; B is 1 in format 1, and 2 in format 2:
               0  32  chunk id
              32 32B  chunk ids of its bases, then zeros
        32 + 32B   8  offset of the frame from the start of the pack, u64
        40 + 32B   8  the frame's XXH3-64, u64
        48 + 32B   4  length of the whole frame in bytes, u32
        52 + 32B   4  raw size in bytes, u32
        56 + 32B   1  encoding, u8
        57 + 32B   3  reserved, 0
    trailer    0   8  offset of the index from the start of the pack, u64
               8   4  number of index entries, u32, at least 1, at most 2^20
              12   4  format version, u32: 2 if a frame has two bases, else 1
              16  32  pack id: BLAKE3-256 of the index
              48   8  XXH3-64, u64, seed 0, of bytes 0 to 47 of the trailer
              56   8  magic  89 'M' 'L' 'V' 'P' 'A' 'C' 'K'

The pack id covers, through the checksums in the index, every byte of every frame: one name, one content. A frame
repeats what the index says of it, so a pack whose index is lost can be scanned (`mlver.store.rescan`).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from mlver.digests import blake3_hex, checksum
from mlver.errors import IntegrityError
from mlver.ids import DIGEST_SIZE, ChunkId, PackId, is_hex
from mlver.store.frames import (
    CHECKSUM,
    HEADER_BYTES,
    MAX_CHUNK_BYTES,
    Frame,
    FrameHeader,
    build_frame,
    parse_frame,
    split_bases,
)
from mlver.store.storage import Buffer, StagedBlob, Storage

__all__ = [
    "PACKS_FOLDER",
    "PACK_SUFFIX",
    "PACK_TARGET_BYTES",
    "Frame",
    "FrameHeader",
    "PackEntry",
    "PackWriter",
    "build_frame",
    "check_frame",
    "pack_id_of",
    "pack_name",
    "read_frame",
    "read_index_bytes",
    "read_pack_index",
    "split_bases",
]

PACKS_FOLDER = "packs"
PACK_TARGET_BYTES = 64 << 20
"""A pack that reached this size is finished."""
PACK_MAX_ENTRIES = 1 << 16
"""A pack that reached this many frames is finished; keeps the index of tiny chunks small."""

_SMALL_FRAME_BYTES = 64 << 10
_GATHERED_BYTES = 1 << 20
_MAGIC = b"\x89MLVPACK"
_NONE = bytes(DIGEST_SIZE)
PACK_SUFFIX = ".pack"
_WRITE_ENTRIES = {1: struct.Struct("<32s32sQQIIB3x"), 2: struct.Struct("<32s64sQQIIB3x")}
"""An index entry by format version: the number of bases it has room for."""
_READ_ENTRIES = {1: struct.Struct("<32s32sQ8xIIB3x"), 2: struct.Struct("<32s64sQ8xIIB3x")}
_TRAILER = struct.Struct("<QII32s")
_TRAILER_BYTES = _TRAILER.size + CHECKSUM.size + len(_MAGIC)
_TAIL_BYTES = 64 << 10
_READ_MAX_ENTRIES = 1 << 20


class PackEntry(NamedTuple):
    """Where a chunk lies in a pack. A named tuple: there are millions of them, and they are made in bulk.

    Attributes:
        chunk: Identity of the raw bytes.
        bases: Ids of the chunks that decoding needs, end to end; see `split_bases`.
        offset: Of the frame from the start of the pack, in bytes.
        frame_length: Of the whole frame with its header, in bytes.
        raw_size: Of the decoded chunk, in bytes.
        encoding: Number of the encoding.
    """

    chunk: ChunkId
    bases: bytes
    offset: int
    frame_length: int
    raw_size: int
    encoding: int


def pack_name(pack: PackId) -> str:
    """Return the blob name of a pack."""
    return f"{PACKS_FOLDER}/{pack}{PACK_SUFFIX}"


def pack_id_of(name: str) -> PackId | None:
    """Return the id in a pack's name, given with or without its folder; None if it is no pack's name."""
    digits = name.removeprefix(PACKS_FOLDER + "/").removesuffix(PACK_SUFFIX)
    if len(digits) != 64 or not is_hex(digits) or not name.endswith(PACK_SUFFIX):
        return None
    return PackId(digits)


class PackWriter:
    """Writes one pack: any number of `append`, then `finish`, then the caller commits the staged blob.

    One thread at a time. Committing is left to the caller because it waits for the disk: hand it to another thread
    and start the next pack meanwhile. After an error, the staged blob is to be aborted.
    """

    def __init__(self, staged: StagedBlob) -> None:
        self.staged = staged
        self._entries: list[PackEntry] = []
        self._checksums: list[int] = []
        self._gathered = bytearray()
        """Small frames that are written together: a call for each would cost more than the bytes."""

    @property
    def is_full(self) -> bool:
        """Whether it is time to finish this pack and start another."""
        return self._offset >= PACK_TARGET_BYTES or len(self._entries) >= PACK_MAX_ENTRIES

    @property
    def _offset(self) -> int:
        return self.staged.size_bytes + len(self._gathered)

    def append(self, frame: Frame) -> PackEntry:
        """Write a frame and return where it will be found once the pack is committed.

        Raises:
            MlverError: It could not be written; the staged blob is used up.
        """
        header, offset = frame.header, self._offset
        if frame.size_bytes <= _SMALL_FRAME_BYTES:
            for piece in (frame.head, *frame.parts):
                self._gathered += piece
        else:
            self._flush()
            self.staged.write(frame.head, *frame.parts)
        if len(self._gathered) >= _GATHERED_BYTES:
            self._flush()
        entry = PackEntry(
            header.chunk,
            header.bases,
            offset,
            frame.size_bytes,
            header.raw_size,
            header.encoding,
        )
        self._entries.append(entry)
        self._checksums.append(frame.checksum)
        return entry

    def finish(self) -> tuple[PackId, list[PackEntry]]:
        """Write the index and the trailer; what is left is `staged.commit(pack_name(pack_id))`.

        Raises:
            ValueError: Nothing was appended.
            MlverError: It could not be written; the staged blob is used up.
        """
        if not self._entries:
            raise ValueError("A pack holds at least one frame.")
        self._flush()
        version = 2 if any(len(entry.bases) > DIGEST_SIZE for entry in self._entries) else 1
        write = _WRITE_ENTRIES[version].pack
        index = b"".join(
            write(chunk, bases, offset, checksum, length, raw_size, encoding)
            for (chunk, bases, offset, length, raw_size, encoding), checksum in zip(
                self._entries, self._checksums, strict=True
            )
        )
        pack = PackId(blake3_hex(index))
        trailer = _TRAILER.pack(self.staged.size_bytes, len(self._entries), version, bytes.fromhex(pack))
        self.staged.write(index, trailer, CHECKSUM.pack(checksum(trailer)), _MAGIC)
        return pack, self._entries

    def _flush(self) -> None:
        if self._gathered:
            self.staged.write(self._gathered)
            self._gathered = bytearray()


def read_pack_index(storage: Storage, name: str) -> list[PackEntry]:
    """Return the entries of a pack in the order of its frames, after checking all of its index.

    Raises:
        NotFoundError: There is no such pack.
        IntegrityError: The pack is named otherwise than its index says, truncated, or damaged.
        MlverError: It cannot be read.
    """
    index, index_start, version = _read_index(storage, name)
    return _parse_index(index, index_start, version, name)


def read_index_bytes(storage: Storage, name: str) -> tuple[Buffer, int]:
    """Return the index of a pack as it is, after checking its digest, and the format that it is in.

    Raises:
        NotFoundError: There is no such pack.
        IntegrityError: The pack is named otherwise than its index says, truncated, or damaged.
        MlverError: It cannot be read.
    """
    index, _, version = _read_index(storage, name)
    return index, version


def _read_index(storage: Storage, name: str) -> tuple[memoryview, int, int]:
    """Return a pack's index, its offset, and its format. One request reads the whole index of most packs."""
    size_bytes = storage.size(name)
    if size_bytes < _TRAILER_BYTES:
        raise _damaged(name, "it is too short to be one")
    tail_start = max(0, size_bytes - _TAIL_BYTES)
    tail = storage.read(name, tail_start, size_bytes - tail_start)
    index_start, count, version = _parse_trailer(tail[-_TRAILER_BYTES:], size_bytes, name)
    index_bytes = count * _READ_ENTRIES[version].size
    if index_start >= tail_start:
        index = memoryview(tail)[index_start - tail_start :][:index_bytes]
    else:
        index = memoryview(storage.read(name, index_start, tail_start - index_start) + tail)[:index_bytes]
    if blake3_hex(index) != pack_id_of(name):
        raise _damaged(name, "its index does not have the digest that its name says")
    return index, index_start, version


def _parse_trailer(trailer: bytes, size_bytes: int, name: str) -> tuple[int, int, int]:
    """Return the index's offset, the number of entries, and the format: all agree with the size of the file."""
    index_start, count, version, digest = _TRAILER.unpack_from(trailer)
    if not trailer.endswith(_MAGIC):
        raise _damaged(name, "it does not end as a pack does; it may be truncated")
    if CHECKSUM.unpack_from(trailer, _TRAILER.size)[0] != checksum(trailer[: _TRAILER.size]):
        raise _damaged(name, "the checksum of its trailer does not match")
    if digest.hex() != pack_id_of(name):
        raise _damaged(name, f"it is the pack {digest.hex()}")
    if version not in _READ_ENTRIES:
        raise _unknown(name, version)
    if not 0 < count <= _READ_MAX_ENTRIES:
        raise _damaged(name, f"its trailer says it has {count} entries")
    if index_start + count * _READ_ENTRIES[version].size + _TRAILER_BYTES != size_bytes:
        raise _damaged(name, "its size is not what its trailer says")
    return index_start, count, version


def _parse_index(index: Buffer, index_start: int, version: int, name: str) -> list[PackEntry]:
    """Return the entries, whose frames fill the pack up to its index without gap or overlap."""
    entries = []
    expected = 0
    for (
        chunk,
        padded,
        offset,
        frame_length,
        raw_size,
        encoding,
    ) in _READ_ENTRIES[version].iter_unpack(index):
        bases = _unpad(padded)
        shortest = HEADER_BYTES + len(bases)
        if (
            offset != expected
            or not shortest <= frame_length <= shortest + MAX_CHUNK_BYTES
            or chunk in split_bases(bases)
        ):
            raise _damaged(name, f"the index entry of chunk {chunk.hex()} is out of place")
        if raw_size > MAX_CHUNK_BYTES:
            raise _damaged(name, f"chunk {chunk.hex()} is said to have {raw_size} bytes")
        expected = offset + frame_length
        entries.append(
            PackEntry(
                chunk,
                bases,
                offset,
                frame_length,
                raw_size,
                encoding,
            )
        )
    if expected != index_start:
        raise _damaged(name, "its frames do not end where its index starts")
    return entries


def read_frame(storage: Storage, pack: PackId, entry: PackEntry) -> tuple[FrameHeader, memoryview]:
    """Read and check one frame; its payload is as it was written, but the raw bytes still have to be hashed.

    Raises:
        NotFoundError: There is no such pack.
        IntegrityError: The frame is damaged, or not the one that `entry` describes.
        MlverError: It cannot be read.
    """
    return check_frame(storage.read(pack_name(pack), entry.offset, entry.frame_length), pack, entry)


def check_frame(data: Buffer, pack: PackId, entry: PackEntry) -> tuple[FrameHeader, memoryview]:
    """Return header and payload of a frame that was read with others in one request; see `read_frame`.

    Raises:
        IntegrityError: The frame is damaged, or not the one that `entry` describes.
    """
    culprit = f"chunk {entry.chunk.hex()} at {entry.offset} of {pack_name(pack)}"
    header, payload = parse_frame(data, culprit)
    if header != FrameHeader(entry.chunk, entry.raw_size, entry.encoding, entry.bases):
        raise IntegrityError(f"The frame of {culprit} is not the one that the index says.")
    return header, payload


def _unpad(padded: bytes) -> bytes:
    """Return the ids of bases without the zeros that stand for those that are not there."""
    if padded[:DIGEST_SIZE] == _NONE:
        return b""
    return padded[:DIGEST_SIZE] if padded[DIGEST_SIZE:] in (b"", _NONE) else padded


def _unknown(name: str, version: int) -> IntegrityError:
    return IntegrityError(
        f"The pack {name} is written in format {version}; this program knows 1 and 2.", hint="Upgrade mlver."
    )


def _damaged(name: str, why: str) -> IntegrityError:
    return IntegrityError(f"The pack {name} is damaged: {why}.")
