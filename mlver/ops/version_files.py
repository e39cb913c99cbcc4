"""Reading files and tensors of a version straight from the store, chunk by chunk, each checked before it is used."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from mlver.digests import Buffer
from mlver.errors import IntegrityError, MlverError, NotFoundError
from mlver.history.manifest import FileEntry, Manifest, TensorEntry, read_manifest
from mlver.history.reference import ReferenceEntry
from mlver.ids import ChunkId
from mlver.ops.opening import OpenRepository
from mlver.store.sqlite import CacheDamaged

if TYPE_CHECKING:
    import numpy as np

_NUMPY_DTYPES = {
    "BOOL": "?",
    "U8": "<u1",
    "I8": "<i1",
    "F8_E4M3": "<u1",
    "F8_E5M2": "<u1",
    "I16": "<i2",
    "U16": "<u2",
    "F16": "<f2",
    "BF16": "<u2",
    "I32": "<i4",
    "U32": "<u4",
    "F32": "<f4",
    "F64": "<f8",
    "I64": "<i8",
    "U64": "<u8",
    "C64": "<c8",
    "C128": "<c16",
}


def iterate(reader: SingleChunks, entry: FileEntry) -> Iterator[Buffer]:
    """Yield a file's bytes, chunk by chunk.

    Raises:
        IntegrityError: A chunk is missing or damaged.
    """
    for chunk in entry.chunks:
        yield reader.read(chunk.id, chunk.size_bytes)


def read_range(reader: SingleChunks, entry: FileEntry, start: int, end: int) -> bytes:
    """Return the bytes from `start` to `end` of a file, reading only the chunks they are in.

    Raises:
        IntegrityError: A chunk is missing or damaged.
    """
    pieces = []
    for chunk, offset in entry.chunks_between(start, end):
        raw = memoryview(reader.read(chunk.id, chunk.size_bytes))
        pieces.append(raw[max(0, start - offset) : end - offset])
    return b"".join(pieces)


class SingleChunks(Protocol):
    """Where chunks can be read one by one, such as a `ChunkReader`."""

    def read(self, chunk: ChunkId, size_bytes: int) -> Buffer:
        """Return the raw bytes of a chunk."""


class _Renewing:
    """Reads chunks of a repository, once more with a new cache where the cache fails: nobody else would catch that.

    Args:
        repository: Whose chunks.
    """

    def __init__(self, repository: OpenRepository) -> None:
        self._repository = repository
        self._reader = repository.chunk_reader()

    def read(self, chunk: ChunkId, size_bytes: int) -> Buffer:
        """Return the raw bytes of a chunk."""
        try:
            return self._reader.read(chunk, size_bytes)
        except CacheDamaged as damage:
            self._repository.reopen(damage)
            self._reader = self._repository.chunk_reader()
            return self._reader.read(chunk, size_bytes)


class VersionFile(io.RawIOBase):
    """A file of a version, to be read like any binary file opened for reading.

    Args:
        reader: Of the repository, or of a folder.
        entry: Which file.
    """

    def __init__(self, reader: SingleChunks, entry: FileEntry) -> None:
        super().__init__()
        self._reader = reader
        self._entry = entry
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset` bytes from the start, the position, or the end."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._entry.size_bytes}[whence]
        if start + offset < 0:
            raise ValueError(f"cannot seek to {start + offset}")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the position in bytes from the start."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read into `buffer` up to the end of the chunk at the position, and return the number of bytes."""
        found = self._entry.chunks_between(self._position, self._position + 1)
        if not found or self._position >= self._entry.size_bytes:
            return 0
        chunk, offset = found[0]
        raw = memoryview(self._reader.read(chunk.id, chunk.size_bytes))[self._position - offset :]
        count = min(len(raw), len(memoryview(buffer)))
        memoryview(buffer)[:count] = raw[:count]
        self._position += count
        return count


def open_file(repository: OpenRepository, revision: str, path: str) -> io.BufferedReader:
    """Open one file of a version for reading; a reference is downloaded and checked first.

    Raises:
        NotFoundError: There is no such version or file.
        IntegrityError: Its manifest is damaged, or a reference is not what it was; while reading: a chunk is damaged.
        RemoteError: The server of a reference failed or refused.
    """
    manifest = _manifest(repository, revision)
    if (reference := manifest.reference(path)) is not None:
        return _open_reference(repository, reference)
    entry = manifest.file(path)
    # A buffer of a chunk's size, so that each chunk is decoded once.
    return io.BufferedReader(VersionFile(_Renewing(repository), entry), 1 << 20)


def stream_file(repository: OpenRepository, revision: str, path: str) -> Iterator[Buffer]:
    """Yield the bytes of one file of a version.

    Raises:
        NotFoundError: There is no such version or file.
        IntegrityError: It is damaged; nothing of the damaged chunk, or of a reference that changed, is yielded.
        RemoteError: The server of a reference failed or refused.
    """
    manifest = _manifest(repository, revision)
    if (reference := manifest.reference(path)) is not None:
        return _pieces(_open_reference(repository, reference))
    return iterate(_Renewing(repository), manifest.file(path))


def _manifest(repository: OpenRepository, revision: str) -> Manifest:
    """Return what is in a version; a run that reads it uses it."""
    version = repository.resolve(revision).version
    manifest = read_manifest(repository.storage, version.id)
    repository.note_use(version)
    return manifest


def _open_reference(repository: OpenRepository, reference: ReferenceEntry) -> io.BufferedReader:
    from mlver.ops.references.downloading import open_reference

    return open_reference(repository, reference)


def _pieces(file: io.BufferedReader) -> Iterator[Buffer]:
    with file:
        while piece := file.read(1 << 20):
            yield piece


def read_tensor(repository: OpenRepository, revision: str, name: str) -> np.ndarray[Any, Any]:
    """Return one tensor, reading only the chunks it is in.

    Args:
        repository: The repository.
        revision: Which version.
        name: The tensor's name, or `FILE:NAME` where several files have one of that name.

    Returns:
        An array of the tensor's shape. Where NumPy lacks the element type, the bit patterns: uint16 for BF16, uint8
        for the eight-bit floats.

    Raises:
        NotFoundError: There is no such version or tensor; or more than one, and which is not said.
        IntegrityError: A chunk is missing or damaged.
    """
    manifest = _manifest(repository, revision)
    tensor = find_tensor(manifest, name)
    return _read_array(repository.chunk_reader(), manifest.files[tensor.file], tensor)


def contiguous_tensor(reader: SingleChunks, entry: FileEntry, tensor: TensorEntry) -> bytes:
    """Return a tensor's bytes row by row, however they lie in its file.

    Raises:
        IntegrityError: A chunk is missing or damaged.
        MlverError: It cannot be an array.
    """
    return _read_array(reader, entry, tensor).tobytes()


def _read_array(reader: SingleChunks, entry: FileEntry, tensor: TensorEntry) -> np.ndarray[Any, Any]:
    if tensor.dtype not in _NUMPY_DTYPES:
        raise MlverError(f"Tensor {tensor.name!r} has elements of type {tensor.dtype}, which cannot be an array.")
    raw = read_range(reader, entry, tensor.offset, tensor.offset + tensor.size_bytes)
    try:
        return _array(tensor, raw)
    except ValueError as error:
        raise IntegrityError(f"Tensor {tensor.name!r} is malformed: {error}.") from error


def _array(tensor: TensorEntry, raw: bytes) -> np.ndarray[Any, Any]:
    """Return a tensor's bytes as an array; ValueError if they do not fit, as a manifest may come from anyone."""
    import numpy as np

    flat = np.frombuffer(raw, dtype=_NUMPY_DTYPES[tensor.dtype])
    if tensor.order in ("C", "F"):
        return flat.reshape(tensor.shape, order="C" if tensor.order == "C" else "F")
    strides = [int(stride) * flat.itemsize for stride in tensor.order.removeprefix("strides:").split(",") if stride]
    _check_strides(tensor, strides, flat.nbytes, flat.itemsize)
    return np.lib.stride_tricks.as_strided(flat, tensor.shape, strides, writeable=False)


def find_tensor(manifest: Manifest, name: str) -> TensorEntry:
    """Return the tensor called `name`, or `FILE:NAME`.

    Raises:
        NotFoundError: There is none, or more than one.
    """
    tensors = [tensor for tensor in manifest.tensors if not tensor.anonymous]
    found = [tensor for tensor in tensors if tensor.name == name]
    found = found or [tensor for tensor in tensors if f"{manifest.files[tensor.file].path}:{tensor.name}" == name]
    if len(found) > 1:
        path = manifest.files[found[0].file].path
        raise NotFoundError(f"Several files have a tensor {name!r}.", f"Say which, such as '{path}:{name}'.")
    if found:
        return found[0]
    from difflib import get_close_matches

    close = get_close_matches(name, [tensor.name for tensor in tensors], n=1)
    raise NotFoundError(
        f"There is no tensor {name!r} in this version.", f"Did you mean {close[0]!r}?" if close else None
    )


def _check_strides(tensor: TensorEntry, strides: list[int], size_bytes: int, item_bytes: int) -> None:
    """Refuse strides that reach outside the bytes: a manifest may come from anyone."""
    reach = sum((length - 1) * stride for length, stride in zip(tensor.shape, strides, strict=False)) + item_bytes
    if (
        len(strides) != len(tensor.shape)
        or min(strides, default=0) < 0
        or (0 not in tensor.shape and reach > size_bytes)
    ):
        raise ValueError("its strides do not fit its bytes")
