"""In how many directions a matrix changed: few for a LoRA that was merged, many for a full fine-tune.

The rank of a change is the number of its largest singular values that hold 99.9 % of the sum of their squares. Matrices
with few columns are reduced to their Gram matrix; of others a random sketch of 256 rows is kept, whose singular values
are those of the change as long as there are few. Memory does not grow with the number of rows.

Source: N. Halko, P. G. Martinsson, J. A. Tropp, "Finding structure with randomness" (SIAM Review 2011), 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_ENERGY = 0.999
_FEW_COLUMNS = 512
_SKETCH_ROWS = 256
_MOST = _SKETCH_ROWS // 2
"""The largest rank that a sketch tells."""


class Rank(NamedTuple):
    """How many directions there are, or at least are."""

    value: int
    is_least: bool = False


class ChangeSketch:
    """Takes the rows of a change, a block after the other.

    Args:
        rows: How many there will be.
        columns: How many each has.
    """

    def __init__(self, rows: int, columns: int) -> None:
        import numpy as np

        self._is_gram = columns <= _FEW_COLUMNS
        self._is_sketch = not self._is_gram and rows > _SKETCH_ROWS
        height = columns if self._is_gram else min(rows, _SKETCH_ROWS)
        self._sum = np.zeros((height, columns), dtype="f8" if self._is_gram else "f4")
        self._random = np.random.default_rng(0)  # the same answer every time
        self._row = 0

    def add(self, delta: Array) -> None:
        """Add the next rows.

        Args:
            delta: float32, rows × columns.
        """
        import numpy as np

        if self._is_gram:
            self._sum += delta.T @ delta
        elif self._is_sketch:
            self._sum += self._random.standard_normal((_SKETCH_ROWS, len(delta)), dtype=np.float32) @ delta
        else:
            self._sum[self._row : self._row + len(delta)] = delta
        self._row += len(delta)

    def rank(self) -> Rank | None:
        """Return the rank of all rows together; None if there are NaN or infinities among them."""
        import numpy as np

        gram = self._sum if self._is_gram else (wide := self._sum.astype("f8")) @ wide.T
        if not np.isfinite(gram).all():
            return None
        squares = np.sort(np.linalg.eigvalsh(gram))[::-1].clip(min=0)
        if not squares.sum():
            return Rank(0)
        value = int(np.searchsorted(np.cumsum(squares), _ENERGY * squares.sum()) + 1)
        return Rank(_MOST, is_least=True) if self._is_sketch and value > _MOST else Rank(value)
