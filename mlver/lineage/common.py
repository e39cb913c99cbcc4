"""What two versions have in common: what both rest on, and what both were used together with.

A test set is no ancestor of a model; it is beside the model among the inputs of an evaluation. So what is asked of two
models is also whether runs that follow from the one and the other read the same versions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlver.lineage.graph import Lineage, Node, reach


@dataclass(frozen=True, slots=True)
class Differing:
    """An artifact of which two versions met different versions: those that only one of them met."""

    artifact: str
    first: tuple[Node, ...]
    second: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Shared:
    """What is in common in one respect.

    Attributes:
        both: Versions and runs, the nearest first.
        differing: Artifacts of which different versions are meant, by name.
    """

    both: tuple[Node, ...]
    differing: tuple[Differing, ...]


@dataclass(frozen=True, slots=True)
class Common:
    """What two versions or runs have in common.

    Attributes:
        first: The one.
        second: The other.
        ancestors: What they rest on.
        companions: Versions that runs read which follow from them, or themselves.
    """

    first: Node
    second: Node
    ancestors: Shared
    companions: Shared


def common(lineage: Lineage, first: str, second: str) -> Common:
    """Return what two nodes have in common."""
    above = [reach(lineage, [node], "up") for node in (first, second)]
    beside = [companions(lineage, node) for node in (first, second)]
    return Common(
        lineage.nodes[first],
        lineage.nodes[second],
        _shared(lineage, above[0], above[1], {first, second}),
        _shared(lineage, beside[0], beside[1], set()),
    )


def companions(lineage: Lineage, node: str) -> dict[str, int]:
    """Return the versions that were read by runs that follow from a node, or with it, with the steps to the run.

    What the node rests on, and what follows from it, is not meant; nor are other versions of what follows from it,
    such as another model's predictions that an evaluation of several read.
    """
    below = reach(lineage, [node], "down")
    own = reach(lineage, [node], "up").keys() | below.keys()
    alike = {lineage.nodes[each].name for each in below if lineage.nodes[each].kind == "version" and each != node}
    found: dict[str, int] = {}
    for other, steps in below.items():
        if lineage.nodes[other].kind == "run" and other != node:
            for each in lineage.next(other, "up"):
                if each not in own and lineage.nodes[each].name not in alike:
                    found.setdefault(each, steps)
    return found


def _shared(lineage: Lineage, first: dict[str, int], second: dict[str, int], apart: set[str]) -> Shared:
    both = sorted((node for node in first if node in second and node not in apart), key=lambda node: first[node])
    # One of the two may rest on the other: that is in common.
    both += [node for node in apart if node in first and node in second]
    sides = [_by_artifact(lineage, side.keys() - set(both) - apart) for side in (first, second)]
    differing = tuple(
        Differing(name, tuple(sides[0][name]), tuple(sides[1][name]))
        for name in sorted(sides[0].keys() & sides[1].keys())
    )
    return Shared(tuple(lineage.nodes[node] for node in both), differing)


def _by_artifact(lineage: Lineage, nodes: Iterable[str]) -> dict[str, list[Node]]:
    found: dict[str, list[Node]] = {}
    for each in sorted(nodes):
        node = lineage.nodes[each]
        if node.kind == "version":
            found.setdefault(node.name, []).append(node)
    return found
