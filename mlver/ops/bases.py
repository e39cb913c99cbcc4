"""Which stored version the tensors of a new file are compared with: chunks → **a base for each** → encode.

The version that the person names; else one that keeps chains short (`base_number_for`), or the one the folder came
from; for tensors that these lack, the newest versions of the artifact, and the newest of any other that has tensors of
these names and shapes. Where several are possible, a sample of the file's bytes is encoded against each, and the one
that leaves least is taken.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from mlver import codec
from mlver.chunks import Base, ChunkReader
from mlver.errors import IntegrityError
from mlver.formats import TENSOR_CHUNK_BYTES, ByteSource, Layout, Tensor
from mlver.history.manifest import Manifest, read_manifest
from mlver.ids import ManifestId
from mlver.ops.opening import OpenRepository
from mlver.ops.originals import OriginalFiles
from mlver.ops.sketches import alike
from mlver.ops.twins import StoredTensors, Twin

_RELATIVES = 4
"""Versions under other names that are considered."""
_SAMPLES = 3
_SAMPLE_BYTES = 1 << 16
_WORTH_LOOKING_BYTES = 1 << 16
"""Tensors without a twin that are worth the search among other artifacts, together."""
_HELPS = 0.97
_SMALL_BYTES = 128 << 20
"""Versions up to this size come back within a second or so over any chain that a chunk may have."""


def base_number(number: int) -> int:
    """Return the number of the version that a version rests on first: without the lowest bit that is set.

    So half of the versions rest on the one before, a quarter on the second before, and so on, and a version is never
    more steps away from a whole one than its number has bits. `benchmarks/chains.py` compares it with other shapes.

    Source: P. Fenwick, "A new data structure for cumulative frequency tables" (1994), whose trees have this shape.
    """
    return number & (number - 1)


def base_number_for(number: int, size_bytes: int) -> int:
    """Return the number of the version that one of this size rests on first: a small one on the one before."""
    return max(number - 1, 0) if size_bytes <= _SMALL_BYTES else base_number(number)


@dataclass(frozen=True, slots=True)
class _Candidate:
    twins: list[Twin | None]
    unmatched_bytes: int


class BaseFinder:
    """Finds bases for the files of one new version. Safe in any thread.

    Args:
        repository: Where to look.
        likely: Manifests of the versions that come first, the likeliest first.
        older: Manifests of versions for what is not in those.
        is_final: Look nowhere else, because the person said so.

    Attributes:
        originals: Where the versions that were looked at lie outside the store.
    """

    def __init__(
        self,
        repository: OpenRepository,
        likely: Sequence[ManifestId],
        older: Sequence[ManifestId] = (),
        is_final: bool = False,
    ) -> None:
        self._repository = repository
        self._likely = list(dict.fromkeys(likely))
        self._older = [manifest for manifest in dict.fromkeys(older) if manifest not in self._likely]
        self._is_final = is_final
        self._reader = ChunkReader(repository.storage, repository.chunk_index)
        self.originals = OriginalFiles(repository.stat_cache)
        self._loaded: dict[ManifestId, StoredTensors | None] = {}
        self._lock = threading.Lock()

    def twins(self, path: str, layout: Layout, source: ByteSource) -> list[Twin | None]:
        """Return the twin of each tensor of a file, None where there is none.

        Args:
            path: Where the file will be in the version.
            layout: Its tensors.
            source: Its bytes.
        """
        likely = [_Candidate(twins, _unmatched(layout, twins)) for twins in self._of(self._likely, path, layout)]
        best = _best(likely, layout, source, self._reader)
        if self._is_final or (best is not None and best.unmatched_bytes < _WORTH_LOOKING_BYTES):
            return best.twins if best else [None] * len(layout.tensors)
        missing = [tensor for tensor, twin in zip(layout.tensors, _twins(best, layout), strict=True) if twin is None]
        others = self._of(self._relatives(missing), path, layout)
        if best is not None:
            others = [_only_missing(best.twins, twins) for twins in others]
        relative = _best([_Candidate(twins, 0) for twins in others], layout, source, self._reader, must_help=True)
        return [ours or theirs for ours, theirs in zip(_twins(best, layout), _twins(relative, layout), strict=True)]

    def holder(self, manifest: Manifest) -> ManifestId | None:
        """Return one of the versions that were looked at which has every tensor of `manifest`, if any."""
        wanted = {tensor.digest for tensor in manifest.tensors}
        with self._lock:
            for identity, stored in self._loaded.items():
                if wanted and stored is not None and wanted <= stored.digests:
                    return identity
        return None

    def _relatives(self, tensors: Sequence[Tensor]) -> list[ManifestId]:
        named = [(tensor.name, tensor.shape) for tensor in tensors if not tensor.anonymous]
        with self._lock:
            found = alike(self._repository, named, _RELATIVES + len(self._likely))
        others = [manifest for manifest in found if manifest not in self._likely and manifest not in self._older]
        return self._older + others[:_RELATIVES]

    def _of(self, manifests: Sequence[ManifestId], path: str, layout: Layout) -> list[list[Twin | None]]:
        with self._lock:
            stored = [self._load(identity) for identity in manifests]
        found = [tensors.twins(path, layout.tensors) for tensors in stored if tensors is not None]
        return [twins for twins in found if any(twins)]

    def _load(self, identity: ManifestId) -> StoredTensors | None:
        if identity not in self._loaded:
            try:
                manifest = read_manifest(self._repository.storage, identity)
                self._loaded[identity] = StoredTensors(manifest)
                self.originals.look_for(identity, manifest)
            except IntegrityError:
                self._loaded[identity] = None  # `verify` tells of it; nothing can rest on it
        return self._loaded[identity]


def _twins(candidate: _Candidate | None, layout: Layout) -> Sequence[Twin | None]:
    return candidate.twins if candidate is not None else [None] * len(layout.tensors)


def _only_missing(ours: Sequence[Twin | None], theirs: Sequence[Twin | None]) -> list[Twin | None]:
    return [None if our else their for our, their in zip(ours, theirs, strict=True)]


def _unmatched(layout: Layout, twins: Sequence[Twin | None]) -> int:
    """Return the size in bytes of the tensors without a twin."""
    return sum(tensor.size_bytes for tensor, twin in zip(layout.tensors, twins, strict=True) if twin is None)


def _best(
    candidates: Sequence[_Candidate],
    layout: Layout,
    source: ByteSource,
    reader: ChunkReader,
    must_help: bool = False,
) -> _Candidate | None:
    """Return the candidate that a sample of the file is smallest against."""
    if not candidates or (len(candidates) == 1 and not must_help):
        return candidates[0] if candidates else None
    order = sorted(range(len(layout.tensors)), key=lambda number: -layout.tensors[number].size_bytes)
    sampled = [number for number in order if any(candidate.twins[number] for candidate in candidates)][:_SAMPLES]
    pieces = {number: source.read(layout.tensors[number].offset, _SAMPLE_BYTES) for number in sampled}
    alone = sum(codec.encode(raw, layout.tensors[number].dtype).size_bytes for number, raw in pieces.items())
    sizes = [
        sum(_size(raw, layout.tensors[number].dtype, candidate.twins[number], reader) for number, raw in pieces.items())
        for candidate in candidates
    ]
    smallest = min(range(len(sizes)), key=sizes.__getitem__)
    return candidates[smallest] if not must_help or sizes[smallest] < alone * _HELPS else None


def _size(raw: bytes, dtype: str, twin: Twin | None, reader: ChunkReader) -> int:
    """Return what the start of a tensor takes against its twin, in bytes."""
    base = twin.base(0, min(len(raw), TENSOR_CHUNK_BYTES)) if twin is not None else None
    try:
        against = _read(reader, base) if base is not None else None
    except IntegrityError:
        against = None
    if against is None or twin is None:
        return codec.encode(raw, dtype).size_bytes
    return codec.encode(raw, dtype, against, "fast", base_dtype=twin.dtype).size_bytes


def _read(reader: ChunkReader, base: Base) -> bytes:
    return b"".join(reader.decode(chunk).raw for chunk in base.chunks)
