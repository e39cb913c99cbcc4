"""Weight files made by hand, and what must hold of any layout that is read from one."""

from __future__ import annotations

import io
import json
import math
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mlver.formats import Layout
from mlver.formats.dtypes import BITS_BY_DTYPE

STORAGE_CLASSES = {"F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage", "I64": "LongStorage"}


@dataclass(frozen=True)
class BytesSource:
    """A file in memory."""

    data: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


def assert_promises(layout: Layout, size_bytes: int) -> None:
    """Check every promise of `Layout` for a file of `size_bytes`."""
    end = 0
    for tensor in layout.tensors:
        assert tensor.offset >= end
        assert tensor.size_bytes >= 0
        end = tensor.offset + tensor.size_bytes
    assert end <= size_bytes
    for view in layout.views:
        assert view.offset >= 0
        assert view.size_bytes >= 0
        assert view.offset + view.size_bytes <= layout.tensors[view.owner].size_bytes
    for item in layout.arrays:
        if item.order in ("C", "F") and item.dtype in BITS_BY_DTYPE:
            assert math.prod(item.shape) * BITS_BY_DTYPE[item.dtype] == item.size_bytes * 8
    names = [item.name for item in layout.arrays]
    assert len(set(names)) == len(names)
    texts = [*names, *layout.metadata, *layout.metadata.values(), *layout.unsafe_globals]
    json.dumps(texts, ensure_ascii=False).encode("utf-8", "strict")
    assert list(layout.unsafe_globals) == sorted(layout.unsafe_globals)[:32]


def safetensors_file(header: Mapping[str, Any] | str | bytes, data: bytes = b"") -> bytes:
    """Return a safetensors file with this header, however wrong it is."""
    text = header if isinstance(header, (str, bytes)) else json.dumps(header)
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return len(raw).to_bytes(8, "little") + raw + data


def entry(dtype: str, shape: Iterable[float], begin: int, end: int) -> dict[str, Any]:
    """Return a tensor's entry of a safetensors header."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


class Name:
    """A global to be pickled by name, whether or not it exists."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None:
        """Only there because pickle insists on callables."""


@dataclass(eq=False)
class Storage:
    """The bytes of one or more tensors."""

    key: str
    data: bytes
    dtype: str | None = "F32"


@dataclass(eq=False)
class Tensor:
    """A tensor as torch would pickle it."""

    storage: Storage
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    start: int = 0
    untyped_dtype: str | None = None


@dataclass(eq=False)
class Instance:
    """An object made by calling `function`, with attributes if there are any."""

    function: Name
    arguments: tuple[object, ...] = ()
    state: object = None


class _Pickler(pickle._Pickler):  # the one written in Python: the other insists on importing what it names
    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)

    def persistent_id(self, value: object) -> object:
        if not isinstance(value, Storage):
            return None
        if value.dtype is None:
            return ("storage", Name("torch.storage", "UntypedStorage"), value.key, "cpu", len(value.data))
        size = len(value.data) * 8 // BITS_BY_DTYPE[value.dtype]
        return ("storage", Name("torch", STORAGE_CLASSES[value.dtype]), value.key, "cpu", size)

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, Instance):
            return value.function, value.arguments, value.state
        if not isinstance(value, Tensor):
            return NotImplemented
        arguments: tuple[object, ...] = (value.storage, value.start, value.shape, value.strides, False, {})
        if value.untyped_dtype is None:
            return Name("torch._utils", "_rebuild_tensor_v2"), arguments
        return Name("torch._utils", "_rebuild_tensor_v3"), (*arguments, Name("torch", value.untyped_dtype))

    def save_name(self, value: Name) -> None:
        self.write(f"c{value.module}\n{value.name}\n".encode())  # type: ignore[attr-defined]
        self.memoize(value)  # type: ignore[attr-defined]

    dispatch[Name] = save_name


def pickled(root: object, protocol: int = 2) -> bytes:
    """Return `root` as `torch.save` would pickle it."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol).dump(root)
    return buffer.getvalue()


@dataclass
class TorchFile:
    """A torch zip file: what is pickled, or the pickle itself, and the storages."""

    root: object = None
    storages: list[Storage] = field(default_factory=list)
    pickle_bytes: bytes | None = None
    byte_order: bytes = b"little"
    protocol: int = 2

    def to_bytes(self) -> bytes:
        body = pickled(self.root, self.protocol) if self.pickle_bytes is None else self.pickle_bytes
        members = {"data.pkl": body, "byteorder": self.byte_order}
        members |= {f"data/{storage.key}": storage.data for storage in self.storages}
        members |= {"version": b"3\n", ".data/serialization_id": b"0" * 40}
        return stored_zip({f"archive/{name}": content for name, content in members.items()})


def stored_zip(members: Mapping[str, bytes], alignment_bytes: int = 64) -> bytes:
    """Return an uncompressed zip file with the contents aligned by padding in the local headers, as torch does it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            padding = -(buffer.tell() + 30 + len(name.encode()) + 4) % alignment_bytes
            info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
            archive.writestr(info, content)
    return buffer.getvalue()
