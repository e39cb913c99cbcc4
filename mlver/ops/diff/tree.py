"""Changed tensors rolled up along the module tree, so that a thousand of them read as a page.

A module's numbers are those of its changed tensors of floating point, but for single numbers such as the steps of an
optimiser, which would drown everything else; counts include all of its tensors.
"""

from __future__ import annotations

import functools
import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from mlver.differences.element_kinds import Kind
from mlver.differences.figures import Figures
from mlver.differences.rank import Rank
from mlver.ops.diff.result import TensorChanges, TensorPair
from mlver.ops.diff.tensors import natural_order

Sort = Literal["change", "max", "cosine", "elements", "size", "name"]
SORTS: tuple[Sort, ...] = get_args(Sort)
_MOST = 0.6
"""Share of the change that makes a module the main one."""
_ALIKE = 1.5
"""How many times the smallest change the largest may be where tensors changed alike."""
_LEAST_SHOWN = 8
"""Parts of a module that are shown at least, if it has so many."""
_PART = 0.6
"""Share of the tensors above which a module is nearly the whole model."""


@dataclass(slots=True)
class Module:
    """A module, or a single tensor.

    Attributes:
        name: Its full name; empty for the whole model.
        total: Tensors in it, after.
        changed: How many of them are not what they were.
        figures: Of its changed floating-point tensors, if they were measured; of a single tensor, its own.
        weight: Its part in the change of the model: relative changes, by elements; see `_weight`.
        pair: The tensor, if it is a single one.
        children: Its parts, by the next component of their names.
    """

    name: str
    total: int = 0
    changed: int = 0
    figures: Figures | None = None
    weight: float = 0.0
    pair: TensorPair | None = None
    children: dict[str, Module] = field(default_factory=dict)

    @property
    def rank(self) -> Rank | None:
        """The largest rank of the change of a matrix in it."""
        ranks = [leaf.pair.rank for leaf in _leaves(self) if leaf.pair is not None and leaf.pair.rank is not None]
        return max(ranks, default=None)

    @property
    def relative_change(self) -> float | None:
        """‖Δ‖ / ‖from‖ over its changed tensors."""
        return None if self.figures is None else self.figures.relative_change


def module_tree(tensors: TensorChanges) -> Module:
    """Return all tensors there are after, as a tree. A module with a single part and nothing else is that part."""
    root = Module("")
    for name in (*tensors.unchanged, *(pair.name for pair in tensors.moved)):
        _insert(root, name).total = 1
    for pair in tensors.changed:
        leaf = _insert(root, pair.name)
        leaf.pair, leaf.total, leaf.changed, leaf.weight = pair, 1, 1, _weight(pair)
    _add_up(root)
    return _folded(root)


def _insert(root: Module, name: str) -> Module:
    node = root
    parts = name.split(".")
    for depth, part in enumerate(parts, 1):
        if part not in node.children:
            node.children[part] = Module(".".join(parts[:depth]))
        node = node.children[part]
    return node


def _add_up(node: Module) -> Figures | None:
    """Give a module what its parts come to, and return the figures that count in the modules it is in."""
    pair = node.pair
    own = pair.figures if pair is not None and pair.kind is Kind.FLOAT else None
    found = own if own is not None and own.elements > 1 else None
    for child in node.children.values():
        part = _add_up(child)
        found = part if found is None else found if part is None else found.plus(part)
        node.total += child.total
        node.changed += child.changed
        node.weight += child.weight
    node.figures = found if pair is None else own
    return found


def _weight(pair: TensorPair) -> float:
    """Return the square of the relative change, by elements: no unit of any tensor outweighs the others.

    What was zero counts as changed by as much as it is, and so does that in which NaN or infinities appeared.
    Unmeasured tensors count by their elements alone.
    """
    count = math.prod(pair.after.shape)
    if pair.figures is not None and pair.figures.appeared:
        return float(count)
    relative = pair.relative_change if pair.kind is Kind.FLOAT else None
    if relative is None:
        return 0.0 if pair.figures is not None else float(count)
    return count * min(1.0, relative) ** 2 if not math.isnan(relative) else float(count)


def _folded(node: Module) -> Module:
    node.children = {part: _folded(child) for part, child in node.children.items()}
    if len(node.children) == 1 and node.name and node.pair is None:
        (child,) = node.children.values()
        if child.total == node.total:
            return child
    return node


def main_module(root: Module) -> Module | None:
    """Return the smallest module that holds most of the change, unless that is the whole model or nearly so."""
    node = root
    while True:
        best = max(node.children.values(), key=lambda child: child.weight, default=None)
        if best is None or best.weight < _MOST * root.weight:
            break
        node = best
    is_part = bool(node.name) and root.weight > 0 and node.total <= _PART * root.total
    return node if is_part else None


class Line(NamedTuple):
    """A module on the page.

    Attributes:
        depth: How many modules on the page it is in.
        label: Its name within the one that it is in.
        module: The module.
        rest_count: How many modules it stands for, if it is those that were left out.
    """

    depth: int
    label: str
    module: Module
    rest_count: int = 0


def page(root: Module, rows: int, sort: Sort = "change") -> list[Line]:
    """Return about so many modules at most: those that changed, opened where most of the change is.

    A module all of whose tensors changed alike has nothing more to tell, and stays closed.
    """
    shown: dict[int, int] = {}
    left = rows
    heap = [(0.0, 0, root)]
    count = 1
    while heap and left > 0:
        _, _, node = heapq.heappop(heap)
        parts = _changed_parts(node, "change")
        if not parts or (node is not root and (_is_uniform(node) or left < min(len(parts), _LEAST_SHOWN))):
            continue
        shown[id(node)] = len(parts) if len(parts) <= left else max(_LEAST_SHOWN, left // 2)
        left -= shown[id(node)]
        for child in parts[: shown[id(node)]]:
            heapq.heappush(heap, (-child.weight, count, child))
            count += 1
    return list(_lines(root, 0, sort, lambda node, _: shown.get(id(node), 0)))


def to_depth(root: Module, depth: int, sort: Sort = "change") -> list[Line]:
    """Return all changed modules down to a depth."""
    return list(_lines(root, 0, sort, lambda node, level: len(node.children) if level < depth else 0))


def single_tensors(root: Module, sort: Sort = "change") -> list[Line]:
    """Return all changed tensors, without modules."""
    return [Line(0, node.name, node) for node in sorted(_leaves(root), key=_KEYS[sort])]


def _leaves(node: Module) -> Iterator[Module]:
    if node.pair is not None:
        yield node
    for child in node.children.values():
        yield from _leaves(child)


def _changed_parts(node: Module, sort: Sort) -> list[Module]:
    """Return the parts of a module that changed; for one with a single changed part, that part."""
    return sorted((_narrowed(child) for child in node.children.values() if child.changed), key=_KEYS[sort])


def _narrowed(node: Module) -> Module:
    while True:
        changed = [child for child in node.children.values() if child.changed]
        if len(changed) != 1 or node.pair is not None:
            return node
        node = changed[0]


def _is_uniform(node: Module) -> bool:
    """Tell whether all tensors in a module changed, and about as much."""
    changes = [leaf.relative_change for leaf in _leaves(node)]
    known = [change for change in changes if change]  # a cast leaves some as they are
    if node.changed < node.total or None in changes or not known:
        return False
    return max(known) <= _ALIKE * min(known)


def _lines(node: Module, depth: int, sort: Sort, shown: Callable[[Module, int], int]) -> Iterator[Line]:
    """Yield so many parts of a module as `shown` says, those with the largest change, and what is left in one line."""
    count = shown(node, depth)
    if not count:
        return
    chosen = {id(child) for child in _changed_parts(node, "change")[:count]}
    rest = []
    for child in _changed_parts(node, sort):
        if id(child) not in chosen:
            rest.append(child)
            continue
        yield Line(depth, child.name[len(node.name) + 1 :] if node.name else child.name, child)
        yield from _lines(child, depth + 1, sort, shown)
    if rest:
        yield Line(depth, f"… {len(rest):,} more", _together(rest), len(rest))


def _together(modules: Sequence[Module]) -> Module:
    both = Module("", sum(module.total for module in modules), sum(module.changed for module in modules))
    measured = [module.figures for module in modules if module.figures is not None]
    both.figures = functools.reduce(Figures.plus, measured) if measured else None
    return both


def _falling(measure: Callable[[Figures], float | None]) -> Callable[[Module], Any]:
    """Return a sort key: the largest first, what has no figure last, equal ones by name."""

    def key(node: Module) -> Any:
        value = None if node.figures is None else measure(node.figures)
        known = value is not None and not math.isnan(value)
        return (not known, -value if known and value is not None else 0.0, natural_order(node.name))

    return key


_KEYS: dict[Sort, Callable[[Module], Any]] = {
    "change": _falling(lambda figures: math.inf if figures.appeared else figures.relative_change),
    "max": _falling(lambda figures: figures.max_abs),
    "cosine": _falling(lambda figures: None if figures.cosine is None else -figures.cosine),
    "elements": _falling(lambda figures: figures.changed_fraction),
    "size": _falling(lambda figures: figures.elements),
    "name": lambda node: natural_order(node.name),
}
