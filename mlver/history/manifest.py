"""Manifests: the canonical listing of a version's files and tensors, named by its own digest.

Equal content gives equal bytes and so an equal id, which is the version's id. A manifest says where every byte of
every file is (chunks in order) and which stretch of which file holds which tensor; how chunks are stored is not its
business, and neither are names, messages and metrics, which live in the log.
"""

from __future__ import annotations

import json
import posixpath
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from mlver.digests import canonical_json, file_digest, manifest_id, weights_digest
from mlver.errors import IntegrityError, MlverError, NotFoundError
from mlver.history.manifest_blob import manifest_name as manifest_name  # noqa: PLC0414 - for all who read them
from mlver.history.manifest_blob import read_encoded
from mlver.history.reference import ReferenceEntry, check_order, reference_document, reference_from
from mlver.ids import (
    DIGEST_SIZE,
    ChunkId,
    FileDigest,
    ManifestId,
    WeightsDigest,
)
from mlver.names import path_problem
from mlver.store.storage import Storage

MANIFEST_FORMAT = 1
OPAQUE = "opaque"
"""Format of a file with weights, or probably so, that cannot all be listed as tensors: its bytes count as weights."""
MAX_CHUNK_BYTES = 16 << 20
_CROWDED_FROM_BYTES = 4 << 20
_MIN_BYTES_A_VALUE = 12
"""On average, of larger manifests. Entries of files and tensors have 20 or more; `{}` becomes an object of 64."""


class ChunkRef(NamedTuple):
    """One chunk of a file: its identity and raw length in bytes."""

    id: ChunkId
    size_bytes: int


class FileEntry(NamedTuple):
    """One file of a version.

    Attributes:
        path: Relative, `/` between parts.
        size_bytes: Its length.
        digest: Over size and chunk ids, see `mlver.digests.file_digest`.
        chunks: The file's bytes in order.
        executable: Whether its owner may execute it; no other permission is kept.
        format: `safetensors`, `torch`, `npy`, `npz`; `opaque` for what has, or probably has, weights that cannot all be
            listed as tensors; None for plain bytes.
        unsafe_globals: What a pickle inside names besides the known rebuilding functions; nothing was executed.
    """

    path: str
    size_bytes: int
    digest: FileDigest
    chunks: tuple[ChunkRef, ...]
    executable: bool = False
    format: str | None = None
    unsafe_globals: tuple[str, ...] = ()

    def chunks_between(self, start: int, end: int) -> list[tuple[ChunkRef, int]]:
        """Return the chunks that overlap the bytes from `start` to `end`, each with its offset in the file."""
        offsets = [0, *accumulate(chunk.size_bytes for chunk in self.chunks)]
        first = bisect_right(offsets, start) - 1
        found = []
        for index in range(first, len(self.chunks)):
            if offsets[index] >= end:
                break
            found.append((self.chunks[index], offsets[index]))
        return found


class TensorEntry(NamedTuple):
    """One tensor: `size_bytes` bytes at `offset` of file number `file` of the manifest.

    Attributes:
        order: `C` (row-major), `F` (column-major), or `strides:…` in elements.
        anonymous: It is no tensor of the model but a stretch that several of them share; see `Tensor` in
            `mlver.formats.layout`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: str
    file: int
    offset: int
    size_bytes: int
    order: str = "C"
    anonymous: bool = False


class Manifest(NamedTuple):
    """A version's content.

    Attributes:
        files: By path.
        folders: Paths of empty folders.
        tensors: By (file, offset, name).
        weights: Digest over all weights, if there are any.
        references: Files that stay where they are, by path.
    """

    files: tuple[FileEntry, ...]
    folders: tuple[str, ...]
    tensors: tuple[TensorEntry, ...]
    weights: WeightsDigest | None
    references: tuple[ReferenceEntry, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Sum of the files' sizes; references are not in it."""
        return sum(file.size_bytes for file in self.files)

    def file(self, path: str) -> FileEntry:
        """Return the file at `path`.

        Raises:
            NotFoundError: There is none, or it is a reference.
        """
        for entry in self.files:
            if entry.path == path:
                return entry
        if (reference := self.reference(path)) is not None:
            raise NotFoundError(f"{path!r} is no file of this version but a reference to {reference.uri}.")
        from difflib import get_close_matches

        close = get_close_matches(path, [entry.path for entry in self.files], n=1)
        hint = f"Did you mean {close[0]!r}?" if close else None
        raise NotFoundError(f"There is no file {path!r} in this version.", hint)

    def reference(self, path: str) -> ReferenceEntry | None:
        """Return the reference at `path`, if there is one."""
        return next((reference for reference in self.references if reference.path == path), None)


def build_manifest(
    files: Iterable[tuple[FileEntry, Sequence[TensorEntry]]],
    folders: Iterable[str],
    references: Iterable[ReferenceEntry] = (),
) -> Manifest:
    """Return the manifest of files, given each with its tensors, and of references, in any order."""
    ordered = sorted(files, key=lambda pair: pair[0].path)
    entries = tuple(entry for entry, _ in ordered)
    tensors = tuple(
        tensor._replace(file=number)
        for number, (_, tensors) in enumerate(ordered)
        for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.name))
    )
    pointers = tuple(sorted(references, key=lambda reference: reference.path))
    return Manifest(entries, tuple(sorted(folders)), tensors, _weights(entries, tensors), pointers)


def _weights(files: Sequence[FileEntry], tensors: Sequence[TensorEntry]) -> WeightsDigest | None:
    """Return the digest over all weights: by folder and name, so that sharding and file names do not matter.

    A name that a folder has twice is told apart by its file, and a folder by its path below the deepest common one.
    An opaque file counts as a whole, besides the tensors that could be found in it.
    """
    opaque = [file.path for file in files if file.format == OPAQUE]
    if not tensors and not opaque:
        return None
    homes = [posixpath.dirname(files[tensor.file].path) for tensor in tensors] + list(map(posixpath.dirname, opaque))
    common = posixpath.commonpath(set(homes)) if all(homes) else ""
    seen = Counter((home, tensor.name) for home, tensor in zip(homes, tensors, strict=False))
    pairs = [(f"opaque\0{_below(file.path, common)}", str(file.digest)) for file in files if file.format == OPAQUE]
    for home, tensor in zip(homes, tensors, strict=False):
        place = files[tensor.file].path if seen[home, tensor.name] > 1 else home
        pairs.append((f"tensor\0{_below(place, common)}\0{tensor.name}", tensor.digest))
    return weights_digest(pairs)


def _below(path: str, common: str) -> str:
    """Return a path relative to one that it is in or is; `.` if it is."""
    return (path[len(common) + 1 :] if common else path) if path != common else "."


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the canonical JSON of a manifest; its BLAKE3 is the manifest's id."""
    document = {
        "mlver_manifest": MANIFEST_FORMAT,
        "files": [_file_document(file) for file in manifest.files],
        "folders": list(manifest.folders),
        "tensors": [_tensor_document(tensor) for tensor in manifest.tensors],
        "weights": manifest.weights,
    }
    if manifest.references:
        document["references"] = [reference_document(reference) for reference in manifest.references]
    return canonical_json(document)


def decode_manifest(data: bytes, identity: ManifestId) -> Manifest:
    """Read a manifest and check all it claims about itself.

    Raises:
        IntegrityError: It is damaged, hostile, or of an unknown format.
    """
    if manifest_id(data) != identity:
        raise IntegrityError(f"Manifest {identity} is damaged: its digest does not match.")
    try:
        _refuse_crowd(data)
        document = json.loads(data)
        if document["mlver_manifest"] != MANIFEST_FORMAT:
            raise IntegrityError(
                f"Manifest {identity} has an unknown format.",
                "A newer mlver wrote it: upgrade.",
            )
        manifest = Manifest(
            files=tuple(_file_from(entry) for entry in document["files"]),
            folders=tuple(_safe_path(folder) for folder in document["folders"]),
            tensors=tuple(_tensor_from(entry) for entry in document["tensors"]),
            weights=document["weights"],
            references=tuple(reference_from(entry) for entry in document.get("references", ())),
        )
        _check(manifest)
        canonical = encode_manifest(manifest) == data
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as error:
        raise IntegrityError(f"Manifest {identity} is malformed: {error!r}.") from error
    if not canonical:
        raise IntegrityError(f"Manifest {identity} is malformed: it is not in canonical form.")
    return manifest


def write_manifest(storage: Storage, manifest: Manifest) -> ManifestId:
    """Store a manifest durably and return its id; one that is there is written anew, so that it counts as young.

    Raises:
        MlverError: No reader would take it: it has millions of empty folders, for example.
    """
    import zstandard

    data = encode_manifest(manifest)
    try:
        _refuse_crowd(data)
    except ValueError as error:
        raise MlverError(f"These files cannot be one version: {error}.") from error
    identity = manifest_id(data)
    compressed = zstandard.ZstdCompressor(level=3).compress(data)
    if not storage.create(manifest_name(identity), compressed):
        storage.put(manifest_name(identity), compressed)
    return identity


def read_manifest(storage: Storage, identity: ManifestId) -> Manifest:
    """Return a stored manifest.

    Raises:
        IntegrityError: It is missing, damaged or hostile.
    """
    return decode_manifest(read_encoded(storage, identity), identity)


def _file_document(file: FileEntry) -> dict[str, Any]:
    document: dict[str, Any] = {
        "path": file.path,
        "size": file.size_bytes,
        "digest": file.digest,
        "chunks": [chunk.id.hex() for chunk in file.chunks],
        "lengths": [chunk.size_bytes for chunk in file.chunks],
    }
    if file.executable:
        document["executable"] = True
    if file.format is not None:
        document["format"] = file.format
    if file.unsafe_globals:
        document["unsafe_globals"] = list(file.unsafe_globals)
    return document


def _tensor_document(tensor: TensorEntry) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "digest": tensor.digest,
        "file": tensor.file,
        "offset": tensor.offset,
        "size": tensor.size_bytes,
    }
    if tensor.order != "C":
        document["order"] = tensor.order
    if tensor.anonymous:
        document["anonymous"] = True
    return document


def _file_from(document: dict[str, Any]) -> FileEntry:
    chunks = tuple(
        ChunkRef(ChunkId(bytes.fromhex(digits)), length)
        for digits, length in zip(document["chunks"], document["lengths"], strict=True)
    )
    entry = FileEntry(
        path=_safe_path(document["path"]),
        size_bytes=document["size"],
        digest=FileDigest(document["digest"]),
        chunks=chunks,
        executable=document.get("executable", False),
        format=document.get("format"),
        unsafe_globals=tuple(document.get("unsafe_globals", ())),
    )
    if not all(isinstance(text, str) for text in (entry.format or "", *entry.unsafe_globals)):
        raise ValueError(f"{entry.path!r} has a malformed field")
    for chunk in chunks:
        if type(chunk.size_bytes) is not int or not 0 < chunk.size_bytes <= MAX_CHUNK_BYTES:
            raise ValueError(f"{entry.path!r} has a chunk of {chunk.size_bytes} bytes")
        if len(chunk.id) != DIGEST_SIZE:
            raise ValueError(f"{entry.path!r} has a malformed chunk id")
    if sum(chunk.size_bytes for chunk in chunks) != entry.size_bytes:
        raise ValueError(f"the chunks of {entry.path!r} do not add up to its size")
    if file_digest(entry.size_bytes, (chunk.id for chunk in chunks)) != entry.digest:
        raise ValueError(f"the digest of {entry.path!r} does not match its chunks")
    return entry


def _tensor_from(document: dict[str, Any]) -> TensorEntry:
    return TensorEntry(
        name=document["name"],
        dtype=document["dtype"],
        shape=tuple(document["shape"]),
        digest=document["digest"],
        file=document["file"],
        offset=document["offset"],
        size_bytes=document["size"],
        order=document.get("order", "C"),
        anonymous=document.get("anonymous", False),
    )


def _refuse_crowd(data: bytes) -> None:
    """Refuse what is small as bytes, smaller compressed, and takes many times as much once it is objects."""
    if len(data) > _CROWDED_FROM_BYTES and data.count(b",") * _MIN_BYTES_A_VALUE > len(data):
        raise ValueError("it has too many values for its size")


def _safe_path(path: str) -> str:
    if problem := path_problem(path):
        raise ValueError(f"path {path!r} {problem}")
    return path


def _check(manifest: Manifest) -> None:
    paths = [file.path for file in manifest.files] + list(manifest.folders)
    paths += [reference.path for reference in manifest.references]
    check_order(manifest.references)
    if len(set(paths)) != len(paths):
        raise ValueError("a path is listed twice")
    if (
        sorted(manifest.folders) != list(manifest.folders)
        or sorted(paths[: len(manifest.files)]) != paths[: len(manifest.files)]
    ):
        raise ValueError("its paths are not in order")
    for tensor in manifest.tensors:
        numbers = (tensor.file, tensor.offset, tensor.size_bytes, *tensor.shape)
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError(f"tensor {tensor.name!r} has a malformed number")
        if tensor.offset + tensor.size_bytes > manifest.files[tensor.file].size_bytes:
            raise ValueError(f"tensor {tensor.name!r} reaches beyond its file")
        if not all(isinstance(text, str) for text in (tensor.name, tensor.dtype, tensor.digest, tensor.order)):
            raise ValueError("a tensor has a malformed field")
    if manifest.weights != _weights(manifest.files, manifest.tensors):
        raise ValueError("its weights digest does not match its tensors")
