"""The plan for packs, against a model that follows every frame: what is used stays, and what stays can be decoded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlver.ids import PackId
from mlver.ops.collect.plan import plan_packs
from mlver.ops.collect.stock import PackContent, Stock, contains, gather, undecodable, united, with_bases

CHUNKS = 12


class Frame(NamedTuple):
    """A chunk, what it rests on, and its length."""

    chunk: int
    bases: tuple[int, ...]
    length: int


# A chunk rests on chunks with lower numbers, so that no frames rest on each other in a circle.
frames = st.integers(1, CHUNKS).flatmap(
    lambda chunk: st.builds(
        Frame,
        st.just(chunk),
        st.lists(st.integers(1, chunk - 1), max_size=2, unique=True).map(tuple) if chunk > 1 else st.just(()),
        st.integers(60, 200),
    )
)
stores = st.lists(st.lists(frames, min_size=1, max_size=4, unique_by=lambda frame: frame.chunk), max_size=6)


def stock_of(packs: list[list[Frame]]) -> tuple[Stock, dict[PackId, PackContent]]:
    contents = {}
    for number, pack in enumerate(packs):
        edges = [(position, base) for position, frame in enumerate(pack) for base in frame.bases]
        contents[PackId(f"{number:064x}")] = PackContent(
            np.array([frame.chunk for frame in pack], np.uint64),
            np.array([frame.length for frame in pack], np.uint32),
            np.array([position for position, _ in edges], np.int64),
            np.array([base for _, base in edges], np.uint64),
        )
    return gather(contents), contents


def decodable(packs: list[list[Frame]]) -> set[int]:
    """Return the chunks that can be had."""
    found: set[int] = set()
    while True:
        news = {f.chunk for pack in packs for f in pack if f.chunk not in found and found.issuperset(f.bases)}
        if not news:
            return found
        found |= news


@given(stores, st.sets(st.integers(1, CHUNKS)), st.lists(st.booleans(), min_size=6, max_size=6))
def test_nothing_is_lost_that_is_used_or_stays(packs: list[list[Frame]], used: set[int], old: list[bool]) -> None:
    stock, contents = stock_of(packs)
    settled = dict(zip(contents, old, strict=False))
    plan = plan_packs(stock, np.array(sorted(used), np.uint64), settled)
    needed = set(plan.needed.tolist())
    after = []
    for pack, one in zip(contents, packs, strict=True):
        if pack in plan.delete:
            assert not needed & {frame.chunk for frame in one}
        else:
            after.append([frame for frame in one if pack not in plan.rewrite or frame.chunk in needed])
        assert settled[pack] or pack not in {*plan.delete, *plan.rewrite}
    before = decodable(packs)
    assert used & before <= decodable(after)
    for frame in (frame for pack in after for frame in pack):
        if before.issuperset(frame.bases):
            assert decodable(after).issuperset(frame.bases), "a frame stays whose base does not"
    for pack, one in zip(contents, packs, strict=True):
        figures = plan.figures[pack]
        assert figures.needed_bytes == sum(frame.length for frame in one if frame.chunk in needed)
        assert figures.needed_bytes + figures.dead_bytes == sum(frame.length for frame in one)
        if settled[pack] and pack not in {*plan.delete, *plan.rewrite}:
            assert figures.needed_bytes
            assert figures.dead_bytes < 0.2 * (figures.needed_bytes + figures.dead_bytes)


@given(stores, st.sets(st.integers(1, CHUNKS)))
def test_what_cannot_be_decoded(packs: list[list[Frame]], sought: set[int]) -> None:
    _, contents = stock_of(packs)
    found = undecodable(contents.values(), np.array(sorted(sought), np.uint64))
    assert found == sought - decodable(packs)


@given(stores, st.sets(st.integers(1, CHUNKS)))
def test_with_bases_is_all_that_any_copy_rests_on(packs: list[list[Frame]], sought: set[int]) -> None:
    stock, _ = stock_of(packs)
    expected = set(sought)
    for _ in range(CHUNKS):
        expected |= {base for pack in packs for frame in pack if frame.chunk in expected for base in frame.bases}
    assert set(with_bases(stock, np.array(sorted(sought), np.uint64)).tolist()) == expected


@given(st.lists(st.lists(st.integers(0, 2**64 - 1))), st.lists(st.integers(0, 2**64 - 1)))
def test_sets_of_keys(groups: list[list[int]], sought: list[int]) -> None:
    keys = united(*(np.array(group, np.uint64) for group in groups))
    every = {key for group in groups for key in group}
    assert keys.tolist() == sorted(every)
    assert contains(keys, np.array(sought, np.uint64)).tolist() == [key in every for key in sought]
