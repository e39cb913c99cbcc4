"""Whatever the bytes: a layout whose promises hold, or None. However the windows fall: the same cuts."""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
from collections.abc import Sequence

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlver.formats import (
    Beside,
    ExternalSave,
    ExternalTensor,
    Layout,
    Tensor,
    cut_bytes,
    cut_tensor,
    diagnose,
    parse,
    plan,
)
from mlver.formats.cut import MAX_CHUNK_BYTES
from mlver.formats.layout import MAX_NAME_CHARACTERS
from tests.support.hdf5_files import hdf5_file
from tests.support.weight_files import (
    BytesSource,
    GgufFile,
    Instance,
    MsgpackArray,
    Name,
    Storage,
    TorchFile,
    assert_promises,
    dcp_entry,
    dcp_metadata,
    entry,
    gguf_text,
    onnx_model,
    onnx_node,
    onnx_outside,
    onnx_tensor,
    proto,
    safetensors_file,
    stored_zip,
    tensorflow_entry,
    tensorflow_header,
    tensorflow_index,
)
from tests.support.weight_files import Tensor as TorchTensor
from tests.support.weight_files import msgpack as packed
from tests.unit.formats.make_saved import FOLDER as SAVED

MIB = 1 << 20
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.one_of(st.integers(0, 20), st.sampled_from([2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]))


def parsed(raw: bytes) -> Layout | None:
    """Return what is found in `raw`, after reading it also as what was saved into another file."""
    whole = Beside((ExternalSave("s", "f", 0, len(raw)),))
    layout, _ = diagnose(BytesSource(raw), whole)
    assert layout is not None
    assert_promises(layout, len(raw))
    layout = parse(BytesSource(raw))
    if layout is not None:
        assert_promises(layout, len(raw))
    return layout


FORMATS = [
    *("safetensors", "torch", "torch", "dcp", "npy", "npz"),
    *("gguf", "onnx", "msgpack", "hdf5", "keras", "hdf5", "tensorflow"),
]


@functools.cache
def valid_files() -> Sequence[bytes]:
    safetensors = safetensors_file({"a": entry("F32", [2], 0, 8), "b": entry("BF16", [2, 2], 8, 16)}, bytes(16))
    storage = Storage("0", bytes(48))
    tensors = {"w": TorchTensor(storage, (3, 4), (4, 1)), "v": TorchTensor(storage, (3,), (2,), 1)}
    torch = TorchFile({"model": tensors, "x": Instance(Name("os", "system"), ("true",), tensors)}, [storage])
    npy, npz = io.BytesIO(), io.BytesIO()
    np.save(npy, np.arange(6.0).reshape(2, 3))
    np.savez(npz, a=np.arange(3), b=np.zeros((2, 2), dtype="<f4", order="F"))
    dcp = dcp_metadata([dcp_entry("w", "f", 0, 9, at=(0, 0)), dcp_entry("w", "f", 9, 9, at=(0, 4))])
    return safetensors, torch.to_bytes(), torch.to_legacy_bytes(), dcp, npy.getvalue(), npz.getvalue(), *newer_files()


def newer_files() -> Sequence[bytes]:
    texts = ("tokens", 9, b"\x08\0\0\0" + (2).to_bytes(8, "little") + gguf_text("a") + gguf_text("b"))
    alignment = ("general.alignment", 4, (64).to_bytes(4, "little"))
    gguf = GgufFile({"w": ("F32", (2, 2), bytes(16)), "q": ("Q8_0", (2, 32), bytes(68))}, [texts, alignment], 3, 64)
    weight = onnx_tensor("w", 1, [2, 3], bytes(24))
    inner = onnx_node("c", "value", proto(5, onnx_tensor("", 7, [1], bytes(8))))
    nodes = [onnx_node("y", "then_branch", proto(6, proto(1, inner) + proto(5, weight)))]
    onnx = onnx_model([weight, onnx_tensor("e", 1, [2], None, onnx_outside("m.data", offset=8, length=8))], nodes)
    array = MsgpackArray("float32", (2, 3), bytes(24))
    msgpack = packed({"params": {"w": array, "l": [1, 2.5, array]}, "step": MsgpackArray("int32", (), bytes(4), 3)})
    keras = stored_zip({"config.json": b"{}", "model.weights.h5": hdf5_file()})
    tensorflow = tensorflow_index(
        {b"": tensorflow_header(), b"w": tensorflow_entry(1, [2, 3], 0, 24), b"w/m": tensorflow_entry(14, [4], 24, 8)}
    )
    return gguf.to_bytes(), onnx, msgpack, hdf5_file(), keras, (SAVED / "latest.h5").read_bytes(), tensorflow


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """Draw a valid file with some stretches overwritten, cut out or put in twice."""
    raw = bytearray(draw(st.sampled_from(valid_files())))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        width = draw(st.sampled_from([1, 1, 2, 4, 8, 30]))
        match draw(st.sampled_from(["bytes", "number", "cut", "repeat", "truncate"])):
            case "bytes":
                raw[at : at + width] = draw(st.binary(min_size=width, max_size=width))
            case "number":
                raw[at : at + 4] = draw(NUMBERS).to_bytes(8, "little")[:4]
            case "cut":
                del raw[at : at + width]
            case "repeat":
                raw[at:at] = raw[at : at + width]
            case "truncate":
                del raw[at:]
    return bytes(raw)


def test_the_files_that_are_damaged_are_valid() -> None:
    assert [layout.format for raw in valid_files() if (layout := parsed(raw))] == FORMATS


@settings(max_examples=1500)
@given(damaged_files())
def test_damaged_files(raw: bytes) -> None:
    parsed(raw)


LEGACY_TORCH = TorchFile().to_legacy_bytes(objects=b"", keys=b"")
HEADS = [
    b"",
    b"PK\x03\x04",
    LEGACY_TORCH,
    b"\x93NUMPY\x01\x00",
    b"\x20" + bytes(7) + b"{",
    b"GGUF\x03\0\0\0",
    b"\x81\xa1w",
    b"\x08\x0a:",
    b"\x89HDF\r\n\x1a\n\x02\x08\x08\0" + bytes(24) + (48).to_bytes(8, "little") + b"\0\0\0\0OHDR\x02\0",
]


@settings(max_examples=300)
@given(
    st.sampled_from(HEADS),
    st.binary(max_size=300),
    st.sampled_from([b"", b"PK\x05\x06" + bytes(18)]),
)
def test_random_bytes(head: bytes, body: bytes, tail: bytes) -> None:
    parsed(head + body + tail)


JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | NAMES | st.sampled_from(["F32", "F4", "U8"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.just("shape"), inner, max_size=3),
    max_leaves=8,
)
ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "U8", "F4", "F6_E2M3", "NEW", ""]),
        "shape": st.lists(NUMBERS, max_size=3),
        "data_offsets": st.lists(NUMBERS, min_size=2, max_size=2),
    }
)


@settings(max_examples=300)
@given(st.dictionaries(NAMES | st.just("__metadata__"), ENTRIES | JSON, max_size=4), st.binary(max_size=40))
def test_random_safetensors_headers(header: dict[str, object], data: bytes) -> None:
    parsed(safetensors_file(header, data))


PROTOBUF = st.recursive(
    st.tuples(st.integers(1, 30), NUMBERS | st.binary(max_size=12) | st.just(b"w")).map(lambda pair: proto(*pair)),
    lambda inner: st.tuples(st.sampled_from([1, 5, 6, 7, 10, 13, 15, 20, 25]), st.lists(inner, max_size=4)).map(
        lambda pair: proto(pair[0], b"".join(pair[1]))
    ),
    max_leaves=12,
)
KINDS = st.sampled_from([0, 1, 2, 7, 8, 9, 16, 22, 23, 99])
INITIALIZERS = st.builds(
    onnx_tensor, NAMES, KINDS, st.lists(NUMBERS, max_size=3), st.none() | st.binary(max_size=24), PROTOBUF
)


@settings(max_examples=400)
@given(st.lists(INITIALIZERS, max_size=3), st.lists(PROTOBUF, max_size=4))
def test_random_onnx_models(initializers: list[bytes], nodes: list[bytes]) -> None:
    parsed(onnx_model(initializers, nodes))


ARRAYS = st.builds(
    MsgpackArray, st.sampled_from(["float32", "int8", "odd"]), st.lists(NUMBERS, max_size=3), st.binary(max_size=24)
)
PACKED = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | NAMES | st.binary(max_size=9) | ARRAYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.integers(0, 9), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(st.dictionaries(NAMES, PACKED, max_size=4))
def test_random_msgpack(value: dict[str, object]) -> None:
    parsed(packed(value))


GGUF_TENSORS = st.tuples(
    st.sampled_from(["F32", "I8", "Q4_0", "Q4_K"]) | st.integers(0, 45),
    st.lists(NUMBERS | st.sampled_from([32, 256]), max_size=4).map(tuple),
    st.binary(max_size=300),
)


@settings(max_examples=300)
@given(
    st.dictionaries(NAMES, GGUF_TENSORS, max_size=4),
    st.lists(st.tuples(NAMES | st.just("general.alignment"), st.integers(0, 13), st.binary(max_size=20)), max_size=3),
    st.sampled_from([1, 8, 32, 64]),
)
def test_random_gguf_headers(
    tensors: dict[str, tuple[str | int, tuple[int, ...], bytes]], pairs: list[tuple[str, int, bytes]], alignment: int
) -> None:
    parsed(GgufFile(tensors, pairs, alignment=alignment).to_bytes())


PLACED = st.builds(
    lambda name, size, offset: ExternalTensor(name, "U8", (size,), "m.data", offset, size),
    NAMES,
    st.integers(0, 12),
    st.integers(0, 20) | NUMBERS,
)


@given(st.lists(PLACED, min_size=1, max_size=8), st.integers(0, 30))
def test_any_tensors_placed_in_a_file(tensors: list[ExternalTensor], size_bytes: int) -> None:
    layout, problem = diagnose(BytesSource(bytes(size_bytes)), Beside(tuple(tensors)))
    assert layout is not None
    assert_promises(layout, size_bytes)
    fits = all(tensor.offset + tensor.size_bytes <= size_bytes for tensor in tensors)
    assert (layout.is_complete, problem is None) == (fits, fits)


OPCODES = st.one_of(
    st.sampled_from(
        [bytes([code]) for code in b"()0122]}NeabtdsulRQo.\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94"]
    ),
    st.sampled_from([bytes([code]) for code in range(256)]),
    st.integers(0, 6).map(lambda index: b"q%c" % index),
    st.integers(0, 6).map(lambda index: b"h%c" % index),
    NUMBERS.map(lambda number: pickle.dumps(number, 2)[2:-1]),
    st.sampled_from(["storage", "0", "cpu", "weight", "os"]).map(lambda text: pickle.dumps(text, 4)[11:-2]),
    st.sampled_from(
        [
            b"ctorch\nFloatStorage\n",
            b"ctorch.storage\nUntypedStorage\n",
            b"ctorch._utils\n_rebuild_tensor_v2\n",
            b"ctorch._utils\n_rebuild_tensor_v3\n",
            b"ctorch._utils\n_rebuild_parameter\n",
            b"ctorch._tensor\n_rebuild_from_type_v2\n",
            b"ctorch\nfloat8_e5m2\n",
            b"cos\nsystem\n",
            # A storage, and a tensor in it, so that what comes after them has something to work with.
            b"(\x8c\x07storagectorch\nFloatStorage\n\x8c\x010\x8c\x03cpuK\x04tQ",
            (
                b"ctorch._utils\n_rebuild_tensor_v2\n((\x8c\x07storagectorch\nFloatStorage\n\x8c\x010\x8c\x03cpuK\x04tQ"
                b"K\x00K\x02K\x02\x86K\x02K\x01\x86\x89}tR"
            ),
        ]
    ),
)


@settings(max_examples=600)
@given(st.lists(OPCODES, max_size=40))
@example([b"}", b"q\x00", b"h\x00", b"b"])
def test_random_pickles(opcodes: list[bytes]) -> None:
    parsed(TorchFile(pickle_bytes=b"".join(opcodes) + b".", storages=[Storage("0", bytes(16))]).to_bytes())


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.lists(st.integers(0, 3), max_size=3), st.lists(st.integers(0, 5), max_size=3)),
        max_size=6,
    )
)
def test_any_views_of_one_storage(described: list[tuple[int, list[int], list[int]]]) -> None:
    storage = Storage("0", bytes(4 * 64))
    tensors = [
        TorchTensor(storage, tuple(shape[: len(strides)]), tuple(strides[: len(shape)]), start)
        for start, shape, strides in described
    ]
    layout = parsed(TorchFile(tensors, [storage]).to_bytes())
    assert layout is not None
    named = {array.name: array.shape for array in layout.arrays if not getattr(array, "anonymous", False)}
    assert named == {str(index): tensor.shape for index, tensor in enumerate(tensors)}


@given(st.dictionaries(NAMES, st.lists(st.integers(0, 4), max_size=3), max_size=8))
def test_every_tensor_of_a_safetensors_file_is_found(shapes: dict[str, list[int]]) -> None:
    header, at = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * 2
        header[name] = entry("BF16", shape, at, at + size)
        at += size
    header.pop("__metadata__", None)
    layout = parsed(safetensors_file(header, bytes(at)))
    assert layout is not None
    assert {tensor.name: list(tensor.shape) for tensor in layout.tensors} == {name: shapes[name] for name in header}
    assert all(len(name) <= MAX_NAME_CHARACTERS for name in shapes)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 3 * MIB)), max_size=6), st.integers(0, 100))
def test_a_plan_and_its_cuts_are_the_whole_file(parts: list[tuple[int, int]], rest: int) -> None:
    tensors: list[Tensor] = []
    at = 0
    for gap, size_bytes in parts:
        tensors.append(Tensor(str(len(tensors)), "U8", (size_bytes,), at + gap, size_bytes))
        at += gap + size_bytes
    end = 0
    for region in plan(Layout("npz", tuple(tensors)), at + rest):
        assert region.offset == end
        assert region.size_bytes > 0
        end += region.size_bytes
        if region.tensor is not None:
            spans = list(cut_tensor(tensors[region.tensor], region.tensor))
            assert sum(span.size_bytes for span in spans) == region.size_bytes
            assert [span.offset - region.offset for span in spans] == list(range(0, region.size_bytes, MIB))
    assert end == at + rest


@functools.cache
def some_bytes() -> bytes:
    noise = hashlib.shake_128(b"windows").digest(5 * MIB)
    return noise[: 2 * MIB] + bytes(3 * MIB + 17) + noise[2 * MIB :]


@settings(max_examples=60)
@given(st.integers(0, 9 * MIB), st.lists(st.integers(MAX_CHUNK_BYTES + 1, 9 * MIB), min_size=1, max_size=4))
@example(8 * MIB, [MAX_CHUNK_BYTES + 1])
def test_cuts_do_not_depend_on_the_windows(size_bytes: int, windows: list[int]) -> None:
    data = some_bytes()[:size_bytes]
    sizes: list[int] = []
    at = turn = 0
    while at < len(data):
        until = at + windows[turn % len(windows)]
        cuts = cut_bytes(data[at:until], final=until >= len(data))
        assert cuts
        sizes += cuts
        at += sum(cuts)
        turn += 1
    assert sizes == cut_bytes(data, final=True)
