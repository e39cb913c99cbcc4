"""The loops over a chunk's elements: which of the two implementations does them.

`mlver.codec.portable` defines each in numpy. `mlver.codec.native` does the same in compiled C, which is many times as
fast and lets other threads run meanwhile; a build without a compiler does without it. Both give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mlver.codec import native, portable
from mlver.codec.shapes import Elements, Expectation, Exponent, Grid, OnGrid, Plane, Sorted, Sorting, Split, Tables


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

    def measure(
        self, values: Elements, expected: Elements, base: Elements, exponent: Exponent
    ) -> tuple[Elements, npt.NDArray[np.int32]]:
        """Return residuals in zigzag order, and the level of each block of them."""
        ...

    def sort(self, residuals: Elements, base: Elements, exponent: Exponent, sorting: Sorting) -> Sorted:
        """Take residuals apart by class."""
        ...

    def classes(self, base: Elements, exponent: Exponent, sorting: Sorting, count: int) -> Plane | None:
        """Return the classes of the elements that are entropy-coded; None if they are not `count`."""
        ...

    def merge(
        self, parts: Sorted, expected: Elements, base: Elements, exponent: Exponent, sorting: Sorting, out: Elements
    ) -> bool:
        """Undo `measure` and `sort` into `out`, whatever `parts` has for classes; False if that cannot be."""
        ...

    def is_merged(
        self, parts: Sorted, expected: Elements, base: Elements, exponent: Exponent, sorting: Sorting, values: Elements
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

    def tables(self, counts: npt.NDArray[np.uint32], few: int, many: int) -> Tables:
        """Return the tables for symbols that come so often, shape (64, 64): `few` or `many`, by what takes less.

        Classes from the last table up share it.
        """
        ...

    def read_shares(self, stored: Plane, written: Plane) -> npt.NDArray[np.uint16] | None:
        """Return the shares of each class, shape (classes, 64), as tables are stored; None if they are not."""
        ...

    def entropy_encode(
        self, classes: Plane, symbols: Plane, shares: npt.NDArray[np.uint16], lanes: int
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
        """Return the states and words that symbols are coded as, by their shares, shape (64, 64), of 4096."""
        ...

    def entropy_decode(
        self,
        classes: Plane,
        shares: npt.NDArray[np.uint16],
        states: npt.NDArray[np.uint32],
        words: npt.NDArray[np.uint16],
    ) -> Plane | None:
        """Undo `entropy_encode`, by shares of shape (classes, 64), the last for classes above; None if it cannot be."""
        ...


current: Loops = native if native.is_available() else portable
