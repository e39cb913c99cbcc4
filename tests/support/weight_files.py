"""Weight files made by hand, and what must hold of any layout that is read from one."""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mlver.formats import Layout
from mlver.formats.dtypes import BITS_BY_DTYPE
from mlver.formats.gguf import BLOCKS

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

    @property
    def element_count(self) -> int:
        """How many elements torch counts in it."""
        return len(self.data) * 8 // BITS_BY_DTYPE[self.dtype or "U8"]


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
    is_legacy = False

    def persistent_id(self, value: object) -> object:
        if not isinstance(value, Storage):
            return None
        kind = Name("torch.storage", "UntypedStorage")
        if value.dtype is not None:
            kind = Name("torch", STORAGE_CLASSES[value.dtype])
        return ("storage", kind, value.key, "cpu", value.element_count, *([None] if self.is_legacy else []))

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


def pickled(root: object, protocol: int = 2, *, is_legacy: bool = False) -> bytes:
    """Return `root` as `torch.save` would pickle it, or as it did before it had zip files."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, protocol)
    pickler.is_legacy = is_legacy
    pickler.dump(root)
    return buffer.getvalue()


@dataclass
class TorchFile:
    """A torch file: what is pickled, or the pickle itself, and the storages."""

    root: object = None
    storages: list[Storage] = field(default_factory=list)
    pickle_bytes: bytes | None = None
    byte_order: bytes = b"little"
    protocol: int = 2

    def to_legacy_bytes(self, **parts: bytes) -> bytes:
        """Return the file as torch wrote it before it had zip files.

        Args:
            parts: What to put in place of a pickle: `magic`, `version`, `writer`, `objects`, `keys`.
        """
        storages = sorted(self.storages, key=lambda storage: storage.key)
        values: dict[str, object] = {
            "magic": 0x1950A86A20F9469CFC6C,
            "version": 1001,
            "writer": {
                "protocol_version": 1001,
                "little_endian": self.byte_order == b"little",
                "type_sizes": {"int": 4},
            },
            "objects": self.root,
            "keys": [storage.key for storage in storages],
        }
        pickles = {name: pickled(value, self.protocol, is_legacy=True) for name, value in values.items()} | parts
        return b"".join(pickles.values()) + b"".join(
            storage.element_count.to_bytes(8, "little") + storage.data for storage in storages
        )

    def to_bytes(self) -> bytes:
        body = pickled(self.root, self.protocol) if self.pickle_bytes is None else self.pickle_bytes
        members = {"data.pkl": body, "byteorder": self.byte_order}
        members |= {f"data/{storage.key}": storage.data for storage in self.storages}
        members |= {"version": b"3\n", ".data/serialization_id": b"0" * 40}
        return stored_zip({f"archive/{name}": content for name, content in members.items()})


def dcp_metadata(entries: Sequence[tuple[object, object]], protocol: int = 4) -> bytes:
    """Return the `.metadata` of a distributed checkpoint of torch, with what it says of each entry."""
    module = "torch.distributed.checkpoint"
    return pickled(Instance(Name(f"{module}.metadata", "Metadata"), (), {"storage_data": dict(entries)}), protocol)


def dcp_entry(name: object, location: object, offset: object, length: object, **more: object) -> tuple[object, object]:
    """Return an entry of such a `.metadata`; `at` is where a part begins in its tensor."""
    module = "torch.distributed.checkpoint"
    index = {"fqn": name, "offset": more.pop("at", None), "index": None}
    info = {"relative_path": location, "offset": offset, "length": length} | more
    return (
        Instance(Name(f"{module}.metadata", "MetadataIndex"), (), index),
        Instance(Name(f"{module}.filesystem", "_StorageInfo"), (), info),
    )


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


GGUF_NUMBERS = {name: number for number, (name, _, _) in BLOCKS.items()}


@dataclass
class GgufFile:
    """A GGUF file: tensors by name, each with its ggml type, its shape (outermost first) and its bytes.

    Attributes:
        pairs: Key, number of the value's type, and the value's bytes.
        alignment: What the tensors are laid out by, whatever the pairs say.
    """

    tensors: Mapping[str, tuple[str | int, tuple[int, ...], bytes]] = field(default_factory=dict)
    pairs: Sequence[tuple[str, int, bytes]] = ()
    version: int = 3
    alignment: int = 32

    def to_bytes(self) -> bytes:
        head = b"GGUF" + struct.pack("<LQQ", self.version, len(self.tensors), len(self.pairs))
        for key, kind, value in self.pairs:
            head += gguf_text(key) + struct.pack("<L", kind) + value
        body = b""
        for name, (dtype, shape, data) in self.tensors.items():
            number = dtype if isinstance(dtype, int) else GGUF_NUMBERS[dtype]
            head += gguf_text(name) + struct.pack(f"<L{len(shape)}Q", len(shape), *shape[::-1])
            head += struct.pack("<LQ", number, len(body))
            body += padded(data, self.alignment)
        return padded(head, self.alignment) + body


def gguf_text(text: str) -> bytes:
    """Return a text of a GGUF file."""
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def padded(data: bytes, alignment: int) -> bytes:
    """Return `data` and zeros up to a multiple of `alignment`."""
    return data + bytes(-len(data) % alignment)


def varint(value: int) -> bytes:
    """Return a natural number as protobuf writes it."""
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def proto(number: int, value: int | str | bytes) -> bytes:
    """Return a field of a protobuf message: a varint, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def onnx_tensor(name: str, kind: int, dims: Iterable[int], raw: bytes | None = None, *more: bytes) -> bytes:
    """Return a TensorProto with `raw_data` unless that is None, and with more fields."""
    head = b"".join(proto(1, dim) for dim in dims) + proto(2, kind)
    return head + (b"" if raw is None else proto(9, raw)) + proto(8, name) + b"".join(more)


def onnx_outside(location: str, **more: object) -> bytes:
    """Return the fields of a TensorProto whose bytes are in another file."""
    texts = {"location": location, **{key: str(value) for key, value in more.items()}}
    return b"".join(proto(13, proto(1, key) + proto(2, text)) for key, text in texts.items()) + proto(14, 1)


def onnx_node(output: str, attribute: str, content: bytes) -> bytes:
    """Return a NodeProto with one attribute, whose content is given as fields."""
    return proto(2, output) + proto(4, "Constant") + proto(5, proto(1, attribute) + content)


def onnx_graph(initializers: Iterable[bytes] = (), nodes: Iterable[bytes] = ()) -> bytes:
    """Return a GraphProto."""
    return b"".join(proto(1, node) for node in nodes) + b"".join(proto(5, tensor) for tensor in initializers)


def onnx_model(initializers: Iterable[bytes] = (), nodes: Iterable[bytes] = ()) -> bytes:
    """Return an ONNX model."""
    opset = proto(8, proto(2, 21))
    return proto(1, 10) + proto(2, "by hand") + proto(7, onnx_graph(initializers, nodes)) + opset


def tensorflow_entry(kind: int, shape: Iterable[int], offset: int, size: int, *more: bytes, file: int = 0) -> bytes:
    """Return the BundleEntryProto of a tensor in a TensorFlow checkpoint, with more fields."""
    dims = b"".join(proto(2, proto(1, dimension)) for dimension in shape)
    place = proto(3, file) + proto(4, offset) + proto(5, size)
    return proto(1, kind) + proto(2, dims) + place + b"\x35\0\0\0\0" + b"".join(more)


def tensorflow_header(files: int = 1, endianness: int = 0) -> bytes:
    """Return the BundleHeaderProto of a TensorFlow checkpoint."""
    return proto(1, files) + (proto(2, endianness) if endianness else b"") + proto(3, proto(1, 1))


def _table_block(entries: Iterable[tuple[bytes, bytes]], compression: int = 0) -> bytes:
    """Return a block of a LevelDB table, which shares as much of its keys as it can, and its trailer."""
    block, before = b"", b""
    for key, value in entries:
        least = min(len(before), len(key))
        shared = next((at for at in range(least) if before[at] != key[at]), least)
        block += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return block + struct.pack("<2L", 0, 1) + bytes([compression]) + bytes(4)


def tensorflow_index(
    entries: Mapping[bytes, bytes], per_block: int = 3, compression: int = 0, first_block: int = 0
) -> bytes:
    """Return the index of a TensorFlow checkpoint: `entries` by their keys, so many in a block, from a block on."""
    pairs = list(entries.items())
    file, handles = b"", []
    for first in range(0, len(pairs), per_block):
        some = pairs[first : first + per_block]
        block = _table_block(some, compression)
        handles.append((some[-1][0], varint(len(file)) + varint(len(block) - 5)))
        file += block
    ends = b""
    for last in ([], handles[first_block:] + handles[:first_block]):
        block = _table_block(last)
        ends += varint(len(file)) + varint(len(block) - 5)
        file += block
    return file + ends.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")


@dataclass(frozen=True)
class MsgpackArray:
    """An array as Flax packs it."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes
    kind: int = 1

    def to_bytes(self) -> bytes:
        inner = b"\x93" + msgpack(list(self.shape)) + msgpack(self.dtype) + msgpack(self.data)
        return b"\xc9" + struct.pack(">LB", len(inner), self.kind) + inner


def msgpack(value: object) -> bytes:
    """Return `value` in msgpack, always with the longest form of its length."""
    match value:
        case MsgpackArray():
            return value.to_bytes()
        case None | bool():
            return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
        case int():
            return bytes([value]) if value < 128 else b"\xcf" + value.to_bytes(8, "big")
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            raw = value.encode()
            return (bytes([0xA0 + len(raw)]) if len(raw) < 32 else b"\xdb" + struct.pack(">L", len(raw))) + raw
        case bytes():
            return b"\xc6" + struct.pack(">L", len(value)) + value
        case list():
            return b"\xdd" + struct.pack(">L", len(value)) + b"".join(map(msgpack, value))
        case dict():
            items = b"".join(msgpack(key) + msgpack(inner) for key, inner in value.items())
            return b"\xdf" + struct.pack(">L", len(value)) + items
    raise TypeError(type(value))
