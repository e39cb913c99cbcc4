from __future__ import annotations

import pytest

from mlver.formats import Beside, ExternalTensor, Layout, Tensor, diagnose, onnx, parse
from tests.support.weight_files import (
    BytesSource,
    assert_promises,
    onnx_graph,
    onnx_model,
    onnx_node,
    onnx_outside,
    onnx_tensor,
    proto,
    varint,
)

F32, U8, INT32, INT64, STRING, BOOL, F64, C64, BF16, INT4, F4 = 1, 2, 6, 7, 8, 9, 11, 14, 16, 22, 23
FLOAT_DATA, INT64_DATA, STRING_DATA, DOUBLE_DATA = 4, 7, 6, 10
WEIGHT = onnx_tensor("w", F32, [2, 3], bytes(range(24)))
TENSOR, GRAPH = 5, 6
"""Fields of an attribute."""


def read(raw: bytes) -> Layout | None:
    layout = parse(BytesSource(raw))
    if layout is not None:
        assert_promises(layout, len(raw))
    return layout


def listed(*initializers: bytes, nodes: tuple[bytes, ...] = ()) -> list[tuple[str, str, tuple[int, ...]]]:
    layout = read(onnx_model(initializers, nodes))
    assert layout is not None
    return [(tensor.name, tensor.dtype, tensor.shape) for tensor in layout.tensors]


def is_complete(*initializers: bytes) -> bool:
    layout = read(onnx_model([WEIGHT, *initializers]))
    assert layout is not None
    assert [tensor.name for tensor in layout.tensors][:1] == ["w"]
    return layout.is_complete


def test_an_initializer_is_where_its_bytes_are() -> None:
    raw = onnx_model([WEIGHT])
    place = raw.index(bytes(range(24)))
    assert read(raw) == Layout("onnx", (Tensor("w", "F32", (2, 3), place, 24),))


def test_fields_may_come_in_any_order() -> None:
    tensor = proto(9, bytes(8)) + proto(8, "w") + proto(1, varint(1) + varint(2)) + proto(2, F32)
    node = proto(5, proto(TENSOR, tensor) + proto(1, "value")) + proto(2, "out")
    graph = proto(7, onnx_graph([tensor], [node]))
    layout = read(proto(1, 10) + graph + proto(2, "late"))
    assert layout is not None
    assert [(tensor.name, tensor.shape) for tensor in layout.tensors] == [("out.value", (1, 2)), ("w", (1, 2))]


@pytest.mark.parametrize(
    ("kind", "dtype", "field", "size"),
    [
        (F32, "F32", FLOAT_DATA, 8),
        (C64, "C64", FLOAT_DATA, 16),
        (F64, "F64", DOUBLE_DATA, 16),
        (BF16, "BF16", 9, 4),
        (BOOL, "BOOL", 9, 2),
        (INT4, "I4", 9, 1),
        (F4, "F4", 9, 1),
    ],
)
def test_types(kind: int, dtype: str, field: int, size: int) -> None:
    tensor = onnx_tensor("t", kind, [2], None, proto(field, bytes(size)))
    assert listed(tensor) == [("t", dtype, (2,))]


def test_tensors_of_nodes_are_named_by_what_comes_out() -> None:
    inner = onnx_graph([onnx_tensor("w", U8, [1], b"x")], [onnx_node("c", "value", proto(TENSOR, WEIGHT))])
    node = onnx_node("y", "then_branch", proto(GRAPH, inner))
    assert listed(WEIGHT, nodes=(node,)) == [
        ("y.then_branch.c.value", "F32", (2, 3)),
        ("y.then_branch.w", "U8", (1,)),
        ("w", "F32", (2, 3)),
    ]


def test_functions_and_training_have_tensors_too() -> None:
    node = onnx_node("c", "value", proto(TENSOR, WEIGHT))
    training = proto(20, proto(1, onnx_graph([onnx_tensor("m", U8, [1], b"x")])))
    layout = read(onnx_model() + training + proto(25, proto(1, "gelu") + proto(7, node)))
    assert layout is not None
    assert [tensor.name for tensor in layout.tensors] == ["m", "gelu.c.value"]


def test_one_number_need_not_be_packed() -> None:
    assert listed(onnx_tensor("t", F32, [1], None, b"\x25" + bytes(4))) == [("t", "F32", (1,))]


def test_names_that_come_twice_are_told_apart() -> None:
    assert [name for name, _, _ in listed(WEIGHT, WEIGHT, onnx_tensor("", U8, [1], b"x"))] == ["w", "w#2", ""]


def test_empty_tensors_need_no_bytes() -> None:
    assert listed(onnx_tensor("e", F32, [0, 7]), WEIGHT) == [("e", "F32", (0, 7)), ("w", "F32", (2, 3))]


@pytest.mark.parametrize(
    "tensor",
    [
        onnx_tensor("t", INT64, [2], None, proto(INT64_DATA, b"\x01\x02")),
        onnx_tensor("t", INT32, [2], None, proto(5, b"\x01\x02")),
        onnx_tensor("t", STRING, [1], None, proto(STRING_DATA, "text")),
        onnx_tensor("t", F32, [2], None, proto(FLOAT_DATA, bytes(4)), proto(FLOAT_DATA, bytes(4))),
        onnx_tensor("t", F32, [2], None, b"\x25" + bytes(4), b"\x25" + bytes(4)),
        onnx_tensor("t", F32, [2], None),
        onnx_tensor("t", F32, [2], bytes(8), proto(3, proto(1, 0))),
        onnx_tensor("t", 99, [2], bytes(8)),
        onnx_tensor("t", INT4, [3], bytes(2)),
    ],
)
def test_what_is_no_plain_array_is_left_out(tensor: bytes) -> None:
    assert is_complete()
    assert not is_complete(tensor)


def test_sparse_tensors_are_left_out() -> None:
    raw = proto(1, 10) + proto(7, onnx_graph([WEIGHT]) + proto(15, proto(1, WEIGHT)))
    layout = read(raw)
    assert layout is not None
    assert (len(layout.tensors), layout.is_complete) == (1, False)


def outside(location: str, **more: object) -> bytes:
    return onnx_model([onnx_tensor("e", F32, [4], None, onnx_outside(location, **more))])


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (outside("m.data"), ("m.data", 0)),
        (outside("./m.data", offset=4096, length=16, checksum="abc"), ("m.data", 4096)),
        (outside("deep/er/m.data", length=16), ("deep/er/m.data", 0)),
        (outside("m.data", offset=2**62), ("m.data", 2**62)),
    ],
)
def test_tensors_in_other_files(raw: bytes, place: tuple[str, int]) -> None:
    layout = read(raw)
    assert layout is not None
    assert layout.external == (ExternalTensor("e", "F32", (4,), *place, 16),)
    assert not layout.is_complete
    assert diagnose(BytesSource(raw), Beside(has_others=True))[0] == Layout("onnx", (), external=layout.external)


def test_long_places_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def model(same: bool) -> bytes:
        places = ["/".join(["p" * 200] * 15 + [str(0 if same else number)]) for number in range(10)]
        return onnx_model([onnx_tensor("e", F32, [4], None, onnx_outside(place)) for place in places])

    monkeypatch.setattr(onnx, "MAX_STEPS", 1000)
    assert read(model(same=True)) is not None
    assert read(model(same=False)) is None


@pytest.mark.parametrize(
    "raw",
    [
        outside(""),
        outside("/etc/passwd"),
        outside("../m.data"),
        outside("a/../../m.data"),
        outside("a\\..\\m.data"),
        outside("C:m.data"),
        outside("m\0.data"),
        outside("m.data", length=15),
        outside("m.data", offset=-1),
        outside("m.data", offset="0x10"),
        outside("m.data", offset="1" * 20),
        outside("m.data", offset="\uff11"),
        outside("m.data", **{str(number): number for number in range(16)}),
        outside("m.data") + proto(7, onnx_graph([onnx_tensor("e", F32, [4], None, onnx_outside("a") * 2)])),
    ],
)
def test_places_outside_that_are_none(raw: bytes) -> None:
    assert read(raw) is None


MODEL = proto(1, 10) + proto(2, "by hand")


@pytest.mark.parametrize(
    "raw",
    [
        MODEL + proto(4, "no graph"),
        MODEL + proto(7, 5),
        MODEL + proto(7, proto(5, 5)),
        MODEL + proto(7, proto(1, proto(2, 5))),
        MODEL + proto(7, b"\xff"),
        MODEL + proto(7, b"\x0b"),
        MODEL + proto(7, b"\x00\x00"),
        MODEL + b"\x3a\x05" + proto(5, WEIGHT),
        MODEL + b"\x3a" + b"\xff" * 9 + b"\x01",
        MODEL + b"\x3a" + b"\xff" * 11,
        onnx_model([WEIGHT])[:-1],
        onnx_model([WEIGHT]) + b"\x0d\0\0\0",
        onnx_model([onnx_tensor("t", F32, [2], bytes(7))]),
        onnx_model([onnx_tensor("t", F32, [2], bytes(12))]),
        onnx_model([onnx_tensor("t", F32, [2**63, 4], bytes(12))]),
        onnx_model([onnx_tensor("t", F32, [2**64 - 1], bytes(12))]),
        onnx_model([onnx_tensor("t", F32, [1] * 65, bytes(4))]),
        onnx_model([onnx_tensor("t", F32, [1], bytes(4)) + proto(1, b"\x80")]),
        onnx_model([onnx_tensor("t", F32, [1], None, proto(9, 5))]),
        onnx_model([onnx_tensor("n" * 5000, F32, [1], bytes(4))]),
        onnx_model([onnx_tensor("t", F32, [1], bytes(4)).replace(b"t", b"\xff")]),
    ],
)
def test_what_breaks_a_rule_is_plain_bytes(raw: bytes) -> None:
    layout, problem = diagnose(BytesSource(raw))
    assert layout is None
    assert problem is not None


@pytest.mark.parametrize(
    "raw", [b"\x08", b"\x08\x0a", b"\x08\x00:\x00", b"\x08\x20:\x00", b"\x08\x0a\x01", b"\x0a\x03xyz"]
)
def test_other_beginnings_are_not_tried(raw: bytes) -> None:
    assert diagnose(BytesSource(raw)) == (None, None)


def test_depth_and_work_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = onnx_graph([WEIGHT])
    for _ in range(32):
        graph = onnx_graph([], [onnx_node("n", "g", proto(GRAPH, graph))])
    assert read(MODEL + proto(7, graph)) is not None
    for _ in range(2):
        graph = onnx_graph([], [onnx_node("n", "g", proto(GRAPH, graph))])
    assert read(MODEL + proto(7, graph)) is None
    wide = onnx_model([WEIGHT] * 100)
    assert read(wide) is not None
    monkeypatch.setattr(onnx, "MAX_STEPS", 500)
    assert read(wide) is None


def test_only_what_lies_between_the_weights_is_read() -> None:
    class Watched(BytesSource):
        total = 0

        def read(self, offset: int, length: int) -> bytes:
            Watched.total += length
            return super().read(offset, length)

    size = 1 << 20
    assert parse(Watched(onnx_model([onnx_tensor(str(n), U8, [size], bytes(size)) for n in range(4)]))) is not None
    assert Watched.total < size // 4
