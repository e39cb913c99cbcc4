"""Tensors that one file tells of and another holds: of ONNX, of torch's distributed checkpoints, of TensorFlow.

Whoever reads all files of a version asks each what it places elsewhere (`Layout.external`), lets `beside` find those
places among the files there are, and hands each file what the others say of it (`diagnose`). Paths are compared, never
opened.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from mlver.formats.layout import (
    ByteSource,
    External,
    ExternalSave,
    ExternalTensor,
    FormatError,
    Layout,
    Tensor,
    checked_layout,
)


class Beside(NamedTuple):
    """What the other files of a version say of one.

    Attributes:
        placed: What they place in it.
        has_others: Whether it places something itself, and all files are there in which it does.
    """

    placed: tuple[External, ...] = ()
    has_others: bool = False

    @property
    def has_saves(self) -> bool:
        """Whether its format is that of what others place in it."""
        return any(isinstance(item, ExternalSave) for item in self.placed)

    @property
    def format(self) -> str:
        """The format of a file that is weights because others say so; something is placed in it."""
        return self.placed[0].format


EXTERNAL_FORMATS = frozenset(["dcp-data", "onnx-data", "tensorflow-data"])
"""The formats of files that are weights only because others say so."""


def beside(external: Mapping[str, Sequence[External]], paths: Collection[str]) -> dict[str, Beside]:
    """Return what the files of a version say of each other, by path; files of which none says anything are left out.

    Args:
        external: What files place elsewhere (`Layout.external`), by the path of the file.
        paths: Of all files.
    """
    placed: dict[str, dict[External, None]] = {}  # two models may share a file, and what is in it
    complete: set[str] = set()
    for path, items in sorted(external.items()):
        others = {item.location: _neighbour(path, item.location) for item in items}
        if all(other in paths for other in others.values()):
            complete.add(path)
        for item in items:
            placed.setdefault(others[item.location], {})[item] = None
    known = [path for path in {**placed, **external} if path in paths]
    return {path: Beside(tuple(placed.get(path, ())), path in complete) for path in known}


def parse_external(others: Beside, source: ByteSource) -> Layout:
    """Return the layout of a file in which other files place something.

    Raises:
        FormatError: Something lies outside of it, is not what they say, or is too much.
        OSError: The file cannot be read.
    """
    from mlver.formats.shared_storage import Extent, separate  # here, because few versions have such files
    from mlver.formats.torch_distributed import read_saves
    from mlver.formats.unique_names import UniqueNames

    names = UniqueNames()
    placed = [item for item in others.placed if isinstance(item, ExternalTensor)]
    inside = [Tensor(names.add(item.name), item.dtype, item.shape, item.offset, item.size_bytes) for item in placed]
    saved = read_saves([item for item in others.placed if isinstance(item, ExternalSave)], source, names)
    inside += saved.tensors
    if any(tensor.offset + tensor.size_bytes > source.size_bytes for tensor in inside):
        raise FormatError("another file places a tensor outside of this one")
    owners, views = separate({Extent("", 0, source.size_bytes): inside})
    layout = Layout(others.format, owners, views, unsafe_globals=saved.unsafe_globals, is_complete=saved.is_complete)
    return checked_layout(layout, source.size_bytes)


def _neighbour(path: str, location: str) -> str:
    folder, slash, name = path.rpartition("/")
    if location.startswith("*"):
        location = name.rpartition(".")[0] + location[1:]
    return f"{folder}{slash}{location}"
