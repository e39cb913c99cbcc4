"""Spans → chunks: where the bytes of a file are cut.

add: files → **spans → chunks** → identity → … Tensors are cut at fixed offsets from their own start, so that the
same tensor gives the same chunks in any file; all other bytes are cut where their content says (FastCDC), so
that an insertion moves few edges.

Source: W. Xia et al., "FastCDC" (USENIX ATC 2016); pyfastcdc.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from mlver.formats.layout import NO_ROWS, Layout, Rows, Tensor, rows_at

if TYPE_CHECKING:
    import pyfastcdc

TENSOR_CHUNK_BYTES = 1 << 20
"""Size of all chunks of a tensor but the last: a multiple of every element size."""
MIN_CHUNK_BYTES = 1 << 16
AVERAGE_CHUNK_BYTES = 1 << 18
MAX_CHUNK_BYTES = 1 << 20


class ChunkSpan(NamedTuple):
    """One chunk of a file, not yet read.

    Attributes:
        offset: In bytes from the start of the file.
        size_bytes: At most 1 MiB.
        dtype: Element type of the tensor it lies in, if it lies in one.
        tensor: Index of that tensor in `Layout.tensors`.
        rows: Where in the rows of that tensor it lies.
    """

    offset: int
    size_bytes: int
    dtype: str | None = None
    tensor: int | None = None
    rows: Rows = NO_ROWS


class Region(NamedTuple):
    """A stretch of a file that is cut in one way.

    Attributes:
        offset: In bytes from the start of the file.
        size_bytes: More than zero.
        tensor: Index of the tensor it is (`cut_tensor`); None is bytes of no tensor (`cut_bytes`).
    """

    offset: int
    size_bytes: int
    tensor: int | None = None


def plan(layout: Layout | None, size_bytes: int) -> list[Region]:
    """Return the regions of a file of `size_bytes`, in order; together they are the whole file."""
    regions: list[Region] = []
    end = 0
    for index, tensor in enumerate(layout.tensors if layout else ()):
        if tensor.size_bytes == 0:
            continue
        if tensor.offset > end:
            regions.append(Region(end, tensor.offset - end))
        regions.append(Region(tensor.offset, tensor.size_bytes, index))
        end = tensor.offset + tensor.size_bytes
    if end < size_bytes:
        regions.append(Region(end, size_bytes - end))
    return regions


def cut_tensor(tensor: Tensor, index: int | None = None) -> Iterator[ChunkSpan]:
    """Yield the chunks of a tensor in order; an empty tensor has none.

    Args:
        tensor: What to cut.
        index: Its index in `Layout.tensors`, for `ChunkSpan.tensor`.
    """
    for start in range(0, tensor.size_bytes, TENSOR_CHUNK_BYTES):
        size_bytes = min(TENSOR_CHUNK_BYTES, tensor.size_bytes - start)
        rows = rows_at(tensor.shape, tensor.order, tensor.size_bytes, start)
        yield ChunkSpan(tensor.offset + start, size_bytes, tensor.dtype, index, rows)


def cut_bytes(buffer: bytes | bytearray | memoryview, final: bool) -> list[int]:
    """Return the sizes of the chunks at the start of `buffer`, cut by content.

    Where the cuts fall depends on the bytes alone, not on the windows they come in: call it with a window of more
    than 1 MiB (8 MiB, say), drop the chunks returned from its front, fill it up and call again.

    Args:
        buffer: The bytes from the last cut on.
        final: No bytes follow: the sizes add up to the whole buffer. Else the last chunk, which may yet
            grow, is left for the next call.
    """
    sizes = [chunk.length for chunk in _cutter().cut_buf(buffer)]
    return sizes if final else sizes[:-1]


@functools.cache
def _cutter() -> pyfastcdc.FastCDC:
    import pyfastcdc  # here, because it takes 30 ms to import and most commands cut nothing

    return pyfastcdc.FastCDC(AVERAGE_CHUNK_BYTES, min_size=MIN_CHUNK_BYTES, max_size=MAX_CHUNK_BYTES)
