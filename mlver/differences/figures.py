"""How much two tensors differ, as sums that can be added up over blocks, tensors and modules.

`mlver.differences.magnitude` computes them; here nothing is imported, so that what was computed before can be shown
at no cost.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Figures(NamedTuple):
    """Sums over the elements of two arrays of equal length; *from* and *to* are the two.

    An element counts towards the squares, the product and the maximum where both sides are finite. The modulus is
    meant where elements are complex.

    Attributes:
        elements: How many there are.
        changed: Elements that are not what they were: other bits, or another value where the types differ.
        from_square: Sum of the squares of the elements before.
        to_square: The same after.
        delta_square: Sum of the squares of the differences.
        product: Sum of the products of the elements before and after (real part).
        max_abs: Largest absolute difference.
        from_nan: Elements that were NaN.
        from_inf: Elements that were an infinity.
        to_nan: Elements that are NaN.
        to_inf: Elements that are an infinity.
    """

    elements: int = 0
    changed: int = 0
    from_square: float = 0.0
    to_square: float = 0.0
    delta_square: float = 0.0
    product: float = 0.0
    max_abs: float = 0.0
    from_nan: int = 0
    from_inf: int = 0
    to_nan: int = 0
    to_inf: int = 0

    def plus(self, other: Figures) -> Figures:
        """Return the figures of both parts together."""
        return Figures(
            self.elements + other.elements,
            self.changed + other.changed,
            self.from_square + other.from_square,
            self.to_square + other.to_square,
            self.delta_square + other.delta_square,
            self.product + other.product,
            max(self.max_abs, other.max_abs),
            self.from_nan + other.from_nan,
            self.from_inf + other.from_inf,
            self.to_nan + other.to_nan,
            self.to_inf + other.to_inf,
        )

    @property
    def relative_change(self) -> float:
        """‖to - from‖ / ‖from‖; infinite where something came of nothing but zeros."""
        if self.delta_square == 0:
            return 0.0
        return math.sqrt(self.delta_square) / math.sqrt(self.from_square) if self.from_square else math.inf

    @property
    def cosine(self) -> float | None:
        """Cosine of the angle between both; None where one of them has no direction, for it is zero."""
        if self.from_square == 0 or self.to_square == 0:
            return None
        return max(-1.0, min(1.0, self.product / (math.sqrt(self.from_square) * math.sqrt(self.to_square))))

    @property
    def changed_fraction(self) -> float:
        """Share of the elements that changed, from 0 to 1."""
        return self.changed / self.elements if self.elements else 0.0

    @property
    def appeared(self) -> int:
        """How many more elements are NaN or infinite than were."""
        return max(0, self.to_nan - self.from_nan) + max(0, self.to_inf - self.from_inf)
