"""Salvage: finding the intact frames of a pack whose index, or anything else, is damaged."""

from __future__ import annotations

from collections.abc import Iterator

from mlver.errors import IntegrityError
from mlver.store.frames import FRAME_MAGIC, HEADER_BYTES, frame_size, parse_frame
from mlver.store.pack import PackEntry
from mlver.store.storage import Storage

_WINDOW_BYTES = 1 << 20


def rescan(storage: Storage, name: str) -> Iterator[tuple[PackEntry, memoryview]]:
    """Yield every intact frame of a pack, in order, with its payload; the pack's index is not looked at.

    A frame that is found inside a damaged one (a user may keep packs as files) comes up too. It is what it says it
    is, as with every frame, only if its decoded bytes have the digest `entry.chunk`: check that.

    Raises:
        NotFoundError: There is no such pack.
        MlverError: It cannot be read.
    """
    size_bytes = storage.size(name)
    offset: int | None = 0
    while offset is not None:
        found = _intact_frame(storage, name, offset, size_bytes)
        if found:
            yield found
        next_offset = offset + (found[0].frame_length if found else 1)
        offset = _find_magic(storage, name, next_offset, size_bytes)


def _intact_frame(storage: Storage, name: str, offset: int, end: int) -> tuple[PackEntry, memoryview] | None:
    if offset + HEADER_BYTES > end:
        return None
    length = frame_size(storage.read(name, offset, HEADER_BYTES))
    if length is None or offset + length > end:
        return None
    try:
        header, payload = parse_frame(storage.read(name, offset, length), f"{name} at {offset}")
    except IntegrityError:
        return None
    return PackEntry(header.chunk, header.bases, offset, length, header.raw_size, header.encoding), payload


def _find_magic(storage: Storage, name: str, start: int, end: int) -> int | None:
    """Return the offset of the next frame's magic at or after `start`."""
    while start + len(FRAME_MAGIC) <= end:
        window = storage.read(name, start, min(_WINDOW_BYTES, end - start))
        position = window.find(FRAME_MAGIC)
        if position >= 0:
            return start + position
        start += len(window) - len(FRAME_MAGIC) + 1
    return None
