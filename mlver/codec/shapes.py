"""What the loops over elements are told: arrays of elements and bytes, and how a chunk's elements are looked at."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Elements = npt.NDArray[np.unsignedinteger[Any]]
"""Elements of a chunk as unsigned integers, little-endian, shape (n,)."""
Plane = npt.NDArray[np.uint8]
"""A byte of each element, shape (n,)."""
Shares = npt.NDArray[np.uint16]
"""Of 4096, by class and symbol, shape (classes, 64)."""

BLOCK = 128
"""Elements of one level."""
MOST_LEVEL = 255
MAX_CLASSES = 64
SYMBOLS = 64
"""An entropy-coded residual is one of so many symbols, the last one being an escape."""
PLANE_ESCAPE = 255
MAX_LANES = 256
LEARN_SLOTS = 1 << 14
PROBABILITY_BITS = 12
SLOTS = 1 << PROBABILITY_BITS
STATE_LOW = 1 << 16
TABLE_ENTRIES = 128
STEP_BITS = 14
MOST_LOW_BITS = {1: 6, 2: 12, 4: 24, 8: 56}
"""How many bits of a residual are stored as they are, at most, by element size."""
QUARTERS = 4
"""A level of a grid is a quarter of the way to twice the size."""
GRID_TOP = 40
"""The class of an element whose base is no larger than the step, at the finest grid for it; there are three above."""
GRID_CLASSES = 44
DEPTH_CLASS = 44
"""The class of the depths of elements that are smaller than the grid."""
ALL_ZERO = -(2**31)
"""The level, before it is stored, of a block of which all residuals are zero."""
ALL_ODD = ALL_ZERO + 1
"""The level of a block of which all residuals that are not zero come from signs that differ."""


class Exponent(NamedTuple):
    """Where the exponent of an element is.

    Attributes:
        shift: It begins at this bit.
        mask: And has these bits, once it is shifted down.
    """

    shift: int = 0
    mask: int = 0


class Factors(NamedTuple):
    """Two thin matrices whose product was added to the base; see `mlver.codec.factors`.

    Attributes:
        kind: What the elements are: 0 is F32, 1 is BF16.
        column: The column of the first element.
        of_rows: i32, shape (rank, rows).
        of_columns: i32, shape (rank, columns).
        exponent: The product is in units of 2 ** exponent.
    """

    kind: int
    column: int
    of_rows: npt.NDArray[np.int32]
    of_columns: npt.NDArray[np.int32]
    exponent: int


class Expectation(NamedTuple):
    """What is expected of elements, beyond what their base is; see `mlver.codec.residuals`.

    Attributes:
        table: Differences by the base's mantissa, shape (128,), or None.
        table_shift: The table is looked up by the seven bits from this one up.
        steps: Differences by the column, i16, shape (columns,), or None.
        unit: The exponent at which a step is in units of 2 ** -14 of the last place.
        exponent: Where the exponent is, for the steps.
        factors: What was added, instead of all the others, or None.
    """

    table: Elements | None = None
    table_shift: int = 0
    steps: npt.NDArray[np.int16] | None = None
    unit: int = 0
    exponent: Exponent = Exponent()
    factors: Factors | None = None

    @property
    def told_bytes(self) -> int:
        """About what it takes to tell it, but for a table."""
        if self.factors is not None:
            return 3 * (self.factors.of_rows.size + self.factors.of_columns.size)
        return 0 if self.steps is None else self.steps.nbytes


class Cut(NamedTuple):
    """Where residuals are cut.

    Attributes:
        bits: The highest class that is not cut has residuals of up to so many bits on average.
        coded: Classes below this are entropy-coded.
        unshifted: The highest class that is not cut.
    """

    bits: int
    coded: int
    unshifted: int = 11


class Sorting(NamedTuple):
    """Which class an element belongs to, and what is done with it.

    Attributes:
        levels: Of each block, shape (blocks,); 0 where all residuals are zero.
        origin: An element's class is this plus the block's level less the exponent of the base's element.
        unshifted: The highest class whose residuals are not cut.
        coded: Classes below this are entropy-coded; the others make a plane.
    """

    levels: Plane
    origin: int
    unshifted: int
    coded: int


class Split(NamedTuple):
    """The planes of a chunk.

    Attributes:
        planes: The most significant first, shape (element size, n).
        first: The first element, as its bytes lie in the planes, or 0.
        varying: Bits in which some other element differs from it.
    """

    planes: npt.NDArray[np.uint8]
    first: int
    varying: int


class Sorted(NamedTuple):
    """The residuals of a chunk, sorted.

    Attributes:
        plane: Upper parts of residuals of classes that are not coded, at most 255.
        classes: Classes of those that are coded.
        symbols: Their upper parts, at most 63.
        escapes: What is above these limits, in the order of the elements, shape (e,).
        low: The bits that were cut off, end to end.
    """

    plane: Plane
    classes: Plane
    symbols: Plane
    escapes: Elements
    low: Plane


class Grid(NamedTuple):
    """How fine the grid is that elements are put on; see `mlver.codec.grid`.

    Attributes:
        levels: Of each block, shape (blocks,); 0 where all elements are as expected.
        origin: What is added to the levels.
        offsets: What is added for the column, i8, shape (columns,): of an element, its number modulo the columns.
        mantissa: Bits of an element below its exponent.
    """

    levels: Plane
    origin: int
    offsets: npt.NDArray[np.int8]
    mantissa: int


class OnGrid(NamedTuple):
    """The elements of a chunk on a grid.

    Attributes:
        classes: Of the elements that are not as expected by their block.
        symbols: Their differences, at most 63.
        depths: How far below the grid the elements are that are smaller than it, at most 63.
        escapes: Elements that are given whole, in their order, shape (e,).
        low: The bits below the grid, end to end.
    """

    classes: Plane
    symbols: Plane
    depths: Plane
    escapes: Elements
    low: Plane


class Coded(NamedTuple):
    """Symbols as they are coded; see `mlver.codec.entropy`.

    Attributes:
        stored: How many shares are stored of each class that there is; none if all are known.
        written: These.
        states: Of each lane, shape (lanes,).
        words: What the states gave away, shape (w,).
    """

    stored: Plane
    written: Plane
    states: npt.NDArray[np.uint32]
    words: npt.NDArray[np.uint16]


class Residuals(NamedTuple):
    """The residuals of a chunk as they are stored: those of `Sorted`, without what the base tells.

    Attributes:
        plane: Upper parts of residuals of classes that are not coded.
        coded: How many others there are.
        symbols: Their upper parts; None if there are none.
        escapes: What is above the limits of both, shape (e,).
        low: The bits that were cut off.
    """

    plane: Plane
    coded: int
    symbols: Coded | None
    escapes: Elements
    low: Plane
