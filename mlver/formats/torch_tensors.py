"""What the pickles of a torch file describe, and where its storages lie → `Layout`: the same for both kinds of file."""

from __future__ import annotations

from collections.abc import Mapping

from mlver.formats.dtypes import BITS_BY_DTYPE
from mlver.formats.layout import FormatError, Layout, Tensor, checked_layout
from mlver.formats.pickle_machine import PickleMachine
from mlver.formats.shared_storage import Extent, separate
from mlver.formats.strides import extent_bytes, memory_order
from mlver.formats.tensor_names import named_tensors
from mlver.formats.torch_globals import StridedTensor

MAX_PICKLE_BYTES = 1 << 26
"""All pickles of a file together."""
MAX_UNSAFE_GLOBALS = 32


def torch_layout(machine: PickleMachine, root: object, extents: Mapping[str, Extent], size_bytes: int) -> Layout:
    """Return the layout of a torch file.

    Args:
        machine: What has read its pickles.
        root: The value that they describe.
        extents: Where the content of each storage is, by key.
        size_bytes: Of the file.

    Raises:
        FormatError: A tensor lies outside its storage, or the values are larger than the limits.
    """
    arrays: dict[Extent, list[Tensor]] = {extent: [] for extent in extents.values()}
    for name, described in named_tensors(root):
        extent = extents[described.storage.key]
        arrays[extent].append(_place(name, described, extent))
    tensors, views = separate(arrays)
    unsafe = tuple(sorted(machine.unsafe_globals)[:MAX_UNSAFE_GLOBALS])
    layout = Layout("torch", tensors, views, unsafe_globals=unsafe, is_complete=not machine.is_lossy)
    return checked_layout(layout, size_bytes)


def _place(name: str, described: StridedTensor, extent: Extent) -> Tensor:
    """Return the tensor in the file that the pickle describes."""
    if described.start < 0 or described.start.bit_length() > 63:
        raise FormatError("a tensor starts outside its storage")
    dtype, shape, strides = described.dtype, described.shape, described.strides
    start_bytes = described.start * BITS_BY_DTYPE[dtype] // 8
    size_bytes = extent_bytes(dtype, shape, strides)
    if size_bytes and start_bytes + size_bytes > extent.size_bytes:
        raise FormatError("a tensor is larger than its storage")
    return Tensor(name, dtype, shape, extent.offset + start_bytes, size_bytes, memory_order(shape, strides))
