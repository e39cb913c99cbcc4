"""Where the nodes of a drawing stand: in layers from left to right, each right of all that it rests on.

    layers (longest way) → order within each (fewer crossings) → heights (straighter edges)

Source: K. Sugiyama, S. Tagawa, M. Toda: Methods for Visual Understanding of Hierarchical System Structures (1981); the
heights of a layer are an isotonic regression, solved by pooling adjacent violators.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from mlver.lineage.graph import Edge, Lineage

_SWEEPS = 6
_MAX_BENDS = 20_000
"""More would make a picture that nobody can read, slowly: long edges are drawn straight then."""
_NODE_HEIGHT, _BEND_HEIGHT = 56.0, 14.0


@dataclass(frozen=True, slots=True)
class Layout:
    """A drawing's places.

    Attributes:
        layers: Ids of nodes by layer, from left to right, each from top to bottom.
        heights: The vertical middle of each node.
        routes: Of each edge, the layer and height of where it bends on its way.
    """

    layers: tuple[tuple[str, ...], ...]
    heights: Mapping[str, float]
    routes: Mapping[Edge, tuple[tuple[int, float], ...]]


def arrange(lineage: Lineage) -> Layout:
    """Return where to draw what."""
    layer_of = _layers(lineage)
    grid, chains = _with_bends(lineage, layer_of)
    above, below = _neighbours(chains.values())
    _order(grid, above, below)
    heights = _heights(grid, above, below)
    routes = {
        edge: tuple((layer_of[edge.source] + step, heights[bend]) for step, bend in enumerate(chain[1:-1], 1))
        for edge, chain in chains.items()
    }
    layers = tuple(tuple(node for node in layer if node in lineage.nodes) for layer in grid)
    return Layout(layers, {node: heights[node] for node in lineage.nodes}, routes)


def _layers(lineage: Lineage) -> dict[str, int]:
    """Return the layer of each node: right of all it rests on, and no further from what follows than it has to be."""
    order = _topological(lineage)
    place = {node: position for position, node in enumerate(order)}
    layer = dict.fromkeys(order, 0)
    for node in order:
        for child in lineage.next(node, "down"):
            if place[child] > place[node]:  # else the edge closes a circle
                layer[child] = max(layer[child], layer[node] + 1)
    for node in reversed(order):
        children = [layer[child] for child in lineage.next(node, "down") if place[child] > place[node]]
        if children and not lineage.next(node, "up"):
            layer[node] = min(children) - 1
    return layer


def _topological(lineage: Lineage) -> list[str]:
    """Return the nodes, each after what it rests on; where there is a circle, it is cut before its oldest node."""
    missing = {node: len(lineage.next(node, "up")) for node in lineage.nodes}
    ready = [node for node in reversed(list(lineage.nodes)) if not missing[node]]
    waiting = list(lineage.nodes)
    order: dict[str, None] = {}
    while len(order) < len(missing):
        while not ready:
            node = waiting.pop()
            if node not in order:
                ready.append(_oldest_of_circle(lineage, node, order))
        node = ready.pop()
        if node in order:
            continue
        order[node] = None
        for child in lineage.next(node, "down"):
            missing[child] -= 1
            if not missing[child] and child not in order:
                ready.append(child)
    return list(order)


def _oldest_of_circle(lineage: Lineage, node: str, order: Collection[str]) -> str:
    """Return the oldest node of a circle that a node rests on. Each that is left must rest on another that is left."""
    passed: dict[str, int] = {}
    while node not in passed:
        passed[node] = len(passed)
        node = next(parent for parent in lineage.next(node, "up") if parent not in order)
    circle = list(passed)[passed[node] :]
    return min(circle, key=lambda node: (lineage.nodes[node].at, node))


def _with_bends(lineage: Lineage, layer_of: Mapping[str, int]) -> tuple[list[list[str]], dict[Edge, list[str]]]:
    """Return the layers with a bend for each layer that an edge passes, and each edge as the chain of its bends."""
    grid: list[list[str]] = [[] for _ in range(max(layer_of.values(), default=-1) + 1)]
    for node, layer in layer_of.items():
        grid[layer].append(node)
    edges = list(lineage.edges())
    bends = sum(max(0, layer_of[edge.target] - layer_of[edge.source] - 1) for edge in edges)
    chains: dict[Edge, list[str]] = {}
    for number, edge in enumerate(edges):
        passed = range(layer_of[edge.source] + 1, layer_of[edge.target]) if bends <= _MAX_BENDS else ()
        names = [f"\0{number}:{layer}" for layer in passed]  # no name has a null in it
        for layer, name in zip(passed, names, strict=True):
            grid[layer].append(name)
        chains[edge] = [edge.source, *names, edge.target]
    return grid, chains


def _neighbours(chains: Iterable[list[str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    left: dict[str, list[str]] = {}
    right: dict[str, list[str]] = {}
    for chain in chains:
        for source, target in pairwise(chain):
            right.setdefault(source, []).append(target)
            left.setdefault(target, []).append(source)
    return left, right


def _order(grid: list[list[str]], left: Mapping[str, list[str]], right: Mapping[str, list[str]]) -> None:
    """Sort each layer by the mean place of its neighbours, from left to right and back, some times."""
    place = {node: float(position) for layer in grid for position, node in enumerate(layer)}
    for sweep in range(_SWEEPS):
        near = left if sweep % 2 == 0 else right
        for layer in grid if sweep % 2 == 0 else reversed(grid):
            layer.sort(key=lambda node: _mean([place[other] for other in near.get(node, ())], place[node]))
            place.update((node, float(position)) for position, node in enumerate(layer))


def _heights(grid: list[list[str]], left: Mapping[str, list[str]], right: Mapping[str, list[str]]) -> dict[str, float]:
    heights: dict[str, float] = {}
    for layer in grid:
        heights.update(zip(layer, _offsets(layer), strict=True))
    for sweep in range(_SWEEPS):
        near = left if sweep % 2 == 0 else right
        for layer in grid if sweep % 2 == 0 else reversed(grid):
            wanted = [_mean([heights[other] for other in near.get(node, ())], heights[node]) for node in layer]
            heights.update(zip(layer, _apart(wanted, _offsets(layer)), strict=True))
    top = min(heights.values(), default=0.0)
    return {node: height - top for node, height in heights.items()}


def _offsets(layer: list[str]) -> list[float]:
    """Return the heights of a layer's nodes, packed as closely as they may be."""
    offsets: list[float] = []
    at, before = 0.0, 0.0
    for node in layer:
        room = _BEND_HEIGHT if node.startswith("\0") else _NODE_HEIGHT
        at += (before + room) / 2 if offsets else 0.0
        before = room
        offsets.append(at)
    return offsets


def _apart(wanted: list[float], offsets: list[float]) -> list[float]:
    """Return heights as near to what is wanted as they can be, in this order and no closer than `offsets` are."""
    blocks: list[tuple[float, int]] = []  # the mean of what a block's members want, and how many they are
    for want, offset in zip(wanted, offsets, strict=True):
        mean, size = want - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, count = blocks.pop()
            mean, size = (other * count + mean * size) / (count + size), count + size
        blocks.append((mean, size))
    levels = [mean for mean, size in blocks for _ in range(size)]
    return [level + offset for level, offset in zip(levels, offsets, strict=True)]


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default
