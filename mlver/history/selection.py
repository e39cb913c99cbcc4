"""The best of some versions by an expression: `max(val_acc)`, `min(loss)`, `max(val_acc - 0.1 * metadata.latency)`.

One grammar for revisions (`NAME@max(val_acc)`), for `best`, and for aliases that follow the best version by themselves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeGuard

from mlver.errors import NotFoundError
from mlver.expressions import Expression, Value
from mlver.history.fields import MISSING, as_value, version_field, version_names
from mlver.history.records import VersionRecord

_SELECTION = re.compile(r"\s*(?P<extreme>max|min)\s*\((?P<inner>.*)\)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Selection:
    """The version for which something is greatest or least.

    Attributes:
        extreme: Which end.
        text: What is compared: the very name of a metric, or an expression.
    """

    extreme: Literal["max", "min"]
    text: str

    def __str__(self) -> str:
        return f"{self.extreme}({self.text})"

    def best(self, versions: Sequence[VersionRecord]) -> VersionRecord | None:
        """Return the best version: of equals the one with the lowest number, None where the value is known of none.

        Versions of which the value is no finite number do not count. Whether removed ones do is the caller's choice.

        Raises:
            ExpressionError: The expression is malformed, or cannot be computed.
        """
        sign = -1 if self.extreme == "max" else 1
        value_of = self._measure(versions)
        valued = ((version, value_of(version)) for version in versions)
        known = [(sign * value, version) for version, value in valued if is_finite_number(value)]
        return min(known, key=lambda pair: (pair[0], pair[1].number), default=(0.0, None))[1]

    def _measure(self, versions: Sequence[VersionRecord]) -> Callable[[VersionRecord], Value]:
        # A metric may have any name, such as `train/loss`, which would be a quotient.
        if any(self.text in version.metrics for version in versions):
            return lambda version: as_value(version.metrics.get(self.text))
        expression = Expression(self.text)
        return lambda version: expression.evaluate(partial(_value_of, version))

    def choose(self, versions: Sequence[VersionRecord], of: str) -> VersionRecord:
        """Return the best version, see `best`.

        Args:
            versions: Those to choose from.
            of: What they are the versions of, for the error.

        Raises:
            ExpressionError: The expression is malformed, cannot be computed, or a name in it means nothing.
            NotFoundError: The value is known of no version.
        """
        chosen = self.best(versions)
        if chosen is not None:
            return chosen
        expression = Expression(self.text)
        for name in expression.names:
            if all(version_field(version, name.text) is MISSING for version in versions):
                raise expression.unknown(name, list({word for version in versions for word in version_names(version)}))
        raise NotFoundError(f"No version of {of} has a value of {self.text!r}.")


def parse_selection(text: str) -> Selection | None:
    """Return what `max(…)` or `min(…)` selects, None if `text` is neither."""
    match = _SELECTION.fullmatch(text)
    if match is None:
        return None
    return Selection("max" if match["extreme"] == "max" else "min", match["inner"].strip())


def is_finite_number(value: object) -> TypeGuard[float]:
    """Tell whether a value can be compared with others: a number, not NaN, not infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _value_of(version: VersionRecord, name: str) -> Value:
    return as_value(version_field(version, name))
