"""What is to happen to each pack: **what is in the packs, what is needed → delete, rewrite, keep**. Pure.

A pack in which nothing is needed goes. One of which a large enough share is not needed is written anew without that.
All others stay as they are, and what rests in them on something elsewhere keeps that, needed or not: every frame in the
store can be decoded, so whoever finds a chunk may use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlver.ids import PackId
from mlver.ops.collect.stock import Stock, contains, united, with_bases

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mlver.ops.collect.stock import Keys

WORTH_REWRITING = 0.2
"""Part of a pack's frames that must be superfluous before it is written anew without them."""


@dataclass(frozen=True, slots=True)
class PackFigures:
    """What of one pack is needed. Sizes are those of frames, in bytes.

    Attributes:
        needed_bytes: Of frames that are.
        dead_bytes: Of all others.
    """

    needed_bytes: int
    dead_bytes: int


@dataclass(frozen=True, slots=True)
class PackPlan:
    """What is to happen to each pack.

    Attributes:
        delete: Packs in which nothing is needed.
        rewrite: Packs of which a part is needed, those first that take least to write anew.
        figures: Of every pack.
        needed: uint64, sorted: the chunks that must stay wherever they are.
        held_bytes: What no version uses and stays because something rests on it that stays.
    """

    delete: tuple[PackId, ...]
    rewrite: tuple[PackId, ...]
    figures: Mapping[PackId, PackFigures]
    needed: Keys
    held_bytes: int

    @property
    def dead_bytes_left(self) -> int:
        """Bytes of superfluous frames in packs that stay as they are."""
        going = {*self.delete, *self.rewrite}
        return sum(figures.dead_bytes for pack, figures in self.figures.items() if pack not in going)


def plan_packs(stock: Stock, used: Keys, settled: Mapping[PackId, bool], worth: float = WORTH_REWRITING) -> PackPlan:
    """Decide what happens to each pack.

    Args:
        stock: What is in the packs.
        used: uint64, the chunks that versions use.
        settled: Of each pack, whether it is old enough: a writer that is at work may not have said yet what it is for.
        worth: The part of a pack that must be superfluous before it is written anew.
    """
    import numpy as np

    needed = with_bases(stock, used)
    old = np.array([settled[pack] for pack in stock.packs], np.bool_)
    while True:
        needed_bytes, dead_bytes = _bytes_by_pack(stock, needed)
        delete = old & (needed_bytes == 0)
        rewrite = old & ~delete & (dead_bytes > 0) & (dead_bytes >= worth * (needed_bytes + dead_bytes))
        held = stock.bases[~(delete | rewrite)[stock.base_pack_of]]
        grown = with_bases(stock, united(needed, held))
        if len(grown) == len(needed):
            break
        needed = grown
    figures = {
        pack: PackFigures(int(needed_bytes[number]), int(dead_bytes[number])) for number, pack in enumerate(stock.packs)
    }
    return PackPlan(
        delete=tuple(pack for number, pack in enumerate(stock.packs) if delete[number]),
        rewrite=tuple(
            sorted(
                (pack for number, pack in enumerate(stock.packs) if rewrite[number]),
                key=lambda pack: (figures[pack].needed_bytes, pack),
            )
        ),
        figures=figures,
        needed=needed,
        held_bytes=int(needed_bytes.sum() - _bytes_by_pack(stock, united(used))[0].sum()),
    )


def _bytes_by_pack(stock: Stock, needed: Keys) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return int64 [packs] twice: bytes of frames that are needed, and of all others."""
    import numpy as np

    is_needed = contains(needed, stock.keys)
    count = len(stock.packs)
    found = np.zeros(count, np.int64)
    np.add.at(found, stock.pack_of[is_needed], stock.lengths[is_needed])
    every = np.zeros(count, np.int64)
    np.add.at(every, stock.pack_of, stock.lengths)
    return found, every - found
