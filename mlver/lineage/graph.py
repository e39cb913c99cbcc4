"""The graph of versions and runs, walked: pure functions on values, which every view of lineage is made of.

    index → records.Graph → **Lineage** → a part of it → collapsed → tree, dot, Mermaid, SVG, JSON

An edge leads from what came first to what followed: version → run that used it → version that it made. Circles cannot
be made in one repository, but two machines that knew nothing of each other can have made one: every walk expects them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mlver.history.records import Graph, RunNode, VersionKey, VersionNode

Direction = Literal["up", "down"]
Grouping = Literal["artifact", "type", "job-type"]


class Node(NamedTuple):
    """A version, a run, or (collapsed) several of one kind.

    Attributes:
        id: `NAME:vN` of a version, `run:ID` of a run; `artifact:NAME`, `type:NAME`, `job-type:NAME` of several.
        kind: `version` or `run`.
        title: What it is called.
        name: Of the artifact, or of the run; empty where it has none.
        type: Of the artifact, or job type of the run; empty where it has none.
        status: Of a run; of a version `removed`, `unknown` if this repository does not have it, else empty.
        at: When, as ISO 8601; of several the newest.
        members: Ids of those that were collapsed; empty for one.
        manifest: Id of a version's content.
    """

    id: str
    kind: Literal["version", "run"]
    title: str
    name: str
    type: str
    status: str = ""
    at: str = ""
    members: tuple[str, ...] = ()
    manifest: str | None = None


class Edge(NamedTuple):
    """`used` (version → run), `made` (run → version) or `derived` (version → version that was added without a run)."""

    source: str
    target: str
    kind: Literal["used", "made", "derived"]


@dataclass(frozen=True, slots=True)
class Lineage:
    """Versions and runs, and what followed from what.

    Attributes:
        nodes: By id.
        parents: What each node rests on directly; a node without has no entry.
        children: What follows from each directly.
    """

    nodes: Mapping[str, Node]
    parents: Mapping[str, list[str]]
    children: Mapping[str, list[str]]

    def edges(self) -> Iterator[Edge]:
        """Yield what leads from one node to another."""
        for source, targets in self.children.items():
            for target in targets:
                yield Edge(source, target, self._kind(source, target))

    def next(self, node: str, direction: Direction) -> list[str]:
        """Return the ids of what a node rests on (`up`) or of what follows from it (`down`), one step away."""
        return (self.parents if direction == "up" else self.children).get(node, [])

    def _kind(self, source: str, target: str) -> Literal["used", "made", "derived"]:
        if self.nodes[target].kind == "run":
            return "used"
        return "made" if self.nodes[source].kind == "run" else "derived"


def version_id(key: VersionKey) -> str:
    """Return the id of a version's node."""
    return f"{key[0]}:v{key[1]}"


def run_id(run: str) -> str:
    """Return the id of a run's node."""
    return f"run:{run}"


def lineage_of(graph: Graph) -> Lineage:
    """Return the graph with each node's neighbours at hand."""
    nodes = {version_id(key): _version(key, version) for key, version in graph.versions.items()}
    nodes.update((run_id(run), _run(node)) for run, node in graph.runs.items())
    pairs = [(version_id(key), run_id(run)) for key, run in graph.used if run in graph.runs]
    pairs += [(run_id(run), version_id(key)) for run, key in graph.made]
    pairs += [(version_id(source), version_id(target)) for source, target in graph.derived]
    return _joined(nodes, pairs)


def reach(lineage: Lineage, starts: Iterable[str], direction: Direction, depth: int | None = None) -> dict[str, int]:
    """Return what can be reached, the starts included, with how many steps it takes; the nearest first.

    Args:
        lineage: The graph.
        starts: From where.
        direction: To what they rest on, or to what follows.
        depth: At most so many steps; a run is one, its versions the next.
    """
    steps = dict.fromkeys(starts, 0)
    edge = list(steps)
    distance = 0
    while edge and (depth is None or distance < depth):
        distance += 1
        following: list[str] = []
        for node in edge:
            for neighbour in lineage.next(node, direction):
                if neighbour not in steps:
                    steps[neighbour] = distance
                    following.append(neighbour)
        edge = following
    return steps


def part(lineage: Lineage, chosen: Collection[str]) -> Lineage:
    """Return some nodes with the edges between them."""
    kept = {node: value for node, value in lineage.nodes.items() if node in chosen}

    def within(neighbours: Mapping[str, list[str]]) -> dict[str, list[str]]:
        inner = {node: [each for each in neighbours.get(node, ()) if each in kept] for node in kept}
        return {node: near for node, near in inner.items() if near}

    return Lineage(kept, within(lineage.parents), within(lineage.children))


def on_the_way(lineage: Lineage, starts: Collection[str], direction: Direction, wanted: Collection[str]) -> set[str]:
    """Return the nodes on the ways from some nodes to those that are wanted, all of these included."""
    ahead = reach(lineage, starts, direction)
    goals = [node for node in wanted if node in ahead]
    back = reach(lineage, goals, "down" if direction == "up" else "up")
    return {*starts, *(node for node in ahead if node in back)}


def collapse(
    lineage: Lineage, groupings: Collection[Grouping], expanded: Collection[str] = (), apart: Collection[str] = ()
) -> Lineage:
    """Return the graph with several nodes drawn as one.

    Args:
        lineage: The graph.
        groupings: Versions by artifact or by type, runs by job type. Both of versions: by type.
        expanded: Artifacts, types and job types that stay as they are.
        apart: Ids of nodes that stay as they are.
    """
    groups: dict[str, list[str]] = {}
    for node in lineage.nodes.values():
        group = None if node.id in apart or node.name in expanded or node.type in expanded else _group(node, groupings)
        if group is not None:
            groups.setdefault(group, []).append(node.id)
    several = {group: members for group, members in groups.items() if len(members) > 1}
    place = {member: group for group, members in several.items() for member in members}
    nodes = {node.id: node for node in lineage.nodes.values() if node.id not in place}
    nodes.update((group, _collapsed(lineage, group, members)) for group, members in several.items())
    pairs = ((place.get(edge.source, edge.source), place.get(edge.target, edge.target)) for edge in lineage.edges())
    return _joined(nodes, (pair for pair in pairs if pair[0] != pair[1]))


def _joined(nodes: Mapping[str, Node], pairs: Iterable[tuple[str, str]]) -> Lineage:
    parents: dict[str, list[str]] = {}
    children: dict[str, list[str]] = {}
    for source, target in dict.fromkeys(pairs):
        children.setdefault(source, []).append(target)
        parents.setdefault(target, []).append(source)
    return Lineage(nodes, parents, children)


def _version(key: VersionKey, version: VersionNode) -> Node:
    name = version_id(key)
    status = "removed" if version.removed else "" if version.created_at else "unknown"
    return Node(name, "version", name, version.artifact, version.type, status, version.created_at, (), version.id)


def _run(run: RunNode) -> Node:
    title = f"{run.name} ({run.id[:8]})" if run.name else run.id[:8]
    return Node(run_id(run.id), "run", title, run.name or "", run.job_type or "", run.status, run.started_at)


def _group(node: Node, groupings: Collection[Grouping]) -> str | None:
    if node.kind == "run":
        return f"job-type:{node.type}" if "job-type" in groupings and node.type else None
    if "type" in groupings and node.type:
        return f"type:{node.type}"
    return f"artifact:{node.name}" if "artifact" in groupings else None


def _collapsed(lineage: Lineage, group: str, members: list[str]) -> Node:
    nodes = [lineage.nodes[member] for member in members]
    title = group.partition(":")[2]
    statuses = {node.status for node in nodes}
    is_named = len({node.name for node in nodes}) == 1
    return Node(
        group,
        nodes[0].kind,
        title,
        nodes[0].name if is_named else "",
        nodes[0].type,
        statuses.pop() if len(statuses) == 1 else "",
        max(node.at for node in nodes),
        tuple(members),
    )
