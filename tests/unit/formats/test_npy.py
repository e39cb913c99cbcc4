from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from mlver.formats import Layout, Tensor, parse
from tests.support.weight_files import BytesSource, assert_promises, stored_zip


def npy(array: Any, version: tuple[int, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array), version=version)
    return buffer.getvalue()


def with_header(text: str, data: bytes = bytes(64)) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin-1") + data


def npz(arrays: dict[str, Any], compressed: bool = False) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def read(raw: bytes) -> Layout | None:
    layout = parse(BytesSource(raw))
    if layout is not None:
        assert_promises(layout, len(raw))
    return layout


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_an_array_is_found_behind_every_version_of_the_header(version: tuple[int, int]) -> None:
    raw = npy(np.arange(6, dtype="<f4").reshape(2, 3), version)
    assert read(raw) == Layout("npy", (Tensor("arr_0", "F32", (2, 3), len(raw) - 24, 24),))


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("?", "BOOL"),
        *[("u1", "U8"), ("i1", "I8"), ("<u2", "U16"), ("<i2", "I16"), ("<u4", "U32"), ("<i4", "I32")],
        *[
            ("<u8", "U64"),
            ("<i8", "I64"),
            ("<f2", "F16"),
            ("<f4", "F32"),
            ("<f8", "F64"),
            ("<c8", "C64"),
            ("<c16", "C128"),
        ],
    ],
)
def test_every_type_has_its_safetensors_name(kind: str, dtype: str) -> None:
    layout = read(npy(np.zeros(3, kind)))
    assert layout is not None
    assert layout.tensors[0].dtype == dtype


def test_fortran_order_is_told_where_it_makes_a_difference() -> None:
    orders = []
    for shape in [(2, 3), (1, 3), (3, 1), (0, 3), (2, 1, 3)]:
        layout = read(npy(np.asfortranarray(np.zeros(shape))))
        assert layout is not None
        orders.append(layout.tensors[0].order)
    assert orders == ["F", "C", "C", "C", "F"]


def test_a_scalar_and_an_empty_array() -> None:
    for array in (np.float64(1.5), np.zeros((3, 0))):
        layout = read(npy(array))
        assert layout is not None
        assert layout.tensors[0].shape == array.shape


@pytest.mark.parametrize(
    "array",
    [
        np.array([{"a": 1}], dtype=object),
        np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")]),
        np.zeros(2, ">f4"),
        np.zeros(2, "<U3"),
        np.zeros(2, "S3"),
        np.zeros(2, "<M8[s]"),
        np.zeros(2, "V4"),
    ],
)
def test_what_is_no_plain_array_is_plain_bytes(array: Any) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    assert read(buffer.getvalue()) is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{}",
        "1",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (17,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4.0,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-4,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 99999999999999999999)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1, " * 65 + ")}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",)}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (4,)}",
        "{'descr': '<f4', 'shape': (4,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'more': 1}",
        "{'descr': '<f3', 'fortran_order': False, 'shape': (4,)}",
        "{'descr': '|f4', 'fortran_order': False, 'shape': (4,)}",
        "{'descr': '=f4', 'fortran_order': False, 'shape': (4,)}",
        "{'descr': '', 'fortran_order': False, 'shape': (4,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': __import__('os').getpid()}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4,)",
        "{'a' 'b' (}",
        "{{}: 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': ((4),)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4,)}" + " " * 10_000,
        "(" * 9000,
        "-" * 9000 + "1",
        "not " * 2000 + "1",
        "{1:" * 3000,
        "\0",
    ],
)
def test_a_wrong_header_makes_plain_bytes(header: str) -> None:
    assert read(with_header(header)) is None


def test_headers_and_files_that_are_cut_short() -> None:
    raw = npy(np.arange(4, dtype="<f4"))
    assert read(raw) is not None
    for size in range(len(raw)):
        assert read(raw[:size]) is None
    assert read(raw[:6] + b"\x04" + raw[7:]) is None
    assert read(raw[:7] + b"\x01" + raw[8:]) is None
    assert read(b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + raw) is None


def test_arrays_of_an_npz_have_the_names_of_their_members() -> None:
    arrays = {"w": np.arange(6.0).reshape(2, 3), "b": np.asfortranarray(np.arange(6, dtype="<f4").reshape(3, 2))}
    raw = npz(arrays)
    layout = read(raw)
    assert layout is not None
    assert [(tensor.name, tensor.dtype, tensor.shape, tensor.order) for tensor in layout.tensors] == [
        ("w", "F64", (2, 3), "C"),
        ("b", "F32", (3, 2), "F"),
    ]
    for tensor in layout.tensors:
        assert raw[tensor.offset : tensor.offset + tensor.size_bytes] == arrays[tensor.name].tobytes("A")
    assert (layout.format, layout.is_complete) == ("npz", True)


def test_an_unnamed_array_has_one_name_in_npy_and_npz() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, np.arange(3))
    first, second = read(buffer.getvalue()), read(npy(np.arange(3)))
    assert first is not None
    assert second is not None
    assert first.tensors[0].name == second.tensors[0].name


def test_a_compressed_npz_is_plain_bytes() -> None:
    assert read(npz({"w": np.arange(6.0)}, compressed=True)) is None


def test_an_array_of_objects_among_plain_ones_is_left_out_and_told() -> None:
    layout = read(npz({"w": np.arange(3.0), "o": np.array([None], dtype=object)}))
    assert layout is not None
    assert [tensor.name for tensor in layout.tensors] == ["w"]
    assert not layout.is_complete


def test_an_array_may_not_reach_into_the_next_member() -> None:
    short = npy(np.zeros(100, "<f4"))[:-396]
    layout = read(stored_zip({"short.npy": short, "whole.npy": npy(np.zeros(400, "<f4"))}))
    assert layout is not None
    assert [tensor.name for tensor in layout.tensors] == ["whole"]
    assert not layout.is_complete


@pytest.mark.parametrize("members", [{}, {"readme.txt": b"text"}, {"w.npy": b"nothing"}, {"w.npy": b""}])
def test_a_zip_file_without_arrays_is_plain_bytes(members: dict[str, bytes]) -> None:
    assert read(stored_zip(members)) is None


def test_every_truncation_of_an_npz_is_plain_bytes() -> None:
    raw = npz({"w": np.arange(6.0)})
    for size in range(len(raw)):
        assert read(raw[:size]) is None
