"""The loops over a chunk's elements: which of the two implementations does them.

`mlver.codec.portable` defines each in numpy. `mlver.codec.native` does the same in compiled C, which is many times as
fast and lets other threads run meanwhile; a build without a compiler does without it. Both give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mlver.codec import library, native, portable
from mlver.codec.shapes import (
    Coded,
    Cut,
    Elements,
    Expectation,
    Exponent,
    Grid,
    OnGrid,
    Plane,
    Residuals,
    Shares,
    Sorted,
    Sorting,
    Split,
)


class Loops(Protocol):
    """What both implementations can do. All arrays are of one dimension unless it says otherwise."""

    def split(self, values: Elements, expected: Elements | None, move_sign: bool) -> Split:
        """Return the planes of elements, or of their residuals if something is expected."""
        ...

    def join(self, planes: Sequence[Plane | int], expected: Elements | None, sign_moved: bool, out: Elements) -> None:
        """Undo `split` into `out`; a plane of equal bytes may be given as an integer."""
        ...

    def is_joined(
        self, planes: Sequence[Plane | int], expected: Elements | None, sign_moved: bool, values: Elements
    ) -> bool:
        """Tell whether `join` gives back `values`, without writing anything."""
        ...

    def learn(self, values: Elements, base: Elements, shift: int) -> Elements | None:
        """Return the commonest difference by the seven bits of the base from `shift` up, if it is so for many."""
        ...

    def agreement(self, values: Elements, base: Elements, columns: int, row_step: int, column_step: int) -> int:
        """Return by how many more elements went one way than the other, added up over columns.

        Of whole rows, every `row_step`-th is looked at, and of these every `column_step`-th column, at most 512.
        """
        ...

    def pack_nibbles(self, plane: Plane, start: int, most: int) -> tuple[Plane, Plane] | None:
        """Return pairs and escapes as `mlver.codec.nibbles` has them, or None for more than `most` escapes."""
        ...

    def unpack_nibbles(self, pairs: Plane, escapes: Plane, start: int, count: int) -> Plane | None:
        """Undo `pack_nibbles`; None if that cannot be."""
        ...

    def split_sparse(self, values: Elements, signs_apart: bool) -> tuple[Plane, Plane | None, Elements]:
        """Return the bitmaps of what is not zero and of what is negative, if that is apart, and what is not zero."""
        ...

    def join_sparse(self, places: Plane, signs: Plane | None, values: Elements, out: Elements) -> bool:
        """Undo `split_sparse` into `out`; False if that cannot be."""
        ...

    def expect(self, base: Elements, expectation: Expectation) -> Elements:
        """Return what is expected of the elements that have this base."""
        ...

    def sort(
        self, values: Elements, expected: Elements, base: Elements, exponent: Exponent, cut: Cut
    ) -> tuple[Sorting, Sorted]:
        """Return how the residuals of elements are sorted into classes, and take them apart by that."""
        ...

    def merge(
        self, parts: Residuals, expected: Elements, base: Elements, exponent: Exponent, sorting: Sorting, out: Elements
    ) -> bool:
        """Undo `sort`, and `code` for what is coded, into `out`; False if that cannot be."""
        ...

    def is_merged(
        self,
        parts: Residuals,
        expected: Elements,
        base: Elements,
        exponent: Exponent,
        sorting: Sorting,
        values: Elements,
    ) -> bool:
        """Tell whether `merge` gives back `values`, without writing anything."""
        ...

    def place(self, values: Elements, expected: Elements, grid: Grid) -> OnGrid:
        """Put elements on a grid."""
        ...

    def grid_classes(self, expected: Elements, grid: Grid) -> Plane:
        """Return the classes of the elements that are not as expected by their block."""
        ...

    def displace(self, parts: OnGrid, expected: Elements, grid: Grid, out: Elements) -> bool:
        """Undo `place` into `out`, whatever `parts` has for classes; False if that cannot be."""
        ...

    def is_displaced(self, parts: OnGrid, expected: Elements, grid: Grid, values: Elements) -> bool:
        """Tell whether `displace` gives back `values`, without writing anything."""
        ...

    def count(self, classes: Plane, symbols: Plane) -> npt.NDArray[np.uint32]:
        """Return how often each symbol comes in each class, shape (64, 64)."""
        ...

    def code(
        self, classes: Plane, symbols: Plane, few: int, many: int, lanes: int, known: Shares | None = None
    ) -> Coded:
        """Return symbols as they are coded, by tables for `few` classes or for `many`, or by shares that are known.

        Of these, what takes the least is taken. Classes from the last table up share it.
        """
        ...

    def decode(self, classes: Plane, coded: Coded, known: Shares | None = None) -> Plane | None:
        """Undo `code`; None if that cannot be."""
        ...


current: Loops = native if library.is_available() else portable
