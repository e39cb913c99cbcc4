"""Where the same elements of two tensors lie: stretches of chunks that can be compared as they are, or must be ordered.

Tensors whose elements lie in the same order and without gaps are streamed. Others (a transposed view, a slice of a
larger tensor) are read whole and brought into row-major order, if they are not too large for that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate
from math import prod
from typing import NamedTuple

from mlver.differences.element_kinds import Kind, element_bits, kind_of
from mlver.errors import IntegrityError
from mlver.history.manifest import Manifest, TensorEntry
from mlver.ids import ChunkId
from mlver.ops.diff.sides import Side

_STRETCH_BYTES = 1 << 20
"""Of the side with the smaller elements: one chunk, since tensors are cut at every MiB from their start."""
_GATHERED_BYTES = 64 << 20
"""The largest tensor that is read whole."""


class ChunkPart(NamedTuple):
    """Bytes `start` to `end` of a chunk of `size_bytes`."""

    chunk: ChunkId
    size_bytes: int
    start: int
    end: int


class Stretch(NamedTuple):
    """The same elements of both tensors: where they lie, and how many bytes that is on both sides together."""

    before: tuple[ChunkPart, ...]
    after: tuple[ChunkPart, ...]
    size_bytes: int


def can_stream(before: TensorEntry, after: TensorEntry) -> bool:
    """Tell whether both have the same number of elements, in the same order and without gaps."""
    if Kind.BYTES in (kind_of(before.dtype), kind_of(after.dtype)):
        return (before.dtype, before.size_bytes, before.order) == (after.dtype, after.size_bytes, after.order)
    if not (_is_dense(before) and _is_dense(after)) or prod(before.shape) != prod(after.shape):
        return False
    return before.order == after.order and (before.order == "C" or before.shape == after.shape)


def gathering_problem(before: TensorEntry, after: TensorEntry) -> str | None:
    """Return why two tensors that cannot be streamed cannot be compared at all, in a few words."""
    if Kind.BYTES in (kind_of(before.dtype), kind_of(after.dtype)):
        return f"{before.dtype} and {after.dtype} cannot be compared element by element"
    if prod(before.shape) != prod(after.shape):
        return "another number of elements"
    if any(element_bits(tensor.dtype) % 8 or tensor.size_bytes > _GATHERED_BYTES for tensor in (before, after)):
        return "its elements lie in another order"
    return None


def _is_dense(tensor: TensorEntry) -> bool:
    return prod(tensor.shape) * element_bits(tensor.dtype) == tensor.size_bytes * 8


class Places:
    """Where the tensors of a manifest lie among the chunks of its files."""

    def __init__(self, manifest: Manifest) -> None:
        self._files = manifest.files
        self._offsets: dict[int, list[int]] = {}

    def parts(self, tensor: TensorEntry, start: int, end: int) -> tuple[ChunkPart, ...]:
        """Return where the bytes from `start` to `end`, counted from the tensor's start, lie."""
        chunks, offsets = self._files[tensor.file].chunks, self._offsets_in(tensor.file)
        start, end = tensor.offset + start, tensor.offset + min(end, tensor.size_bytes)
        found = []
        number = bisect_right(offsets, start) - 1
        while start < end:
            chunk, offset = chunks[number], offsets[number]
            stop = min(end, offset + chunk.size_bytes)
            found.append(ChunkPart(chunk.id, chunk.size_bytes, start - offset, stop - offset))
            start, number = stop, number + 1
        return tuple(found)

    def _offsets_in(self, file: int) -> list[int]:
        if file not in self._offsets:
            self._offsets[file] = [0, *accumulate(chunk.size_bytes for chunk in self._files[file].chunks)]
        return self._offsets[file]


def obtain_tensors(side: Side, tensors: Iterable[TensorEntry]) -> None:
    """Make sure that the bytes of tensors can be read; see `Side.obtain`."""
    places = Places(side.manifest)
    side.obtain(part.chunk for tensor in tensors for part in places.parts(tensor, 0, tensor.size_bytes))


def cut(before: Places, after: Places, old: TensorEntry, new: TensorEntry) -> Iterator[Stretch]:
    """Yield the stretches of two tensors that can be streamed, in order; none if they are empty."""
    bits = [element_bits(tensor.dtype) for tensor in (old, new)]
    old_step, new_step = (_STRETCH_BYTES * each // min(bits) for each in bits)
    for number in range(-(-old.size_bytes // old_step)):
        parts = (
            before.parts(old, number * old_step, (number + 1) * old_step),
            after.parts(new, number * new_step, (number + 1) * new_step),
        )
        yield Stretch(*parts, sum(part.end - part.start for side in parts for part in side))


def read_in_order(side: Side, tensor: TensorEntry) -> bytes:
    """Return all elements of a tensor, row-major.

    Raises:
        IntegrityError: A chunk is missing or damaged, or the strides reach outside the tensor.
        MlverError: A file on disk cannot be read, or changed.
    """
    parts = Places(side.manifest).parts(tensor, 0, tensor.size_bytes)
    chunks = side.chunks().read_many([(part.chunk, part.size_bytes) for part in parts])
    raw = b"".join(memoryview(chunk)[part.start : part.end] for chunk, part in zip(chunks, parts, strict=True))
    if tensor.order == "C":
        return raw
    import numpy as np

    item_bytes = element_bits(tensor.dtype) // 8
    strides = _strides(tensor, item_bytes)
    reach = sum((length - 1) * stride for length, stride in zip(tensor.shape, strides, strict=True)) + item_bytes
    if 0 not in tensor.shape and (reach > len(raw) or min(strides, default=0) < 0):
        raise IntegrityError(f"Tensor {tensor.name!r} is malformed: its strides do not fit its bytes.")
    flat = np.frombuffer(raw, dtype=f"V{item_bytes}")
    return np.lib.stride_tricks.as_strided(flat, tensor.shape, strides, writeable=False).tobytes()


def _strides(tensor: TensorEntry, item_bytes: int) -> list[int]:
    """Return the bytes from one element to the next in each dimension."""
    if tensor.order == "F":
        return [item_bytes * prod(tensor.shape[:dimension]) for dimension in range(len(tensor.shape))]
    try:
        strides = [int(stride) * item_bytes for stride in tensor.order.removeprefix("strides:").split(",") if stride]
    except ValueError:
        strides = []
    if len(strides) != len(tensor.shape):
        raise IntegrityError(f"Tensor {tensor.name!r} is malformed: its order is {tensor.order!r}.")
    return strides
