"""Packs without what is superfluous in them: **frames as they are → new packs**. Nothing is decoded or encoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mlver.errors import IntegrityError, MlverError, NotFoundError
from mlver.ids import ChunkId, PackId
from mlver.ops.collect.stock import KEY_BYTES, contains
from mlver.ops.progress import Progress
from mlver.store.local import LocalStorage
from mlver.store.pack import (
    PackEntry,
    PackWriter,
    build_frame,
    check_frame,
    pack_name,
    read_pack_index,
)

if TYPE_CHECKING:
    from mlver.ops.collect.stock import Keys

_READ_BYTES = 8 << 20
_GAP_BYTES = 64 << 10
"""Superfluous bytes between two frames that are cheaper to read than another request."""


class DamagedPackError(Exception):
    """A frame that should be copied is damaged, so its pack is to be left as it is.

    Attributes:
        pack: The pack.
        error: What is wrong.
    """

    def __init__(self, pack: PackId, error: MlverError) -> None:
        super().__init__(error.message)
        self.pack = pack
        self.error = error


class Rewriter:
    """Copies the frames of packs that are needed into new packs.

    Args:
        storage: Where the packs are.
        needed: uint64, sorted: the chunks that are needed.
        progress: Told of the bytes copied.

    Attributes:
        written: The new packs.
    """

    def __init__(self, storage: LocalStorage, needed: Keys, progress: Progress) -> None:
        self.written: list[PackId] = []
        self._storage = storage
        self._needed = needed
        self._progress = progress
        self._writer: PackWriter | None = None
        self._holds: set[ChunkId] = set()

    def copy(self, packs: Sequence[PackId]) -> None:
        """Copy what is needed of some packs; it is durable when this returns.

        Raises:
            DamagedPackError: A frame of one of them is damaged, or the pack is gone.
            MlverError: The disk is full, or failed.
        """
        try:
            for pack in packs:
                self._copy(pack)
            self._seal()
        finally:
            if self._writer is not None:
                self._writer.staged.abort()
                self._writer = None

    def _copy(self, pack: PackId) -> None:
        try:
            entries = self._needed_entries(pack)
            for stretch in _stretches(entries):
                self._copy_stretch(pack, stretch)
        except (IntegrityError, NotFoundError) as error:
            raise DamagedPackError(pack, error) from error

    def _needed_entries(self, pack: PackId) -> list[PackEntry]:
        import numpy as np

        entries = read_pack_index(self._storage, pack_name(pack))
        keys = np.frombuffer(b"".join(entry.chunk[:KEY_BYTES] for entry in entries), "<u8")
        return [entry for entry, wanted in zip(entries, contains(self._needed, keys).tolist(), strict=True) if wanted]

    def _copy_stretch(self, pack: PackId, entries: Sequence[PackEntry]) -> None:
        start = entries[0].offset
        data = memoryview(
            self._storage.read(pack_name(pack), start, entries[-1].offset + entries[-1].frame_length - start)
        )
        for entry in entries:
            at = entry.offset - start
            header, payload = check_frame(data[at : at + entry.frame_length], pack, entry)
            writer = self._writer_for(entry.chunk)
            writer.append(build_frame(header, [payload]))
            self._holds.add(entry.chunk)
            self._progress.advance(entry.frame_length)

    def _writer_for(self, chunk: ChunkId) -> PackWriter:
        """Return a pack to write to that is not full and does not have the chunk yet, in another frame."""
        if self._writer is not None and (self._writer.is_full or chunk in self._holds):
            self._seal()
        if self._writer is None:
            self._writer = PackWriter(self._storage.stage())
        return self._writer

    def _seal(self) -> None:
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        self._holds.clear()
        try:
            pack, _ = writer.finish()
            writer.staged.commit(pack_name(pack))
        finally:
            writer.staged.abort()  # does nothing where it was committed
        self.written.append(pack)


def _stretches(entries: Sequence[PackEntry]) -> Iterator[list[PackEntry]]:
    """Yield entries in groups that lie near each other."""
    group: list[PackEntry] = []
    for entry in entries:
        if group:
            end = group[-1].offset + group[-1].frame_length
            if entry.offset - end > _GAP_BYTES or entry.offset + entry.frame_length - group[0].offset > _READ_BYTES:
                yield group
                group = []
        group.append(entry)
    if group:
        yield group
