"""Which frames are read by one call."""

from __future__ import annotations

import pytest

from mlver.ids import ChunkId, PackId
from mlver.store.chunk_index import Location
from mlver.store.pack import PackEntry
from mlver.store.stretches import stretches

ONE, TWO = PackId("1" * 64), PackId("2" * 64)


def at(offset: int, pack: PackId = ONE) -> Location:
    """Return the place of a frame of 100 bytes."""
    return Location(pack, PackEntry(ChunkId(bytes(32)), b"", offset, 100, 100, 0))


@pytest.mark.parametrize(
    ("places", "gap_bytes", "sizes"),
    [
        ([], 0, []),
        ([at(0), at(100), at(200)], 0, [3]),
        ([at(0), at(101), at(201)], 0, [1, 2]),
        ([at(0), at(110), at(221)], 10, [2, 1]),
        ([at(100), at(0)], 10, [1, 1]),
        ([at(0), at(0)], 10, [1, 1]),
        ([at(0), at(100, TWO)], 10, [1, 1]),
        ([at(0), at(100), at(200), at(300), at(400)], 0, [4, 1]),
    ],
    ids=["none", "all", "gap", "small gap", "backwards", "twice", "packs", "far"],
)
def test_frames_near_each_other_are_one_group(places: list[Location], gap_bytes: int, sizes: list[int]) -> None:
    groups = list(stretches(places, 400, gap_bytes))
    assert [len(group) for group in groups] == sizes
    assert [place for group in groups for place in group] == places
