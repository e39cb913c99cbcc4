"""Damaged packs: **every frame checked → sound ones into new packs → the old pack into quarantine**.

The new pack is durable before the old one leaves its place, so whatever kills this in between, everything that was
sound can be read; the next one finds the damaged pack and does it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from mlver.errors import IntegrityError, NotFoundError
from mlver.ids import ChunkId, PackId
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress
from mlver.ops.repair.quarantine import move_away
from mlver.store.frames import Frame, FrameHeader, build_frame
from mlver.store.pack import PACKS_FOLDER, PackEntry, pack_id_of, pack_name, read_pack_index
from mlver.store.pack_series import PackSeries, read_frames
from mlver.store.rescan import rescan


@dataclass(slots=True)
class Salvage:
    """What became of damaged packs.

    Attributes:
        quarantined: Where the damaged packs are now.
        rebuilt: Packs of which only the index was damaged, and is right again.
        frames: How many sound frames of them were copied.
        lost: Chunks whose frames were damaged; there may be others of them.
    """

    quarantined: list[str] = field(default_factory=list)
    rebuilt: list[PackId] = field(default_factory=list)
    frames: int = 0
    lost: set[ChunkId] = field(default_factory=set)


def salvage_packs(repository: OpenRepository, progress: Progress) -> Salvage:
    """Check every frame of every pack, and take apart the packs in which one is damaged.

    Raises:
        MlverError: Something cannot be listed, read or written; nothing was lost.
    """
    storage = repository.storage
    salvage = Salvage()
    packs = [pack for name in storage.list(PACKS_FOLDER) if (pack := pack_id_of(name)) is not None]
    known = repository.chunk_index.packs()
    progress.start(sum(known.get(pack, 0) for pack in packs), "Checking packs")
    try:
        for pack in packs:
            with suppress(NotFoundError):  # a collector was faster
                if not _is_sound(repository, pack):
                    _salvage(repository, pack, salvage)
            progress.advance(known.get(pack, 0))
    finally:
        progress.done()
    return salvage


def _is_sound(repository: OpenRepository, pack: PackId) -> bool:
    try:
        entries = read_pack_index(repository.storage, pack_name(pack))
        frames = read_frames(repository.storage, pack, entries)
        return not any(isinstance(frame, IntegrityError) for _, frame in frames)
    except IntegrityError:
        return False


def _salvage(repository: OpenRepository, pack: PackId, salvage: Salvage) -> None:
    """Copy the sound frames of a pack, and move it away."""
    series = PackSeries(repository.storage)
    saved: set[ChunkId] = set()
    known = _known_entries(repository, pack)
    try:
        for frame in _sound_frames(repository, pack, known):
            series.append(frame)
            saved.add(frame.header.chunk)
            salvage.frames += 1
        series.seal()
    finally:
        series.abort()
    if pack in series.written:
        salvage.rebuilt.append(pack)  # it has the very frames, and so the name, of the one that it replaced
    elif moved := move_away(repository.storage, pack_name(pack)):
        salvage.quarantined.append(moved)
    salvage.lost |= {entry.chunk for entry in known or ()} - saved


def _known_entries(repository: OpenRepository, pack: PackId) -> Sequence[PackEntry] | None:
    """Return what a pack held, as its index says, or the cache; None if nobody knows."""
    try:
        return read_pack_index(repository.storage, pack_name(pack))
    except IntegrityError:
        return repository.chunk_index.entries(pack) or None


def _sound_frames(repository: OpenRepository, pack: PackId, known: Sequence[PackEntry] | None) -> Iterator[Frame]:
    """Yield the sound frames of a damaged pack: where they should be, or (the index is lost) where any are found."""
    seen: set[int] = set()
    if known is not None:
        with suppress(IntegrityError):  # it is shorter than it was
            for entry, frame in read_frames(repository.storage, pack, known):
                if isinstance(frame, Frame):
                    seen.add(entry.offset)
                    yield frame
            return
    for entry, payload in rescan(repository.storage, pack_name(pack)):
        if entry.offset not in seen:
            yield build_frame(FrameHeader(entry.chunk, entry.raw_size, entry.encoding, entry.bases), [payload])
