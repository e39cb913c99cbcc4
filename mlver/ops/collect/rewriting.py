"""Packs without what is superfluous in them: **frames as they are → new packs**. Nothing is decoded or encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlver.errors import IntegrityError, MlverError, NotFoundError
from mlver.ids import PackId
from mlver.ops.collect.stock import KEY_BYTES, contains
from mlver.ops.progress import Progress
from mlver.store.pack import PackEntry, pack_name, read_pack_index
from mlver.store.pack_series import PackSeries, read_frames
from mlver.store.storage import Storage

if TYPE_CHECKING:
    from mlver.ops.collect.stock import Keys


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
    """

    def __init__(self, storage: Storage, needed: Keys, progress: Progress) -> None:
        self._storage = storage
        self._needed = needed
        self._progress = progress
        self._series = PackSeries(storage)

    @property
    def written(self) -> list[PackId]:
        """The new packs."""
        return self._series.written

    def copy(self, packs: Sequence[PackId]) -> None:
        """Copy what is needed of some packs; it is durable when this returns.

        Raises:
            DamagedPackError: A frame of one of them is damaged, or the pack is gone.
            MlverError: The disk is full, or failed.
        """
        try:
            for pack in packs:
                self._copy(pack)
            self._series.seal()
        finally:
            self._series.abort()

    def _copy(self, pack: PackId) -> None:
        try:
            for entry, frame in read_frames(self._storage, pack, self._needed_entries(pack)):
                if isinstance(frame, IntegrityError):
                    raise frame
                self._series.append(frame)
                self._progress.advance(entry.frame_length)
        except (IntegrityError, NotFoundError) as error:
            raise DamagedPackError(pack, error) from error

    def _needed_entries(self, pack: PackId) -> list[PackEntry]:
        import numpy as np

        entries = read_pack_index(self._storage, pack_name(pack))
        keys = np.frombuffer(b"".join(entry.chunk[:KEY_BYTES] for entry in entries), "<u8")
        return [entry for entry, wanted in zip(entries, contains(self._needed, keys).tolist(), strict=True) if wanted]
