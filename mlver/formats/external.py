"""Tensors that one file describes and another holds: ONNX's external data.

Whoever reads all files of a version asks each model what it places elsewhere (`Layout.external`), lets `beside` find
those places among the files there are, and hands each file what the others say of it (`diagnose`). Paths are compared,
never opened.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from mlver.formats.layout import ExternalTensor, FormatError, Layout, Tensor, checked_layout


class Beside(NamedTuple):
    """What the other files of a version say of one.

    Attributes:
        tensors: The tensors that they place in it.
        has_others: Whether it places tensors itself, and all files are there in which it does.
    """

    tensors: tuple[ExternalTensor, ...] = ()
    has_others: bool = False


EXTERNAL_FORMAT = "onnx-data"
"""The format of a file that is weights only because another says so."""


def beside(external: Mapping[str, Sequence[ExternalTensor]], paths: Collection[str]) -> dict[str, Beside]:
    """Return what the files of a version say of each other, by path; files of which none says anything are left out.

    Args:
        external: The tensors that files place elsewhere (`Layout.external`), by the path of the file.
        paths: Of all files.
    """
    placed: dict[str, dict[ExternalTensor, None]] = {}  # two models may share a file, and what is in it
    complete: set[str] = set()
    for path, tensors in sorted(external.items()):
        others = {tensor.location: _neighbour(path, tensor.location) for tensor in tensors}
        if all(other in paths for other in others.values()):
            complete.add(path)
        for tensor in tensors:
            placed.setdefault(others[tensor.location], {})[tensor] = None
    known = [path for path in {**placed, **external} if path in paths]
    return {path: Beside(tuple(placed.get(path, ())), path in complete) for path in known}


def parse_external(tensors: Sequence[ExternalTensor], size_bytes: int) -> Layout:
    """Return the layout of a file of `size_bytes` in which other files place `tensors`.

    Raises:
        FormatError: One lies outside of it, or they are too many.
    """
    from mlver.formats.shared_storage import Extent, separate  # here, because few versions have such files
    from mlver.formats.unique_names import UniqueNames

    names = UniqueNames()
    inside = [Tensor(names.add(item.name), item.dtype, item.shape, item.offset, item.size_bytes) for item in tensors]
    if any(tensor.offset + tensor.size_bytes > size_bytes for tensor in inside):
        raise FormatError("another file places a tensor outside of this one")
    owners, views = separate({Extent("", 0, size_bytes): inside})
    return checked_layout(Layout(EXTERNAL_FORMAT, owners, views), size_bytes)


def _neighbour(path: str, location: str) -> str:
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}{location}"
