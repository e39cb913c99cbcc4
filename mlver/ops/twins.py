"""Which tensor of a stored version a new tensor may resemble, and which of its chunks lie at the same elements.

Names decide first: the same file and name, the same name, the same name but for what wraps a model. A tensor whose
name is unknown finds its twin among those of its shape by the end of its name, and by its place where names say
nothing. Whether the twin helps is not decided here: a sample of the bytes does that.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate

from mlver.chunks import Base
from mlver.formats import TENSOR_CHUNK_BYTES, Tensor
from mlver.history.manifest import FileEntry, Manifest, TensorEntry
from mlver.ids import ChunkId

_WRAPPERS = frozenset(
    ("module", "model", "_orig_mod", "_fsdp_wrapped_module", "_forward_module", "base_model", "state_dict", "ema")
)
"""What trainers, compilers and checkpoints put before the name of a tensor."""
_FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_CASTS = frozenset((("F32", "BF16"), ("BF16", "F32"), ("F32", "F16"), ("F16", "F32"), ("F64", "F32"), ("F32", "F64")))
"""Casts that the codec can predict: from, to."""
_FRUITLESS = 3
"""Chunks for which a twin did not help before it is asked only now and then."""
_NOW_AND_THEN = 16


def bare_name(name: str) -> str:
    """Return the name of a tensor without what wraps the model it is of."""
    parts = name.split(".")
    start = 0
    while start < len(parts) - 1 and parts[start] in _WRAPPERS:
        start += 1
    return ".".join(parts[start:])


class Twin:
    """A stored tensor that a new one may resemble.

    Args:
        entry: The stored tensor.
        chunks: Its chunks in order, the first of which begins where it begins.
        element_bytes: Sizes of an element of the new and of the stored tensor; equal where their types are.
    """

    def __init__(self, entry: TensorEntry, chunks: Sequence[ChunkId], element_bytes: tuple[int, int]) -> None:
        self.dtype = entry.dtype
        self._chunks = chunks
        self._size_bytes = entry.size_bytes
        self._new_width, self._old_width = element_bytes
        self._tried = self._helped = 0

    def base(self, start: int, size_bytes: int) -> Base | None:
        """Return the base of the chunk that begins `start` bytes into the new tensor, if there is one."""
        begin = start // self._new_width * self._old_width
        end = min(begin + size_bytes // self._new_width * self._old_width, self._size_bytes)
        if begin >= end:
            return None
        first, last = begin // TENSOR_CHUNK_BYTES, (end - 1) // TENSOR_CHUNK_BYTES
        if last - first > 1:
            return None
        return Base(tuple(self._chunks[first : last + 1]), self.dtype, begin - first * TENSOR_CHUNK_BYTES)

    def is_promising(self, start: int) -> bool:
        """Tell whether trying this twin for that chunk is worth reading its bytes."""
        return self._helped > 0 or self._tried < _FRUITLESS or start // TENSOR_CHUNK_BYTES % _NOW_AND_THEN == 0

    def learn(self, helped: bool) -> None:
        """Note whether it helped one chunk."""
        self._tried += 1
        self._helped += helped


class StoredTensors:
    """The tensors of one stored version, to look for twins in.

    Attributes:
        digests: Of all of them.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.digests = {entry.digest for entry in manifest.tensors}
        self._files = manifest.files
        self._starts: dict[int, list[int]] = {}
        self._by_place: dict[tuple[str, str], TensorEntry] = {}
        self._by_name: dict[str, TensorEntry] = {}
        self._by_bare_name: dict[str, TensorEntry] = {}
        self._by_shape: dict[tuple[int, ...], list[TensorEntry]] = defaultdict(list)
        for entry in manifest.tensors:
            self._by_place[manifest.files[entry.file].path, entry.name] = entry
            self._by_name.setdefault(entry.name, entry)
            self._by_bare_name.setdefault(bare_name(entry.name), entry)
            self._by_shape[entry.shape].append(entry)

    def chunks(self, entry: TensorEntry) -> list[ChunkId] | None:
        """Return the chunks of one of the tensors, None if it does not begin one: a view, or an empty tensor."""
        file = self._files[entry.file]
        starts = self._starts.get(entry.file)
        if starts is None:
            starts = self._starts[entry.file] = _chunk_starts(file)
        first = bisect_left(starts, entry.offset)
        if first == len(starts) or starts[first] != entry.offset:
            return None
        count = -(-entry.size_bytes // TENSOR_CHUNK_BYTES)
        return [chunk.id for chunk in file.chunks[first : first + count]]

    def twins(self, path: str, tensors: Sequence[Tensor | TensorEntry]) -> list[Twin | None]:
        """Return the twin of each tensor of a file that is, or is to be, stored at `path`."""
        found = [self._by_known_name(path, tensor) for tensor in tensors]
        taken = {(entry.file, entry.offset) for entry in found if entry is not None}
        nameless = [number for number, entry in enumerate(found) if entry is None]
        for number, entry in self._by_likeness([tensors[number] for number in nameless], taken):
            found[nameless[number]] = entry
        return [
            None if entry is None else self._twin(tensor, entry) for tensor, entry in zip(tensors, found, strict=True)
        ]

    def _by_known_name(self, path: str, tensor: Tensor | TensorEntry) -> TensorEntry | None:
        candidates = (
            self._by_place.get((path, tensor.name)),
            self._by_name.get(tensor.name),
            self._by_bare_name.get(bare_name(tensor.name)),
        )
        return next((entry for entry in candidates if entry is not None and _fits(tensor, entry)), None)

    def _by_likeness(
        self, tensors: Sequence[Tensor | TensorEntry], taken: set[tuple[int, int]]
    ) -> Iterable[tuple[int, TensorEntry]]:
        """Yield twins of tensors with unknown names, by position in `tensors`: each stored one at most once."""
        for number, tensor in enumerate(tensors):
            free = [
                entry
                for entry in self._by_shape.get(tensor.shape, ())
                if (entry.file, entry.offset) not in taken and _fits(tensor, entry)
            ]
            if free:
                # The first of the best: where names say nothing, both sides are in the same order.
                best = max(free, key=lambda entry: _common_end(tensor.name, entry.name))
                taken.add((best.file, best.offset))
                yield number, best

    def _twin(self, tensor: Tensor | TensorEntry, entry: TensorEntry) -> Twin | None:
        widths = (1, 1)
        if tensor.dtype != entry.dtype:
            widths = (_FLOAT_BYTES[tensor.dtype], _FLOAT_BYTES[entry.dtype])
        chunks = self.chunks(entry)
        return Twin(entry, chunks, widths) if chunks is not None else None


def _fits(tensor: Tensor | TensorEntry, entry: TensorEntry) -> bool:
    """Tell whether elements at the same places may correspond: all of them, or those of the rows both have."""
    if tensor.order != entry.order or not entry.size_bytes:
        return False
    if tensor.dtype == entry.dtype:
        return tensor.size_bytes == entry.size_bytes or (
            bool(tensor.shape) and tensor.order == "C" and tensor.shape[1:] == entry.shape[1:]
        )
    return tensor.shape == entry.shape and (entry.dtype, tensor.dtype) in _CASTS


def _common_end(one: str, other: str) -> int:
    """Return how many parts at the end of two names are equal."""
    count = 0
    for ours, theirs in zip(reversed(one.split(".")), reversed(other.split(".")), strict=False):
        if ours != theirs:
            break
        count += 1
    return count


def _chunk_starts(file: FileEntry) -> list[int]:
    return list(accumulate((chunk.size_bytes for chunk in file.chunks), initial=0))[:-1]
