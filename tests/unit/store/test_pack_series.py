"""Packs that are written one after the other, and frames read from them in stretches."""

from __future__ import annotations

import pytest

from mlver.digests import chunk_id
from mlver.errors import IntegrityError
from mlver.store import pack as pack_module
from mlver.store import pack_series
from mlver.store.frames import FrameHeader, build_frame
from mlver.store.memory import MemoryStorage
from mlver.store.pack import pack_name, read_pack_index
from mlver.store.pack_series import PackSeries, read_frames

CONTENTS = [bytes([number]) * 40 for number in range(6)]


def written(storage: MemoryStorage) -> PackSeries:
    series = PackSeries(storage)
    for content in CONTENTS:
        series.append(build_frame(FrameHeader(chunk_id(content), len(content), 0), [content]))
    series.seal()
    return series


def test_a_series_that_was_aborted_leaves_nothing() -> None:
    storage = MemoryStorage()
    series = PackSeries(storage)
    series.abort()
    series.seal()  # nothing is under way
    series.append(build_frame(FrameHeader(chunk_id(b"x"), 1, 0), [b"x"]))
    series.abort()
    series.seal()
    assert series.written == []
    assert storage.list("packs") == []


def test_a_pack_that_is_full_or_has_a_chunk_already_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a chunk that is stored against two bases: each copy is in a pack of its own, where its id finds it."""
    storage = MemoryStorage()
    series = PackSeries(storage)
    for content in (b"a", b"b", b"a", b"c"):
        series.append(build_frame(FrameHeader(chunk_id(content), 1, 0), [content]))
    monkeypatch.setattr(pack_module, "PACK_MAX_ENTRIES", 2)
    series.append(build_frame(FrameHeader(chunk_id(b"d"), 1, 0), [b"d"]))
    series.seal()
    held = [[entry.chunk for entry in read_pack_index(storage, pack_name(pack))] for pack in series.written]
    assert held == [[chunk_id(content) for content in group] for group in ((b"a", b"b"), (b"a", b"c"), (b"d",))]


@pytest.mark.parametrize("gap_bytes", [0, 1 << 20])
def test_frames_far_from_each_other_are_read_apart(monkeypatch: pytest.MonkeyPatch, gap_bytes: int) -> None:
    storage = MemoryStorage()
    series = written(storage)
    (pack,) = series.written
    entries = series.entries[pack]
    monkeypatch.setattr(pack_series, "_GAP_BYTES", gap_bytes)
    wanted = [entries[0], entries[2], entries[5]]
    assert [entry for entry, frame in read_frames(storage, pack, wanted) if not isinstance(frame, Exception)] == wanted
    assert list(read_frames(storage, pack, [])) == []


def test_each_damaged_frame_is_told_and_the_others_are_read() -> None:
    storage = MemoryStorage()
    series = written(storage)
    (pack,) = series.written
    entries = series.entries[pack]
    data = bytearray(storage.read(pack_name(pack)))
    data[entries[1].offset + entries[1].frame_length - 1] ^= 1
    storage.put(pack_name(pack), bytes(data))
    found = [isinstance(frame, IntegrityError) for _, frame in read_frames(storage, pack, entries)]
    assert found == [False, True, False, False, False, False]
