"""What a weight file holds and where: the values that every parser here returns.

add: files → **spans** → chunks → … The parsers read bytes through a `ByteSource` and return a `Layout`;
`mlver.formats.cut` turns it into regions and chunks. Everything read is hostile, so `checked_layout` is the
only way parsers build a `Layout`: its promises hold for any input.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

MAX_TENSORS = 1 << 18
"""Tensors and views in one file. The largest checkpoints have some ten thousand a shard."""
MAX_NAME_CHARACTERS = 4096


class FormatError(Exception):
    """The bytes are not a well-formed file of the format tried. It never leaves `mlver.formats`."""


class ByteSource(Protocol):
    """Random access to the bytes of one file."""

    @property
    def size_bytes(self) -> int:
        """Size of the whole file."""

    def read(self, offset: int, length: int) -> bytes:
        """Return the `length` bytes at `offset`, fewer only where the file ends.

        Raises:
            OSError: The file cannot be read.
        """


class Tensor(NamedTuple):
    """A named array and the stretch of the file that holds its bytes.

    Attributes:
        name: Name in the file; nested torch containers are joined by dots.
        dtype: safetensors name of the element type, such as `BF16`.
        shape: Dimensions, outermost first; `()` is a scalar.
        offset: Where its first byte is, in bytes from the start of the file.
        size_bytes: Bytes from the first to the last element.
        order: `C` (row-major) or `F` (column-major) contiguous; else `strides:` and the strides in elements.
        anonymous: Bytes of a torch storage without one name of their own: several views share them and none
            covers them alone, or what uses them is unknown here. The name is made up (`storage:KEY[BEGIN:END]`),
            the dtype `U8`. They are weights all the same.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int
    order: str = "C"
    anonymous: bool = False


class View(NamedTuple):
    """A named array that lies inside the bytes of a `Tensor`: tied weights, slices of a flat storage.

    Attributes:
        name: Name in the file.
        dtype: safetensors name of the element type; it may differ from the owner's.
        shape: Dimensions, outermost first.
        owner: Index into `Layout.tensors` of the tensor that owns the bytes.
        offset: Where its first byte is, in bytes from the start of the owner.
        size_bytes: Bytes from the first to the last element.
        order: As for `Tensor`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    owner: int
    offset: int
    size_bytes: int
    order: str = "C"


class Rows(NamedTuple):
    """Where in the rows of its tensor a chunk lies.

    Attributes:
        columns: Elements in a row, those that one index alone tells apart and that lie side by side; 0 for no rows.
        column: That of the chunk's first element.
    """

    columns: int
    column: int


NO_ROWS = Rows(0, 0)


def rows_at(shape: tuple[int, ...], order: str, size_bytes: int, start: int) -> Rows:
    """Return where a chunk lies in the rows of its tensor.

    Args:
        shape: The tensor's.
        order: The tensor's.
        size_bytes: The tensor's.
        start: Where the chunk begins, in bytes from the start of the tensor.
    """
    elements = math.prod(shape)
    if len(shape) < 2 or not elements or order not in {"C", "F"}:
        return NO_ROWS
    columns = shape[-1] if order == "C" else shape[0]
    return Rows(columns, start * elements // size_bytes % columns)


class ExternalTensor(NamedTuple):
    """A named array whose bytes lie in another file.

    Attributes:
        name: Name in the file that tells of it.
        dtype: safetensors name of the element type.
        shape: Dimensions, outermost first.
        location: Path of the other file, relative to the folder of this one; a `*` that it begins with stands for the
            name of this file without its suffix. It is hostile: compare it with paths that are known, and open nothing
            by it.
        offset: Where its first byte is, in bytes from the start of the other file.
        size_bytes: Bytes from the first to the last element.
        format: The format of the other file, if it has no other.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    location: str
    offset: int
    size_bytes: int
    format: str = "onnx-data"


class ExternalSave(NamedTuple):
    """What one call of `torch.save` wrote into another file: a zip file within that file.

    Attributes:
        name: Name of what was saved, in the file that tells of it.
        location: As for `ExternalTensor`.
        offset: Where it begins, in bytes from the start of the other file.
        size_bytes: Its size.
        format: The format of the other file.
    """

    name: str
    location: str
    offset: int
    size_bytes: int
    format: str = "dcp-data"


External = ExternalTensor | ExternalSave


@dataclass(frozen=True, slots=True)
class Layout:
    """All tensors of one file.

    Attributes:
        format: `safetensors`, `torch`, `dcp`, `dcp-data`, `npy`, `npz`, `gguf`, `onnx`, `onnx-data`, `hdf5`, `keras`,
            `msgpack`, `tensorflow` or `tensorflow-data`.
        tensors: Sorted by offset; they never overlap and all lie inside the file.
        views: Named arrays inside those tensors, sorted by name. No two of all names are equal.
        metadata: The file's own text metadata (safetensors `__metadata__`) when it is small.
        unsafe_globals: What a pickle in the file names beyond what weights need, as `module.name`, sorted,
            at most 32. Nothing of it was imported or run.
        is_complete: False when the file holds array values outside of `tensors` (scales of quantized tensors, pickled
            NumPy arrays, compressed datasets): equal tensors do not mean equal weights then.
        external: What lies in other files (ONNX, distributed checkpoints of torch, checkpoints of TensorFlow).
    """

    format: str
    tensors: tuple[Tensor, ...]
    views: tuple[View, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    unsafe_globals: tuple[str, ...] = ()
    is_complete: bool = True
    external: tuple[External, ...] = ()

    @property
    def arrays(self) -> tuple[Tensor | View, ...]:
        """Everything in the file that has a name: the tensors, then the views."""
        return (*self.tensors, *self.views)


def read_exactly(source: ByteSource, offset: int, length: int) -> bytes:
    """Return `length` bytes at `offset`.

    Raises:
        FormatError: The file ends before, or the range is not in it.
        OSError: The file cannot be read.
    """
    if offset < 0 or length < 0 or offset + length > source.size_bytes:
        raise FormatError("a range lies outside the file")
    data = source.read(offset, length)
    if len(data) != length:
        raise FormatError("the file is shorter than it was")
    return data


def checked_name(name: str) -> str:
    """Return `name` if it can be stored and shown.

    Raises:
        FormatError: It is absurdly long or no valid Unicode (a lone surrogate).
    """
    if len(name) > MAX_NAME_CHARACTERS:
        raise FormatError("a name is too long")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise FormatError("a name is no valid Unicode") from None
    return name


def sorted_tensors(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Return the tensors in file order: by offset, and empty ones before the tensor that starts there."""
    return tuple(sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size_bytes, tensor.name)))


def checked_layout(layout: Layout, size_bytes: int) -> Layout:
    """Return `layout` if every promise of `Layout` holds in a file of `size_bytes`.

    Raises:
        FormatError: One does not.
    """
    _check_names(layout)
    end = 0
    for tensor in layout.tensors:
        if tensor.offset < end or tensor.size_bytes < 0:
            raise FormatError("tensors overlap")
        end = tensor.offset + tensor.size_bytes
    if end > size_bytes:
        raise FormatError("a tensor lies outside the file")
    for view in layout.views:
        if view.offset < 0 or view.offset + view.size_bytes > layout.tensors[view.owner].size_bytes:
            raise FormatError("a view lies outside its owner")
    return layout


def _check_names(layout: Layout) -> None:
    names = {checked_name(array.name) for array in layout.arrays}
    if len(names) != len(layout.arrays):
        raise FormatError("two tensors have one name")
    if len(names) > MAX_TENSORS:
        raise FormatError("too many tensors")
