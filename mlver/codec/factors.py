"""Changes of low rank: what is expected of elements to which the product of two thin matrices was added.

That is what merging an adapter (LoRA) into the weights does, and what lies between two merged versions. Part of the
head of the encodings against a base, see `mlver.codec.residuals`::

    u8       kind of the elements: 0 is F32, 1 is BF16
    u32, u32 the number of columns, and the column of the first element
    u8       rank, 1 to 64
    i16      exponent, -1000 to 100
    u32, …   size in bytes of a payload of `mlver.codec.planes`, without a moved sign and of elements of 4 bytes, and
             the payload: signed integers in zigzag order: first the rows', rank by rank one of each row, then the
             columns', rank by rank one of each column; together at most as many as the chunk has elements

The rows are those that have an element in the chunk. What is added to an element is the sum, over the ranks, of the
products of its row's and its column's integers, times 2 ** exponent. No integer is beyond 2 ** 23, so all sums are
integers below 2 ** 53, which floating point computes exactly in any order: every machine expects the same.

The expected element is the sum of that and the base's element in F64, rounded to F32, then to BF16 if that is the kind,
each to the nearest and ties to even. A sum that is smaller than the smallest normal number of F32 is zero. The base's
own subnormal numbers are zeros in the sum. Where the base's element is infinite or no number, it is itself what is
expected.
"""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from mlver.codec import planes, portable_residuals
from mlver.codec.shapes import Elements, Factors
from mlver.errors import IntegrityError

MAX_RANK = 64
_KINDS = ("F32", "BF16")
_BYTES = {"F32": 4, "BF16": 2}
_MOST = 1 << 23
_EXPONENTS = range(-1000, 101)
_MIN_SIDE = 64
"""Fewer rows or columns are hardly worth factors."""
_SAMPLED = 48
"""Rows and columns of the sample that tells the rank; as many others show whether it is right."""
_TOLD = 40
"""The highest rank that it can tell."""
_NOISE = 3.0
"""How many times the noise of rounding what is left may be; rounding on both sides makes 1.4."""
_MORE = 8
_FINE = 4.0
"""How many times finer than that noise the product is."""
_SMALLEST_NORMAL = 2.0**-126

_SPECIAL = {"F32": 0x7F800000, "BF16": 0x7F80}
_HEAD = struct.Struct("<BIIBhI")

Matrix = npt.NDArray[np.floating[Any]]


def find(values: Elements, base: Elements, dtype: str, columns: int, column: int, left: float) -> Factors | None:
    """Return factors of what was added to a chunk's elements, if that is of low rank.

    Args:
        values: The elements, shape (n,).
        base: Those of the base, shape (n,).
        dtype: Their type.
        columns: Elements in a row of the tensor.
        column: The column of the first element.
        left: The part of the change's power that they may leave: a quarter of it is a bit an element.
    """
    start = -column % max(columns, 1)
    rows = (values.size - start) // max(columns, 1)
    if dtype not in _KINDS or min(rows, columns) < _MIN_SIDE:
        return None
    whole = slice(start, start + rows * columns)
    few = np.ix_(_spread(rows), _spread(columns))
    was, is_now = (_numbers(each[whole].reshape(rows, columns)[few], dtype) for each in (base, values))
    some = _Change.between(was, is_now, dtype)
    if some is None or not some.foretells(left):
        return None
    old, new = (_numbers(each, dtype) for each in (base, values))
    was, is_now = (each[whole].reshape(rows, columns) for each in (old, new))
    change = _Change.between(was, is_now, dtype)
    factorised = change.factorised() if change is not None else None
    if change is None or factorised is None:
        return None
    of_rows, of_columns = factorised
    rest = values.size - whole.stop
    before = _of_part(_moved(old[:start], new[:start]), of_columns[:, columns - start :])
    after = _of_part(_moved(old[whole.stop :], new[whole.stop :]), of_columns[:, :rest])
    return _in_integers(dtype, column, np.hstack([before, of_rows, after]), of_columns, change.noise)


def _spread(side: int) -> npt.NDArray[np.intp]:
    """Return which rows or columns of so many make the sample."""
    return np.linspace(0, side - 1, min(side, 2 * _SAMPLED)).astype(np.intp)


def _of_part(change: Matrix, of_columns: Matrix) -> Matrix:
    """Return what makes the change of a part of a row, shape (rank, 1), or (rank, 0) of no elements."""
    if not change.size:
        return np.empty((len(of_columns), 0))
    if not np.isfinite(change).all():
        return np.zeros((len(of_columns), 1))
    solved: Matrix = np.linalg.lstsq(of_columns.T, change[:, None], rcond=None)[0]
    return solved


def _in_integers(dtype: str, column: int, of_rows: Matrix, of_columns: Matrix, noise: float) -> Factors | None:
    """Return factors as precise as the noise is worth."""
    width = sum(np.square(each).sum() / each.shape[1] for each in (of_rows, of_columns))
    finest = math.floor(math.log2(_FINE * math.sqrt(width / 12) / noise))
    largest = max(np.abs(of_rows).max(), np.abs(of_columns).max())
    bits = min(finest, math.floor(math.log2(_MOST / largest)))
    if -2 * bits not in _EXPONENTS:
        return None
    rows, columns = (np.rint(np.ldexp(each, bits)).astype("<i4") for each in (of_rows, of_columns))
    return Factors(_KINDS.index(dtype), column, rows, columns, -2 * bits)


def _numbers(elements: Elements, dtype: str) -> npt.NDArray[np.float32]:
    """Return elements as F32; subnormal ones are zeros."""
    bits = elements if dtype == "F32" else elements.astype("<u4") << np.uint32(16)
    return np.where(bits & 0x7F800000, bits, 0).astype("<u4").view("<f4")


def _moved(old: npt.NDArray[np.float32], new: npt.NDArray[np.float32]) -> Matrix:
    """Return by how much elements moved; not a number, and quietly so, where they or their bases are none."""
    with np.errstate(invalid="ignore"):
        moved: Matrix = new.astype(np.float64) - old
    return moved


class _Change(NamedTuple):
    """What was added to whole rows.

    Attributes:
        change: Shape (rows, columns).
        noise: Root mean square of what rounding the sum leaves.
    """

    change: Matrix
    noise: float

    @classmethod
    def between(cls, old: npt.NDArray[np.float32], new: npt.NDArray[np.float32], dtype: str) -> Self | None:
        """Return the change between elements of a type, or None if it cannot be told."""
        change = _moved(old, new)
        if not np.isfinite(change).all():
            return None
        units = np.spacing(np.abs(new)).astype(np.float64) * (1 if dtype == "F32" else 1 << 16)
        return cls(change, float(np.sqrt(np.mean(np.square(units)) / 12)))

    def rank(self, sizes: Matrix) -> int:
        """Return how many of the largest singular values make all of the change but noise; too many if none do."""
        left = np.square(self.change).sum() - np.cumsum(np.concatenate([[0.0], np.square(sizes)]))
        is_noise = left <= np.square(_NOISE * self.noise) * self.change.size
        return int(np.argmax(is_noise)) if is_noise.any() else len(sizes) + 1

    def foretells(self, most_left: float) -> bool:
        """Tell whether half of a sample's rows and columns say what is where the others meet.

        The change between two checkpoints does not, though rounding may hide that it is of full rank: factorising it
        would take many times as long as all else, and find nothing.
        """
        known, beside = _Change(self.change[::2, ::2], self.noise), self.change[::2, 1::2]
        below, held_back = self.change[1::2, ::2], self.change[1::2, 1::2]
        if most_left * np.square(held_back).mean() < np.square(self.noise):
            return False  # rounding alone leaves more
        rank = known.rank(np.linalg.svd(known.change, compute_uv=False))
        if not 0 < rank <= min(_TOLD, min(known.change.shape) - _MORE):
            return False
        left, sizes, right = np.linalg.svd(known.change, full_matrices=False)
        foretold = below @ (right[:rank].T / sizes[:rank]) @ (left[:, :rank].T @ beside)
        return bool(np.square(held_back - foretold).mean() < most_left * np.square(held_back).mean())

    def factorised(self) -> tuple[Matrix, Matrix] | None:
        """Return what makes the change of rows and columns, shape (rank, rows) and (rank, columns).

        Source: N. Halko, P. G. Martinsson, J. A. Tropp, "Finding structure with randomness" (SIAM Review 2011).
        """
        change = self.change
        found = np.random.default_rng(0).normal(size=(change.shape[1], min(_TOLD + _MORE, *change.shape)))
        for _ in range(2):
            found = change.T @ np.linalg.qr(change @ found)[0]
        basis = np.linalg.qr(change @ found)[0]
        left, sizes, right = np.linalg.svd(basis.T @ change, full_matrices=False)
        rank = self.rank(sizes)
        if not 0 < rank <= min(len(sizes), MAX_RANK) or rank * sum(change.shape) > change.size // 2:
            return None
        roots = np.sqrt(sizes[:rank, None])
        return (basis @ left[:, :rank]).T * roots, right[:rank] * roots


def expected(base: Elements, factors: Factors) -> Elements:
    """Return the elements that are expected where the base has these, shape (n,)."""
    dtype = _KINDS[factors.kind]
    # Integers below 2 ** 53 all of them: no order of the sums and no machine makes a difference.
    products = factors.of_rows.T.astype(np.float64) @ factors.of_columns.astype(np.float64)
    added = products.ravel()[factors.column : factors.column + base.size]
    added *= 2.0**factors.exponent
    with np.errstate(all="ignore"):
        added += _numbers(base, dtype)
        added[np.abs(added) < _SMALLEST_NORMAL] = 0
        bits = added.astype("<f4").view("<u4")
    if dtype == "BF16":
        bits = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    mask = _SPECIAL[dtype]
    return np.where(base & mask == mask, base, bits).astype(base.dtype)


def write(factors: Factors) -> bytes:
    """Return what `read` reads."""
    values = np.concatenate([factors.of_rows.ravel(), factors.of_columns.ravel()]).view("<u4")
    zigzagged = portable_residuals.zigzagged(values, np.zeros_like(values))
    payload = b"".join(planes.encode(zigzagged.data.cast("B"), 4, move_sign=False))
    rank, columns = factors.of_columns.shape
    return _HEAD.pack(factors.kind, columns, factors.column, rank, factors.exponent, len(payload)) + payload


def read(reader: planes.Reader, raw_size: int, element_bytes: int) -> Factors:
    """Read factors.

    Raises:
        IntegrityError: They are not those of a chunk of `raw_size` bytes.
    """
    kind, columns, column, rank, exponent, length = _HEAD.unpack(reader.take(_HEAD.size))
    if kind >= len(_KINDS) or _BYTES[_KINDS[kind]] != element_bytes:
        raise IntegrityError(f"A chunk's elements of {element_bytes} bytes have factors of kind {kind}.")
    count = raw_size // element_bytes
    if not column < columns <= count or not 0 < rank <= MAX_RANK or exponent not in _EXPONENTS:
        raise IntegrityError(
            f"A chunk of {count} elements has factors of rank {rank} for column {column} of {columns}."
        )
    rows = -(-(column + count) // columns)
    if rank * (rows + columns) > count:
        raise IntegrityError(f"A chunk of {count} elements has {rank} factors of {rows} rows and {columns} columns.")
    payload = planes.Reader(reader.take(length))
    values = planes.decode_values(payload, rank * (rows + columns), 4)
    payload.end()
    portable_residuals.unzigzagged(values, np.zeros_like(values))
    signed = values.view("<i4")
    if np.abs(signed.astype(np.int64)).max() > _MOST:
        raise IntegrityError("A chunk's factors are too large to be exact.")
    of_rows, of_columns = np.split(signed, [rank * rows])
    return Factors(kind, column, of_rows.reshape(rank, rows), of_columns.reshape(rank, columns), exponent)
