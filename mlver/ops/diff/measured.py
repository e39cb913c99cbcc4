"""Changes of tensors that were measured before, by the digests of both: what never changes need not be read again."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from mlver.differences.figures import Figures
from mlver.differences.rank import Rank
from mlver.digests import blake3_hex
from mlver.store.sqlite import CacheConnection

_FIGURES = struct.Struct("<2q5d4q")
_MAX_ROWS = 100_000
"""Some 20 MB."""
_BATCH = 500

Pair = tuple[str, str]
"""Digests of a tensor before and after: they cover its type, shape and order, too."""


class MeasuredChanges:
    """A bounded cache of figures and ranks; the oldest are forgotten first.

    Args:
        connection: The cache file.
    """

    def __init__(self, connection: CacheConnection) -> None:
        self._connection = connection

    def find(self, pairs: Iterable[Pair]) -> dict[Pair, tuple[Figures, Rank | None]]:
        """Return the figures of those of `pairs` that were measured before, and their ranks if they are known."""
        keys = {_key(pair): pair for pair in pairs}
        found: dict[Pair, tuple[Figures, Rank | None]] = {}
        pending = list(keys)
        for start in range(0, len(pending), _BATCH):
            batch = pending[start : start + _BATCH]
            marks = ",".join("?" * len(batch))
            with self._connection.reading():
                query = f"SELECT pair, figures, rank FROM tensor_changes WHERE pair IN ({marks})"
                rows = self._connection.execute(query, batch).fetchall()
            found.update((keys[key], (Figures(*_FIGURES.unpack(figures)), _rank(rank))) for key, figures, rank in rows)
        return found

    def remember(self, measured: Mapping[Pair, tuple[Figures, Rank | None]]) -> None:
        """Note figures, and drop the oldest if there are too many."""
        rows = [(_key(pair), _FIGURES.pack(*figures), _number(rank)) for pair, (figures, rank) in measured.items()]
        with self._connection.transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO tensor_changes (pair, figures, rank) VALUES (?, ?, ?)", rows
            )
            self._connection.execute(
                "DELETE FROM tensor_changes WHERE number <= (SELECT MAX(number) FROM tensor_changes) - ?", (_MAX_ROWS,)
            )


def _key(pair: Pair) -> bytes:
    return bytes.fromhex(blake3_hex("\0".join(pair).encode())[:32])


def _number(rank: Rank | None) -> int | None:
    """Return a rank as one number: a negative one is a lower bound."""
    return None if rank is None else -rank.value if rank.is_least else rank.value


def _rank(number: int | None) -> Rank | None:
    return None if number is None else Rank(abs(number), is_least=number < 0)
