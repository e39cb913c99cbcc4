"""The graph as a tree from one node, row by row: what was drawn already is named again and not drawn again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mlver.lineage.graph import Direction, Lineage, Node

_BRANCH, _LAST, _BAR, _GAP = "├─ ", "└─ ", "│  ", "   "


class TreeRow(NamedTuple):
    """A row of a tree.

    Attributes:
        indent: The lines on its left.
        node: What it is about; None where neighbours are left out.
        is_repeated: It was drawn above, with what hangs from it.
        hidden_count: How many neighbours are left out: those of `node` that are too far, or (None) beside those above.
    """

    indent: str
    node: Node | None
    is_repeated: bool = False
    hidden_count: int = 0


def tree_rows(
    lineage: Lineage,
    root: str,
    direction: Direction,
    max_depth: int | None = None,
    max_neighbours: int | None = None,
    drawn: set[str] | None = None,
) -> Iterator[TreeRow]:
    """Yield the rows of a tree, the root first.

    Args:
        lineage: The graph.
        root: Id of the node to begin with.
        direction: Whether what it rests on hangs from it, or what follows from it.
        max_depth: Nothing that is more steps away; None for all.
        max_neighbours: At most so many beside each other; None for all.
        drawn: Ids of nodes that other trees have drawn; those of this one are added.
    """
    drawn = set() if drawn is None else drawn
    # Rows to come, the next one last: a node with the lines before its own branch, the branch, and its depth.
    rows: list[tuple[str, str, str | int, int]] = [("", "", root, 0)]
    while rows:
        before, branch, what, depth = rows.pop()
        if isinstance(what, int):
            yield TreeRow(before + branch, None, hidden_count=what)
            continue
        neighbours = lineage.next(what, direction)
        is_repeated = what in drawn and bool(neighbours)
        is_too_far = max_depth is not None and depth >= max_depth
        hidden = len(neighbours) if is_too_far and not is_repeated else 0
        yield TreeRow(before + branch, lineage.nodes[what], is_repeated, hidden)
        drawn.add(what)
        if is_repeated or is_too_far:
            continue
        below = before + {"": "", _BRANCH: _BAR, _LAST: _GAP}[branch]
        shown: list[str | int] = [*neighbours[:max_neighbours]]
        if len(shown) < len(neighbours):
            shown.append(len(neighbours) - len(shown))
        last = len(shown) - 1
        rows += [
            (below, _LAST if position == last else _BRANCH, shown[position], depth + 1)
            for position in range(last, -1, -1)
        ]
