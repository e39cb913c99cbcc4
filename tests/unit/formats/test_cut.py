from __future__ import annotations

import hashlib

import pytest

from mlver.formats import TENSOR_CHUNK_BYTES, ChunkSpan, Layout, Region, Tensor, cut_bytes, cut_tensor, plan
from mlver.formats.cut import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES
from mlver.formats.dtypes import BITS_BY_DTYPE

MIB = 1 << 20
GOLDEN_SIZES = [396403, 121467, 342765, 440419, 292458, 293580, 210060]


def noise(size_bytes: int) -> bytes:
    return hashlib.shake_128(b"noise").digest(size_bytes)


def test_a_tensor_is_cut_at_fixed_offsets_from_its_start() -> None:
    spans = list(cut_tensor(Tensor("w", "F32", (655360,), 100, 5 * MIB // 2), index=3))
    assert spans == [
        ChunkSpan(100, MIB, "F32", 3),
        ChunkSpan(100 + MIB, MIB, "F32", 3),
        ChunkSpan(100 + 2 * MIB, MIB // 2, "F32", 3),
    ]


def test_chunks_know_how_long_the_rows_of_their_tensor_are() -> None:
    def columns(shape: tuple[int, ...], order: str) -> int:
        return next(iter(cut_tensor(Tensor("w", "U8", shape, 0, 24, order)))).rows.columns

    assert columns((2, 3, 4), "C") == 4
    assert columns((2, 3, 4), "F") == 2
    assert columns((24,), "C") == 0
    assert columns((2, 12), "strides:1,12") == 0


def test_chunks_know_in_which_column_they_begin() -> None:
    spans = cut_tensor(Tensor("w", "F32", (3000, 384), 100, 3000 * 384 * 4))
    assert [span.rows for span in spans] == [(384, (number << 18) % 384) for number in range(5)]


def test_an_empty_tensor_has_no_chunks() -> None:
    assert list(cut_tensor(Tensor("w", "F32", (0,), 100, 0))) == []


def test_chunks_hold_whole_elements() -> None:
    assert all(TENSOR_CHUNK_BYTES * 8 % bits == 0 for dtype, bits in BITS_BY_DTYPE.items() if "F6" not in dtype)


def test_a_plan_is_the_whole_file() -> None:
    tensors = (
        Tensor("a", "U8", (10,), 20, 10),
        Tensor("z", "U8", (0,), 30, 0),
        Tensor("b", "U8", (5,), 30, 5),
        Tensor("c", "U8", (5,), 40, 5),
    )
    assert plan(Layout("npz", tensors), 50) == [
        Region(0, 20),
        Region(20, 10, 0),
        Region(30, 5, 2),
        Region(35, 5),
        Region(40, 5, 3),
        Region(45, 5),
    ]


def test_a_file_without_tensors_is_one_region() -> None:
    assert plan(None, 7) == [Region(0, 7)]
    assert plan(None, 0) == []


def test_chunks_of_bytes_keep_to_the_limits() -> None:
    sizes = cut_bytes(noise(8 * MIB), final=True)
    assert sum(sizes) == 8 * MIB
    assert all(MIN_CHUNK_BYTES <= size <= MAX_CHUNK_BYTES for size in sizes[:-1])
    assert 20 <= len(sizes) <= 50


def test_where_bytes_are_cut_is_part_of_the_format() -> None:
    # Other cuts would store old content again. A new release of pyfastcdc that fails here must not be taken.
    sizes = cut_bytes(noise(2 * MIB), final=True)
    assert sizes == GOLDEN_SIZES


def test_bytes_put_in_move_only_the_cuts_near_them() -> None:
    data = noise(4 * MIB)
    changed = data[: 2 * MIB] + b"something new" + data[2 * MIB :]
    assert len(chunks_of(data) - chunks_of(changed)) <= 2


@pytest.mark.parametrize("data", [b"", b"x", b"\0" * (3 * MIB)])
def test_small_and_dull_bytes(data: bytes) -> None:
    assert sum(cut_bytes(data, final=True)) == len(data)


def test_the_last_chunk_of_a_window_waits_for_more() -> None:
    data = noise(2 * MIB)
    assert cut_bytes(data, final=False) == cut_bytes(data, final=True)[:-1]
    assert cut_bytes(memoryview(bytearray(b"x")), final=False) == []


def chunks_of(data: bytes) -> set[bytes]:
    chunks, at = set(), 0
    for size in cut_bytes(data, final=True):
        chunks.add(data[at : at + size])
        at += size
    return chunks
