"""HDF5 files made by hand: what the library never writes, and what nobody should."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from mlver.formats import Layout, diagnose, hdf5, parse
from tests.support.hdf5_files import (
    BF16,
    BOOL,
    DATA_LAYOUT,
    DATATYPE,
    F32,
    F32_BIG_ENDIAN,
    FILTERS,
    I64,
    OPAQUE_2,
    SYMBOL_TABLE,
    TEXT,
    U8,
    UNDEFINED,
    Hdf5File,
    Message,
    chunked,
    contiguous,
    dataspace,
    hdf5_file,
)
from tests.support.weight_files import BytesSource, assert_promises, stored_zip


def read(raw: bytes) -> Layout | None:
    layout = parse(BytesSource(raw))
    if layout is not None:
        assert_promises(layout, len(raw))
    return layout


def with_object(*messages: Message, flags: int = 0) -> Layout | None:
    """Read a file with this object and a plain dataset."""
    file = Hdf5File()
    odd = file.object(*messages, flags=flags)
    return read(file.to_bytes(file.group({"odd": odd, "w": file.dataset(F32, (2,), bytes(8))})))


def test_every_type_is_found_under_its_path() -> None:
    layout = read(hdf5_file())
    assert layout is not None
    types = {array.name: (array.dtype, array.shape) for array in layout.arrays if not array.name.startswith("many")}
    assert types == {
        "alias": ("F32", (2, 3)),
        "layers/dense/0": ("F32", (2, 3)),
        "layers/dense/1": ("BF16", (3,)),
        "bool": ("BOOL", (2,)),
        "bytes": ("U8", ()),
        "compact": ("I64", (2,)),
        "empty": ("I64", (0, 3)),
        "keras": ("BF16", (4,)),
    }
    assert [view.name for view in layout.views] == ["layers/dense/0"]
    assert (layout.format, layout.is_complete, len(layout.arrays)) == ("hdf5", True, 28)


def test_a_keras_file_is_the_weights_in_it() -> None:
    raw = stored_zip({"config.json": b"{}", "model.weights.h5": hdf5_file()})
    inner, outer = read(hdf5_file()), read(raw)
    assert inner is not None
    assert outer is not None
    shift = raw.index(b"\x89HDF")
    assert outer.format == "keras"
    assert [(t.name, t.offset) for t in outer.tensors] == [(t.name, t.offset + shift) for t in inner.tensors]


def test_compressed_weights_of_keras_are_plain_bytes() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", hdf5_file())
    assert read(buffer.getvalue()) is None


def test_an_address_of_keras_weights_ends_with_them() -> None:
    file = Hdf5File()
    root = file.group({"w": file.object(dataspace(2), (DATATYPE, F32), contiguous(96, 8))})
    weights = file.to_bytes(root)
    beyond = weights.replace(struct.pack("<QQ", 96, 8), struct.pack("<QQ", len(weights), 8))
    assert beyond != weights
    assert read(stored_zip({"model.weights.h5": weights, "rest": bytes(100)})) is not None
    assert read(stored_zip({"model.weights.h5": beyond, "rest": bytes(100)})) is None


@pytest.mark.parametrize(
    "messages",
    [
        (dataspace(2), (DATATYPE, F32_BIG_ENDIAN), contiguous(96, 8)),
        (dataspace(1), (DATATYPE, TEXT), contiguous(96, 8)),
        (dataspace(1), (DATATYPE, OPAQUE_2), contiguous(96, 2)),
        (dataspace(1), (DATATYPE, BOOL.replace(b"TRUE", b"MAYB").replace(b"FALSE", b"NEVER")), contiguous(96, 1)),
        (dataspace(1), (DATATYPE, I64[:8] + struct.pack("<HH", 0, 60)), contiguous(96, 8)),
        (dataspace(1), (DATATYPE, F32[:16] + b"\x80\0\0\0"), contiguous(96, 4)),
        (dataspace(2), (DATATYPE, F32), contiguous(UNDEFINED, 8)),
        (dataspace(2), (DATATYPE, F32), contiguous(96, 8), (FILTERS, bytes(8))),
        (dataspace(2), (DATATYPE, F32), chunked(2, 4)),
        (dataspace(2), (DATATYPE, F32), (DATA_LAYOUT, struct.pack("<BB6xQ", 1, 1, 96))),
    ],
)
def test_what_is_no_plain_array_is_left_out(messages: tuple[Message, ...]) -> None:
    layout = with_object(*messages)
    assert layout is not None
    assert ([tensor.name for tensor in layout.tensors], layout.is_complete) == (["w"], False)


def test_shared_messages_are_not_followed() -> None:
    layout = with_object(dataspace(2), (DATATYPE, F32), contiguous(96, 8), flags=2)
    assert layout is not None
    assert not layout.is_complete


def test_a_file_of_nothing_that_can_be_read_is_not_complete() -> None:
    file = Hdf5File()
    root = file.group({"odd": file.object(dataspace(2), (DATATYPE, F32), chunked(2, 4))})
    assert read(file.to_bytes(root)) == Layout("hdf5", (), is_complete=False)


@pytest.mark.parametrize(
    "messages",
    [
        (dataspace(2), (DATATYPE, F32), contiguous(96, 12)),
        (dataspace(2), (DATATYPE, F32), contiguous(1 << 40, 8)),
        (dataspace(2), (DATATYPE, F32), contiguous(UNDEFINED - 7, 8)),
        (dataspace(2**62, 2**62), (DATATYPE, F32), contiguous(96, 8)),
        (dataspace(*[1] * 65), (DATATYPE, F32), contiguous(96, 4)),
        (dataspace(2), contiguous(96, 8)),
        ((DATATYPE, F32), contiguous(96, 8)),
        (dataspace(2), (DATATYPE, F32), (DATA_LAYOUT, b"\3")),
        ((SYMBOL_TABLE, struct.pack("<QQ", 96, 96)),),
        ((SYMBOL_TABLE, struct.pack("<QQ", UNDEFINED, UNDEFINED)),),
        ((16, struct.pack("<QQ", 1 << 40, 64)),),
        ((2, b"\1" + bytes(17)),),
        ((6, b"\2" + bytes(17)),),
        ((6, b"\1\0\x05name" + struct.pack("<Q", 96)),),
        ((6, b"\1\0\x04nam\xff" + struct.pack("<Q", 96)),),
    ],
)
def test_what_breaks_a_rule_is_plain_bytes(messages: tuple[Message, ...]) -> None:
    assert with_object(*messages) is None


def test_objects_that_continue_for_ever_are_given_up() -> None:
    file = Hdf5File()
    here = len(file.content)
    file.object((16, struct.pack("<QQ", here + 16, 24)))
    assert read(file.to_bytes(here)) is None


def test_a_group_within_itself_is_entered_once() -> None:
    file = Hdf5File()
    placeholder = 0x1122334455667788
    root = file.group({"loop": placeholder, "w": file.dataset(F32, (1,), bytes(4))})
    raw = file.to_bytes(root).replace(struct.pack("<Q", placeholder), struct.pack("<Q", root))
    layout = read(raw)
    assert layout is not None
    assert [tensor.name for tensor in layout.tensors] == ["w"]


def test_nodes_that_contain_themselves_are_given_up() -> None:
    file = Hdf5File()
    heap, _ = file.names(["x"])
    for levels in ([1, 1], [200, 199, 198]):
        nodes: list[int] = []
        for level in reversed(levels):
            nodes.append(file.tree([(nodes[-1] if nodes else len(file.content), 8)] * 2, level))
        root = file.object((SYMBOL_TABLE, struct.pack("<QQ", nodes[-1], heap)))
        assert read(file.to_bytes(root)) is None


def test_trees_that_share_their_nodes_cost_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "MAX_STEPS", 10_000)
    file = Hdf5File()
    heap, _ = file.names(["x"])
    node = file.tree([])
    for level in range(1, 20):
        node = file.tree([(node, 8)] * 30, level)
    layout, problem = diagnose(BytesSource(file.to_bytes(file.object((SYMBOL_TABLE, struct.pack("<QQ", node, heap))))))
    assert (layout, problem) == (None, "the file has too many parts")


def test_long_names_in_shared_tables_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "MAX_STEPS", 50_000)
    file = Hdf5File()
    heap, (name,) = file.names(["n" * 4000])
    entries = struct.pack("<QQLL16x", name, 96, 0, 0) * 8
    node = file.tree([(file.put(b"SNOD" + struct.pack("<BxH", 1, 8) + entries), 8)] * 30)
    raw = file.to_bytes(file.object((SYMBOL_TABLE, struct.pack("<QQ", file.tree([(node, 8)] * 30, 1), heap))))
    # 7200 names of 4000 characters, in steps of few characters each: the table alone takes less than the limit.
    assert diagnose(BytesSource(raw)) == (None, "the file has too many parts")


@pytest.mark.parametrize(("at", "value"), [(8, 9), (13, 4), (14, 4), (24, 8), (64, 200)])
def test_other_superblocks_are_plain_bytes(at: int, value: int) -> None:
    raw = bytearray(hdf5_file())
    raw[at] = value
    assert read(bytes(raw)) is None


def test_datasets_that_overlap_lie_in_anonymous_bytes() -> None:
    file = Hdf5File()
    data = file.put(bytes(16))
    one, two = (file.object(dataspace(8), (DATATYPE, U8), contiguous(data + start, 8)) for start in (0, 4))
    layout = read(file.to_bytes(file.group({"one": one, "two": two})))
    assert layout is not None
    assert [tensor.anonymous for tensor in layout.tensors] == [True]
    assert [view.name for view in layout.views] == ["one", "two"]


def test_every_truncation_is_plain_bytes_or_has_fewer_tensors() -> None:
    file = Hdf5File()
    raw = file.to_bytes(file.group({"w": file.dataset(BF16, (3,), bytes(6))}))
    needed = len(raw) - 8  # the last message is padded
    assert read(raw[: needed + 8]) is not None
    assert not any(read(raw[:size]) for size in range(1, needed, 3))
