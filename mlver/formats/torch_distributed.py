"""torch's distributed checkpoints: `.metadata` tells what lies where in the other files of its folder.

Each process of a training writes files of its own, in which one `torch.save` follows another: a zip file for each
tensor, or part of one, and for each other object. `.metadata` is a pickle that has their names and places, and is
interpreted by `PickleMachine`; nothing in it is imported or run.

Source: PyTorch `torch/distributed/checkpoint/metadata.py` and `filesystem.py` (`_write_item`, `_StorageInfo`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from mlver.formats.dtypes import MAX_DIMENSIONS
from mlver.formats.layout import (
    MAX_TENSORS,
    ByteSource,
    ExternalSave,
    FormatError,
    Layout,
    Tensor,
    checked_layout,
    checked_name,
    read_exactly,
)
from mlver.formats.pickle_machine import PickleMachine
from mlver.formats.stretch import Stretch
from mlver.formats.torch_globals import Record
from mlver.formats.torch_tensors import MAX_PICKLE_BYTES, MAX_UNSAFE_GLOBALS
from mlver.formats.torch_zip import find_pickle, parse_torch
from mlver.formats.unique_names import LONE_TENSOR_NAME, MAX_ALL_NAMES_CHARACTERS, UniqueNames, joined
from mlver.formats.zip_directory import read_directory

_NEEDED = {
    "torch.distributed.checkpoint.metadata": (
        "BytesStorageMetadata ChunkStorageMetadata Metadata MetadataIndex StorageMeta TensorProperties "
        "TensorStorageMetadata _MEM_FORMAT_ENCODING"
    ),
    "torch.distributed.checkpoint.filesystem": "_StorageInfo",
    "torch.distributed._shard.sharded_tensor.metadata": "MEM_FORMAT_ENCODING TensorProperties",  # torch 2.0 to 2.2
    "pathlib": "PosixPath PurePosixPath WindowsPath PureWindowsPath",
    "pathlib._local": "PosixPath PurePosixPath WindowsPath PureWindowsPath",
}
NEEDED_GLOBALS = frozenset(f"{module}.{name}" for module, names in _NEEDED.items() for name in names.split())
"""What such files name beside what weights need: classes without code of their own."""
_MOST_STATES, _MOST_ATTRIBUTES = 4, 64
"""What is looked at of an object. One can be mentioned time and again, and the file stays small."""


def parse_metadata(source: ByteSource) -> Layout:
    """Return the layout of a `.metadata` file: no tensors, and where the others of its folder have them.

    Raises:
        FormatError: It is malformed, or larger than the limits.
        OSError: The file cannot be read.
    """
    if source.size_bytes > MAX_PICKLE_BYTES:
        raise FormatError("the pickle is too large")
    machine = PickleMachine()
    entries = _attributes(machine.run(read_exactly(source, 0, source.size_bytes))).get("storage_data")
    if not isinstance(entries, Record):
        raise FormatError("the metadata does not tell where anything is")
    places = [found for key, value in entries.items if (found := _place(key, value)) is not None]
    if len(places) > MAX_TENSORS:
        raise FormatError("the metadata tells of too many places")
    parts = Counter(place.name for place, _ in places)
    saves: list[ExternalSave] = []
    characters = 0
    for place, at in places:
        name = _shown(place.name, at, parts[place.name])
        characters += len(name)
        if characters > MAX_ALL_NAMES_CHARACTERS:
            raise FormatError("the names of what was saved are too long")
        saves.append(place._replace(name=name))
    unsafe = sorted(machine.unsafe_globals - NEEDED_GLOBALS)
    layout = Layout(
        "dcp",
        (),
        unsafe_globals=tuple(unsafe[:MAX_UNSAFE_GLOBALS]),
        is_complete=len(saves) == len(entries.items),
        external=tuple(saves),
    )
    return checked_layout(layout, source.size_bytes)


def _place(key: object, value: object) -> tuple[ExternalSave, tuple[object, ...]] | None:
    """Return where an entry of the metadata is, and where it begins in its tensor; None if it is something else."""
    index, info = _attributes(key), _attributes(value)
    at = index.get("offset")
    match index.get("fqn"), info.get("relative_path"), info.get("offset"), info.get("length"):
        case str(name), str(location), int(offset), int(size_bytes) if (
            offset >= 0 and size_bytes >= 0 and info.get("transform_descriptors") is None
        ):
            place = ExternalSave(checked_name(name), location, offset, size_bytes)
            return place, at if isinstance(at, tuple) else ()
    return None


def _attributes(value: object) -> dict[str, object]:
    """Return what is set of an object that was pickled by the names of its attributes."""
    states = value.states[:_MOST_STATES] if isinstance(value, Record) else []
    items = chain.from_iterable(state.items[:_MOST_ATTRIBUTES] for state in states if isinstance(state, Record))
    return {key: item for key, item in items if isinstance(key, str)}


def _shown(name: str, at: Sequence[object], parts: int) -> str:
    """Return the name of a tensor, with where it begins if it is a part of one."""
    if len(at) > MAX_DIMENSIONS:
        raise FormatError("a tensor has too many dimensions")
    indices = [index for index in at if isinstance(index, int)]
    if len(indices) != len(at) or (parts == 1 and not any(indices)) or not indices:
        return name
    if any(index.bit_length() > 63 for index in indices):
        raise FormatError("a part of a tensor begins outside of it")
    return joined(name, f"[{','.join(map(str, indices))}]", separator="")


class Saved(NamedTuple):
    """What `torch.save` wrote into one file, time and again.

    Attributes:
        tensors: Those in it; what was saved under a name comes under that name.
        unsafe_globals: As for `Layout`.
        is_complete: As for `Layout`; False also if something lies between what was saved.
    """

    tensors: list[Tensor]
    unsafe_globals: tuple[str, ...]
    is_complete: bool


def read_saves(saves: Sequence[ExternalSave], source: ByteSource, names: UniqueNames) -> Saved:
    """Return what was saved into a file, by what others say of it.

    Args:
        saves: What they say.
        source: The file.
        names: Those that are taken in it.

    Raises:
        FormatError: Something is no zip file of torch's, or two overlap, or it is larger than the limits.
        OSError: The file cannot be read.
    """
    machine = PickleMachine()
    tensors: list[Tensor] = []
    is_complete = not saves or sum(save.size_bytes for save in saves) == source.size_bytes
    end = 0
    for save in sorted(saves, key=lambda save: (save.offset, save.size_bytes)):
        if save.offset < end:
            raise FormatError("two things that were saved overlap")
        end = save.offset + save.size_bytes
        if end > source.size_bytes:
            raise FormatError("something that was saved lies outside of the file")
        layout = _parse_save(Stretch(source, save.offset, save.size_bytes), machine)
        is_complete = is_complete and layout.is_complete
        tensors += _named(save, layout, names)
    return Saved(tensors, tuple(sorted(machine.unsafe_globals)[:MAX_UNSAFE_GLOBALS]), is_complete)


def _parse_save(source: ByteSource, machine: PickleMachine) -> Layout:
    members = read_directory(source)
    pickle_name = find_pickle(members)
    if pickle_name is None:
        raise FormatError("what was saved is no zip file of torch's")
    machine.storages = {}  # each save has its own, by the same keys
    return parse_torch(source, members, pickle_name, machine)


def _named(save: ExternalSave, layout: Layout, names: UniqueNames) -> Iterator[Tensor]:
    """Yield all arrays of what was saved, placed in the file that it is in."""
    places = [tensor.offset for tensor in layout.tensors]
    places += [layout.tensors[view.owner].offset + view.offset for view in layout.views]
    for item, place in zip(layout.arrays, places, strict=True):
        name = save.name if item.name == LONE_TENSOR_NAME else joined(save.name, item.name)
        anonymous = isinstance(item, Tensor) and item.anonymous
        yield Tensor(
            names.add(name), item.dtype, item.shape, save.offset + place, item.size_bytes, item.order, anonymous
        )
