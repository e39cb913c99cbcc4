from __future__ import annotations

import pytest

from mlver.formats import Layout, Tensor, View
from mlver.formats.layout import FormatError, checked_layout
from mlver.formats.strides import memory_order


def tensor(name: str, offset: int, size_bytes: int) -> Tensor:
    return Tensor(name, "U8", (size_bytes,), offset, size_bytes)


def view(name: str, offset: int, size_bytes: int) -> View:
    return View(name, "U8", (size_bytes,), 0, offset, size_bytes)


A, B = tensor("a", 0, 10), tensor("b", 10, 10)


def test_a_layout_that_keeps_its_promises_passes() -> None:
    layout = Layout("npz", (A, B), (view("v", 5, 5),))
    assert checked_layout(layout, 20) is layout
    assert [array.name for array in layout.arrays] == ["a", "b", "v"]


@pytest.mark.parametrize(
    "layout",
    [
        Layout("npz", (A, tensor("b", 11, 10))),
        Layout("npz", (A, tensor("b", 9, 10))),
        Layout("npz", (B, A)),
        Layout("npz", (tensor("a", -1, 10),)),
        Layout("npz", (tensor("a", 5, -1),)),
        Layout("npz", (A, tensor("a", 10, 10))),
        Layout("npz", (A, B), (view("b", 0, 1),)),
        Layout("npz", (A,), (view("v", 5, 6),)),
        Layout("npz", (A,), (view("v", -1, 6),)),
        Layout("npz", (tensor("n" * 4097, 0, 10),)),
        Layout("npz", (tensor("\ud800", 0, 10),)),
    ],
)
def test_a_layout_that_breaks_one_is_refused(layout: Layout) -> None:
    with pytest.raises(FormatError):
        checked_layout(layout, 20)


@pytest.mark.parametrize(
    ("shape", "strides", "order"),
    [
        ((), (), "C"),
        ((4,), (1,), "C"),
        ((4,), (2,), "strides:2"),
        ((2, 3), (3, 1), "C"),
        ((2, 3), (1, 2), "F"),
        ((1, 4), (99, 1), "C"),
        ((4, 1), (1, 99), "C"),
        ((2, 1, 3), (1, 99, 2), "F"),
        ((0, 4), (7, 7), "C"),
        ((2, 3), (4, 1), "strides:4,1"),
        ((2, 3), (0, 1), "strides:0,1"),
    ],
)
def test_orders(shape: tuple[int, ...], strides: tuple[int, ...], order: str) -> None:
    assert memory_order(shape, strides) == order
