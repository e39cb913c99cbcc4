"""Frames copied from pack to pack as they are: **stretches of a pack → checked frames → a series of new packs**."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlver.errors import IntegrityError
from mlver.ids import ChunkId, PackId
from mlver.store.chunk_index import Location
from mlver.store.frames import Frame, build_frame
from mlver.store.pack import PackEntry, PackWriter, check_frame, pack_name
from mlver.store.storage import Storage
from mlver.store.stretches import stretches

_READ_BYTES = 8 << 20
_GAP_BYTES = 64 << 10
"""Bytes between two frames that are cheaper to read than another request."""


class PackSeries:
    """Writes frames into packs, a new one whenever one is full or has the chunk already, in another frame.

    Args:
        storage: Where the packs go.

    Attributes:
        written: The packs that are published.
        entries: What is in each of them.
    """

    def __init__(self, storage: Storage) -> None:
        self.written: list[PackId] = []
        self.entries: dict[PackId, Sequence[PackEntry]] = {}
        self._storage = storage
        self._writer: PackWriter | None = None
        self._holds: set[ChunkId] = set()

    def append(self, frame: Frame) -> None:
        """Write a frame.

        Raises:
            MlverError: The disk is full, or failed.
        """
        chunk = frame.header.chunk
        if self._writer is not None and (self._writer.is_full or chunk in self._holds):
            self.seal()
        if self._writer is None:
            self._writer = PackWriter(self._storage.stage())
        self._writer.append(frame)
        self._holds.add(chunk)

    def seal(self) -> None:
        """Publish the pack that is under way; it is durable when this returns.

        Raises:
            MlverError: The disk is full, or failed.
        """
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        self._holds.clear()
        try:
            pack, entries = writer.finish()
            writer.staged.commit(pack_name(pack))
        finally:
            writer.staged.abort()  # does nothing where it was committed
        self.written.append(pack)
        self.entries[pack] = entries

    def abort(self) -> None:
        """Throw the pack away that is under way, if there is one."""
        if self._writer is not None:
            self._writer.staged.abort()
            self._writer = None


def read_frames(
    storage: Storage, pack: PackId, entries: Sequence[PackEntry]
) -> Iterator[tuple[PackEntry, Frame | IntegrityError]]:
    """Yield frames of a pack in the order of `entries`, or what is wrong with each that is damaged.

    A frame aliases what was read: write it before asking for the next.

    Raises:
        NotFoundError: There is no such pack.
        IntegrityError: It is shorter than its index says.
        MlverError: It cannot be read.
    """
    for stretch in stretches((Location(pack, entry) for entry in entries), _READ_BYTES, _GAP_BYTES):
        start, last = stretch[0].entry.offset, stretch[-1].entry
        data = memoryview(storage.read(pack_name(pack), start, last.offset + last.frame_length - start))
        for _, entry in stretch:
            at = entry.offset - start
            try:
                header, payload = check_frame(data[at : at + entry.frame_length], pack, entry)
            except IntegrityError as error:
                yield entry, error
            else:
                yield entry, build_frame(header, [payload])
