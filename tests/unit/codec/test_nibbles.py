"""Four bits an element: the window, the escapes and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from mlver.codec import nibbles
from mlver.errors import IntegrityError


@pytest.mark.parametrize("first", [0, 1, 100, 241, 250, 255])
def test_the_window_holds_fifteen_values_in_a_row(first: int) -> None:
    values = (np.arange(15 * 20) % 15 + first).astype(np.uint8)
    assert nibbles.window(values) == first
    assert nibbles.window((np.arange(16 * 20) % 16 + first).astype(np.uint8)) is None


@pytest.mark.parametrize("count", [1, 2, 999, 1000])
def test_values_out_of_the_window_come_back(count: int) -> None:
    plane = (np.arange(count) % 15 + 30).astype(np.uint8)
    plane[200::150] = 45  # just above the window
    plane[201::150] = 29  # just below
    packed = nibbles.pack(plane, 30)
    assert packed is not None
    pairs, values = packed
    assert pairs.size == (count + 1) // 2
    assert sorted(set(values.tolist())) == ([29, 45] if count > 200 else [])
    assert (nibbles.unpack(pairs, values, 30, count) == plane).all()


def test_too_many_escapes_are_not_packed() -> None:
    plane = np.full(6400, 7, np.uint8)
    plane[:100] = 99
    assert nibbles.pack(plane, 0) is not None
    plane[100] = 99
    assert nibbles.pack(plane, 0) is None


@pytest.mark.parametrize("values", [0, 2])
def test_another_number_of_values_than_escapes_is_refused(values: int) -> None:
    with pytest.raises(IntegrityError, match="escapes"):
        nibbles.unpack(np.array([0xF0], np.uint8), np.zeros(values, np.uint8), 0, 2)
