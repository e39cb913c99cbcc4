"""Torch files before zip files → `Layout`: what `torch.save` wrote until 1.6, and still does if it is told to.

Five pickles follow one another: a magic number, the version, what wrote the file, the objects, and the keys of the
storages. These come next in this order, each as its number of elements and its bytes. The pickles are interpreted by
`PickleMachine`; nothing in the file is imported or run.

Source: PyTorch `torch/serialization.py` (`_legacy_save`, `_legacy_load`).
"""

from __future__ import annotations

from collections.abc import Mapping

from mlver.formats.layout import ByteSource, FormatError, Layout, read_exactly
from mlver.formats.pickle_machine import PickleMachine
from mlver.formats.shared_storage import Extent
from mlver.formats.torch_globals import Record, Storage
from mlver.formats.torch_tensors import MAX_PICKLE_BYTES, torch_layout

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_SIZE_BYTES = 8
_WINDOW_BYTES = 1 << 16


def parse_legacy_torch(source: ByteSource) -> Layout:
    """Return the layout of a torch file that is no zip file.

    Raises:
        FormatError: It is malformed, big-endian, or larger than the limits.
        OSError: The file cannot be read.
    """
    pickles = _Pickles(source)
    machine = PickleMachine()
    if machine.run(pickles) != _MAGIC or machine.run(pickles) != _VERSION:
        raise FormatError("this is no torch file of a known version")
    writer = machine.run(pickles)
    if not isinstance(writer, Record) or ("little_endian", True) not in writer.items:
        raise FormatError("the tensors are big-endian")
    root = machine.run(pickles)
    keys = machine.run(pickles)
    extents = _extents(source, pickles.offset, keys, machine.storages)
    return torch_layout(machine, root, extents, source.size_bytes)


def _extents(source: ByteSource, offset: int, keys: object, storages: Mapping[str, Storage]) -> dict[str, Extent]:
    """Return where the content of each storage is, by key; the first begins at `offset`.

    A key is an address in the memory of who saved the file. What is shown is what zip files have for keys: the number
    of the storage in the order in which the objects mention them.
    """
    numbers = {key: str(number) for number, key in enumerate(storages)}
    if not isinstance(keys, list) or len(keys) != len(storages):
        raise FormatError("the storages are not those that the objects have")
    extents: dict[str, Extent] = {}
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None or key in extents or storage.element_bytes is None:
            raise FormatError("a storage is none that the objects have, or of an unknown type")
        count = int.from_bytes(read_exactly(source, offset, _SIZE_BYTES), "little")
        extents[key] = Extent(numbers[key], offset + _SIZE_BYTES, count * storage.element_bytes)
        offset = extents[key].offset + extents[key].size_bytes
        if offset > source.size_bytes:
            raise FormatError("a storage ends after the file")
    return extents


class _Pickles:
    """A file from its beginning, read in windows, for `PickleMachine`.

    Attributes:
        offset: How far it was read, in bytes.
    """

    def __init__(self, source: ByteSource) -> None:
        self.offset = 0
        self._source = source
        self._window = b""
        self._start = 0

    def read(self, length: int, /) -> bytes:
        """See `Stream.read`.

        Raises:
            FormatError: They are more than pickles may have.
            OSError: The file cannot be read.
        """
        at = self.offset - self._start
        if at + length > len(self._window):
            at = self._refill(length)
        found = self._window[at : at + length]
        self.offset += len(found)
        return found

    def readline(self) -> bytes:
        """See `Stream.readline`. A line that is longer than a window ends with it."""
        at = self.offset - self._start
        end = self._window.find(b"\n", at)
        if end < 0:
            at = self._refill(_WINDOW_BYTES)
            end = self._window.find(b"\n")
        return self.read((end + 1 or len(self._window)) - at)

    def _refill(self, length: int) -> int:
        """Read on from here and return where in the window that is."""
        if self.offset + length > MAX_PICKLE_BYTES:
            raise FormatError("the pickles are too large")
        self._window = self._source.read(self.offset, max(length, _WINDOW_BYTES))
        self._start = self.offset
        return 0
