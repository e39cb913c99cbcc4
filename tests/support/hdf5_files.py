"""HDF5 files made by hand, of the old kind that h5py and Keras write unless they are asked for another."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.support.weight_files import padded

UNDEFINED = (1 << 64) - 1
F32 = struct.pack("<BBBBLHHBBBBL", 0x11, 0x20, 0x1F, 0, 4, 0, 32, 23, 8, 0, 23, 127)
F32_BIG_ENDIAN = F32[:1] + b"\x21" + F32[2:]
BF16 = struct.pack("<BBBBLHHBBBBL", 0x11, 0x20, 0x0F, 0, 2, 0, 16, 7, 8, 0, 7, 127)
I64 = struct.pack("<BBBBLHH", 0x10, 8, 0, 0, 8, 0, 64)
U8 = struct.pack("<BBBBLHH", 0x10, 0, 0, 0, 1, 0, 8)
OPAQUE_2 = struct.pack("<BBBBL8s", 0x15, 8, 0, 0, 2, b"")
TEXT = struct.pack("<BBBBL", 0x13, 0, 0, 0, 8)
BOOL = struct.pack("<BBBBL", 0x18, 2, 0, 0, 1) + struct.pack("<BBBBLHH", 0x10, 8, 0, 0, 1, 0, 8)
BOOL += b"FALSE\0\0\0TRUE\0\0\0\0\0\1"

DATASPACE, DATATYPE, DATA_LAYOUT, FILTERS, ATTRIBUTE, SYMBOL_TABLE = 1, 3, 8, 11, 12, 17
Message = tuple[int, bytes]


def dataspace(*shape: int) -> Message:
    return DATASPACE, struct.pack(f"<BBBB4x{len(shape)}Q", 1, len(shape), 0, 0, *shape)


def contiguous(address: int, size_bytes: int) -> Message:
    return DATA_LAYOUT, struct.pack("<BBQQ", 3, 1, address, size_bytes)


def compact(data: bytes) -> Message:
    return DATA_LAYOUT, struct.pack("<BBH", 3, 0, len(data)) + data


def chunked(*shape: int) -> Message:
    return DATA_LAYOUT, struct.pack(f"<BBBQ{len(shape)}L", 3, 2, len(shape), UNDEFINED, *shape)


@dataclass
class Hdf5File:
    """A file that grows by pieces; each is put somewhere, and others refer to it by its address."""

    content: bytearray = field(default_factory=lambda: bytearray(96))

    def put(self, data: bytes) -> int:
        self.content += bytes(-len(self.content) % 8)
        address = len(self.content)
        self.content += data
        return address

    def object(self, *messages: Message, flags: int = 0) -> int:
        packed = b""
        for kind, raw in messages:
            size = -(-len(raw) // 8) * 8
            packed += struct.pack("<HHB3x", kind, size, flags) + raw.ljust(size, b"\0")
        return self.put(struct.pack("<BxHLL4x", 1, len(messages), 1, len(packed)) + packed)

    def dataset(self, datatype: bytes, shape: tuple[int, ...], data: bytes, *more: Message) -> int:
        place = contiguous(self.put(data) if data else UNDEFINED, len(data))
        return self.object(dataspace(*shape), (DATATYPE, datatype), place, *more)

    def names(self, names: list[str]) -> tuple[int, list[int]]:
        """Put a local heap; return its address, and the offsets of the names in it."""
        segment, offsets = bytes(8), []
        for name in names:
            offsets.append(len(segment))
            segment += name.encode() + b"\0"
        segment = padded(segment, 8)
        return self.put(b"HEAP" + struct.pack("<4xQQQ", len(segment), 1, self.put(segment))), offsets

    def group(self, links: Mapping[str, int], per_table: int = 8) -> int:
        heap, offsets = self.names(sorted(links))
        entries = [
            struct.pack("<QQLL16x", offset, links[name], 0, 0)
            for offset, name in zip(offsets, sorted(links), strict=True)
        ]
        tables = []
        for start in range(0, len(entries), per_table):
            few = entries[start : start + per_table]
            table = self.put(b"SNOD" + struct.pack("<BxH", 1, len(few)) + b"".join(few).ljust(320, b"\0"))
            tables.append((table, offsets[start + len(few) - 1]))
        return self.object((SYMBOL_TABLE, struct.pack("<QQ", self.tree(tables), heap)))

    def tree(self, children: list[tuple[int, int]], level: int = 0) -> int:
        """Put a node of a tree; each child comes with the offset of the last name below it."""
        head = b"TREE" + struct.pack("<BBHQQQ", 0, level, len(children), UNDEFINED, UNDEFINED, 0)
        # libhdf5 reads a node with room for as many children as the superblock allows.
        return self.put((head + b"".join(struct.pack("<QQ", *child) for child in children)).ljust(544, b"\0"))

    def text_attribute(self, name: str, text: str) -> Message:
        """Return an attribute with a text of any length, which is put into a global heap."""
        raw = text.encode()
        objects = struct.pack("<HH4xQ", 1, 1, len(raw)) + padded(raw, 8)
        objects += struct.pack("<HH4xQ", 0, 0, 4080 - len(objects))  # what is free
        heap = self.put((b"GCOL" + struct.pack("<B3xQ", 1, 4096) + objects).ljust(4096, b"\0"))
        kind = struct.pack("<BBBBL", 0x19, 1, 0, 0, 16) + TEXT[:4] + b"\1\0\0\0"
        space = struct.pack("<BBBB4x", 1, 0, 0, 0)
        parts = [part + bytes(-len(part) % 8) for part in (name.encode() + b"\0", kind, space)]
        sizes = struct.pack("<BxHHH", 1, len(name) + 1, len(kind), len(space))
        return ATTRIBUTE, sizes + b"".join(parts) + struct.pack("<LQL", len(raw), heap, 1)

    def to_bytes(self, root: int) -> bytes:
        self.content[:96] = (
            b"\x89HDF\r\n\x1a\n"
            + struct.pack("<8BHHL", 0, 0, 0, 0, 0, 8, 8, 0, 4, 16, 0)
            + struct.pack("<QQQQ", 0, UNDEFINED, len(self.content), UNDEFINED)
            + struct.pack("<QQLL16x", 0, root, 0, 0)
        )
        return bytes(self.content)


def hdf5_file() -> bytes:
    """Return a file with groups in groups, an alias, and every type that is read."""
    file = Hdf5File()
    kernel = file.dataset(F32, (2, 3), bytes(range(24)))
    deep = file.group({"0": kernel, "1": file.dataset(BF16, (3,), bytes(6))})
    typed = {
        "bool": file.dataset(BOOL, (2,), b"\0\1"),
        "bytes": file.dataset(U8, (), b"x"),
        "compact": file.object(dataspace(2), (DATATYPE, I64), compact(bytes(16))),
        "empty": file.dataset(I64, (0, 3), b""),
        "keras": file.dataset(OPAQUE_2, (4,), bytes(8), file.text_attribute("dtype", "bfloat16")),
    }
    many = file.group({f"w{n:02}": file.dataset(I64, (1,), n.to_bytes(8, "little")) for n in range(20)})
    return file.to_bytes(file.group({"alias": kernel, "layers": file.group({"dense": deep}), "many": many, **typed}))
