"""HDF5 files, such as Keras writes, and Keras' zip files with one inside → `Layout`.

Our own reader and not `h5py`: which tensors a file has must depend on the file alone and not on what is installed,
since a version's id depends on it; and libhdf5 was not made for files from strangers (releases that are still in use
abort on some of them). Only what lies in one piece and is not compressed is read, which is how weights are written;
what else there is makes the layout incomplete.

Source: HDF5 File Format Specification 3.0, section II.A (superblock).
"""

from __future__ import annotations

import struct
from dataclasses import replace

from mlver.formats.cursor import Cursor
from mlver.formats.hdf5_datasets import is_dataset, read_dataset
from mlver.formats.hdf5_links import is_group, read_links
from mlver.formats.hdf5_objects import read_messages
from mlver.formats.layout import ByteSource, FormatError, Layout, Tensor, checked_layout
from mlver.formats.shared_storage import Extent, separate
from mlver.formats.stretch import Stretch
from mlver.formats.unique_names import LONE_TENSOR_NAME, UniqueNames, joined
from mlver.formats.zip_directory import Member, locate

MAX_STEPS = 1 << 21
"""Links, messages and nodes of trees."""
_WINDOW_BYTES = 1 << 11
_KERAS_WEIGHTS = "model.weights.h5"
_OLD = struct.Struct("<8sB4xBBx4x4x")
_SIZES = (8, 8)


def find_keras_weights(members: dict[str, Member]) -> Member | None:
    """Return the member that holds the weights, if the zip file is a Keras model."""
    return members.get(_KERAS_WEIGHTS)


def parse_keras(source: ByteSource, weights: Member) -> Layout:
    """Return the layout of a `.keras` file.

    Args:
        source: The file.
        weights: The member from `find_keras_weights`.

    Raises:
        FormatError: It is malformed, or the weights are compressed.
        OSError: The file cannot be read.
    """
    start = locate(source, weights)
    inside = parse_hdf5(Stretch(source, start, weights.size))
    tensors = tuple(tensor._replace(offset=tensor.offset + start) for tensor in inside.tensors)
    return checked_layout(replace(inside, format="keras", tensors=tensors), source.size_bytes)


def parse_hdf5(source: ByteSource) -> Layout:
    """Return the layout of an HDF5 file.

    Raises:
        FormatError: It is malformed, has links or objects of an unknown kind, or is larger than the limits.
        OSError: The file cannot be read.
    """
    walk = _Walk(Cursor(source, MAX_STEPS, _WINDOW_BYTES))
    walk.run(_root(walk.cursor))
    if not walk.tensors:
        return Layout("hdf5", (), is_complete=walk.is_complete)
    tensors, views = separate({Extent("", 0, source.size_bytes): walk.tensors})
    return checked_layout(Layout("hdf5", tensors, views, is_complete=walk.is_complete), source.size_bytes)


class _Walk:
    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.tensors: list[Tensor] = []
        self.is_complete = True
        self._names = UniqueNames()
        self._seen: dict[int, Tensor | None] = {}

    def run(self, root: int) -> None:
        """Visit all objects below the one at the address `root`, which may be reached on several ways."""
        pending = [("", root)]
        while pending:
            name, address = pending.pop()
            self.cursor.step()
            if address in self._seen:
                self._again(name, self._seen[address])
                continue
            self._seen[address] = None
            messages = read_messages(self.cursor, address)
            if is_dataset(messages):
                self._seen[address] = tensor = read_dataset(self.cursor, messages, name or LONE_TENSOR_NAME)
                self.is_complete = self.is_complete and tensor is not None
                self._again(name, tensor)
            elif is_group(messages):
                links = read_links(self.cursor, messages)
                inside = [(self.cursor.keep(joined(name, part, "/")), target) for part, target in links]
                pending += reversed(inside)

    def _again(self, name: str, tensor: Tensor | None) -> None:
        """Enter a dataset under a name of it."""
        if tensor is not None:
            self.tensors.append(tensor._replace(name=self._names.add(name or LONE_TENSOR_NAME)))


def _root(cursor: Cursor) -> int:
    """Return the address of the group that has all others."""
    cursor.seek(8)
    version = cursor.number(1)
    if version in (0, 1):
        cursor.seek(13)
        sizes = cursor.number(1), cursor.number(1)
        cursor.seek(24 if version == 0 else 28)
        base = cursor.number(8)
        cursor.skip(32)  # to the address in the root's link, behind the offset of its name
        root = cursor.number(8)
    elif version in (2, 3):
        sizes = cursor.number(1), cursor.number(1)
        cursor.skip(1)
        base = cursor.number(8)
        cursor.skip(16)
        root = cursor.number(8)
    else:
        raise FormatError("it is of an unknown version of HDF5")
    if sizes != _SIZES or base != 0:
        raise FormatError("its addresses are of an unusual kind")
    return root
