"""Named arrays that may share bytes → tensors that own theirs, and views into those.

torch saves a storage once, whoever looks into it: tied weights, transposed twins, slices of one flat buffer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlver.formats.layout import Tensor, View, sorted_tensors


@dataclass(frozen=True, slots=True)
class Extent:
    """The content of one storage.

    Attributes:
        key: Name of the storage in the file.
        offset: In bytes from the start of the file.
        size_bytes: Its size.
    """

    key: str
    offset: int
    size_bytes: int


def separate(arrays: dict[Extent, list[Tensor]]) -> tuple[tuple[Tensor, ...], tuple[View, ...]]:
    """Return the owners of all bytes in file order, and the views into them by name.

    Args:
        arrays: What lies in each storage; arrays may overlap. A storage with nothing in it becomes an anonymous
            tensor, so that no weights go unseen.
    """
    groups = [group for extent, inside in arrays.items() for group in _groups(extent, inside)]
    owners = sorted_tensors(owner for owner, _ in groups)
    index_by_name = {owner.name: index for index, owner in enumerate(owners)}
    views = [_view(array, owner, index_by_name[owner.name]) for owner, inside in groups for array in inside]
    return owners, tuple(sorted(views, key=lambda view: view.name))


def _groups(extent: Extent, arrays: list[Tensor]) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Yield each owner with the other arrays inside it."""
    for begin, end, group in _connected(arrays):
        size_bytes = end - begin  # one that is as large as the group covers it
        owner = next((array for array in group if array.size_bytes == size_bytes), None) or _anonymous(
            extent, begin, end
        )
        yield owner, [array for array in group if array is not owner]
    # Empty arrays share no bytes. At the start of the storage they cannot lie within another tensor.
    for array in arrays:
        if array.size_bytes == 0:
            yield Tensor(array.name, array.dtype, array.shape, extent.offset, 0, array.order), []
    if not arrays and extent.size_bytes:
        yield _anonymous(extent, extent.offset, extent.offset + extent.size_bytes), []


def _connected(arrays: Iterable[Tensor]) -> Iterator[tuple[int, int, list[Tensor]]]:
    """Yield the begin, the end and the members of every run of arrays that overlap."""
    begin = end = 0
    group: list[Tensor] = []
    # Sorting is stable: of equal arrays, the first in the file is the owner.
    for array in sorted((array for array in arrays if array.size_bytes), key=lambda array: array.offset):
        if group and array.offset >= end:
            yield begin, end, group
            group = []
        begin = array.offset if not group else begin
        end = max(end, array.offset + array.size_bytes)
        group.append(array)
    if group:
        yield begin, end, group


def _anonymous(extent: Extent, begin: int, end: int) -> Tensor:
    name = f"storage:{extent.key}[{begin - extent.offset}:{end - extent.offset}]"
    return Tensor(name, "U8", (end - begin,), begin, end - begin, anonymous=True)


def _view(array: Tensor, owner: Tensor, index: int) -> View:
    offset = array.offset - owner.offset
    return View(array.name, array.dtype, array.shape, index, offset, array.size_bytes, array.order)
