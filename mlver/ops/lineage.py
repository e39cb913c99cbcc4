"""`lineage`: what a version or a run rests on, and what follows from it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from mlver.errors import NotFoundError
from mlver.history.records import RunRecord
from mlver.lineage.common import Common, common
from mlver.lineage.graph import (
    Direction,
    Grouping,
    Lineage,
    Node,
    collapse,
    lineage_of,
    on_the_way,
    part,
    reach,
    run_id,
    version_id,
)
from mlver.ops.either import find_either
from mlver.ops.opening import OpenRepository


@dataclass(frozen=True, slots=True)
class LineageRequest:
    """What is asked for.

    Attributes:
        references: Versions or runs; none for the whole graph.
        directions: To what they rest on, to what follows, or both.
        depth: At most so many steps away; None for all.
        types: Only what leads to versions of these types.
        job_types: Only what leads to runs of these job types.
        groupings: What is drawn as one.
        expanded: Artifacts, types and job types that are not, in spite of it.
    """

    references: Sequence[str] = ()
    directions: Sequence[Direction] = ("up", "down")
    depth: int | None = None
    types: Collection[str] = ()
    job_types: Collection[str] = ()
    groupings: Collection[Grouping] = ()
    expanded: Collection[str] = ()

    @property
    def has_filter(self) -> bool:
        """Whether only what leads to some types is wanted."""
        return bool(self.types or self.job_types)


@dataclass(frozen=True, slots=True)
class LineageResult:
    """A part of the graph.

    Attributes:
        roots: Ids of the nodes that were asked for, as they are in `lineage`; none for the whole graph.
        directions: In which directions it was looked.
        lineage: The part.
        matching: Ids of the nodes of the types asked for; all but the roots if none were.
    """

    roots: tuple[str, ...]
    directions: tuple[Direction, ...]
    lineage: Lineage
    matching: tuple[str, ...]


def lineage(repository: OpenRepository, request: LineageRequest) -> LineageResult:
    """Return what versions or runs rest on and what follows from them, or the whole graph.

    Raises:
        NotFoundError: There is no such version or run.
        UsageError: A revision is malformed, or an id ambiguous.
    """
    whole = read_lineage(repository)
    roots = [find_node(repository, whole, reference) for reference in request.references]
    _check_known(whole, request)
    if roots:
        chosen, found = _around(whole, roots, request)
    else:
        found = _matching(whole, whole.nodes, request)
        chosen = set(whole.nodes) if not request.has_filter else _between(whole, found)
    shown = part(whole, chosen)
    if request.groupings:
        shown = collapse(shown, request.groupings, request.expanded, roots)
        place = {member: node.id for node in shown.nodes.values() for member in node.members}
        found = list(dict.fromkeys(place.get(node, node) for node in found))
    return LineageResult(tuple(dict.fromkeys(roots)), tuple(request.directions), shown, tuple(found))


def compare_lineage(repository: OpenRepository, first: str, second: str) -> Common:
    """Return what two versions or runs have in common.

    Raises:
        NotFoundError: There is no such version or run.
        UsageError: A revision is malformed, or an id ambiguous.
    """
    whole = read_lineage(repository)
    return common(whole, *(find_node(repository, whole, reference) for reference in (first, second)))


def read_lineage(repository: OpenRepository) -> Lineage:
    """Return the whole graph, as of now."""
    from mlver.ops.runs.recover import recover

    recover(repository)
    repository.index.refresh()
    return lineage_of(repository.runs.graph())


def find_node(repository: OpenRepository, whole: Lineage, reference: str) -> str:
    """Return the id of the node that a revision means, or (`run:NAME`, an id of a run, a name of one) that of a run.

    `NAME:v4` also means a version that was removed, or that a run used and this repository does not have.

    Raises:
        NotFoundError: There is no such version or run.
        UsageError: The revision is malformed, or an id ambiguous.
    """
    if reference in whole.nodes:
        return reference
    found = find_either(repository, reference)
    return run_id(found.id) if isinstance(found, RunRecord) else version_id((found.artifact, found.number))


def _around(whole: Lineage, roots: Sequence[str], request: LineageRequest) -> tuple[set[str], list[str]]:
    chosen = set(roots)
    matching: dict[str, None] = {}
    for direction in request.directions:
        near = reach(whole, roots, direction, request.depth)
        found = _matching(whole, (node for node in near if node not in roots), request)
        matching.update(dict.fromkeys(found))
        chosen |= on_the_way(part(whole, near), roots, direction, found) if request.has_filter else set(near)
    return chosen, list(matching)


def _matching(whole: Lineage, nodes: Iterable[str], request: LineageRequest) -> list[str]:
    return [node for node in nodes if _matches(whole.nodes[node], request)]


def _matches(node: Node, request: LineageRequest) -> bool:
    if not request.has_filter:
        return True
    return node.type in (request.job_types if node.kind == "run" else request.types)


def _between(whole: Lineage, found: Sequence[str]) -> set[str]:
    """Return nodes with what lies between any two of them."""
    return set(found) | (reach(whole, found, "up").keys() & reach(whole, found, "down").keys())


def _check_known(whole: Lineage, request: LineageRequest) -> None:
    """Refuse types that nothing is of: an answer of nothing would look like one."""
    for wanted, kind, what in ((request.types, "version", "artifact"), (request.job_types, "run", "run")):
        known = {node.type for node in whole.nodes.values() if node.kind == kind and node.type}
        for name in wanted:
            if name not in known:
                word = "type" if kind == "version" else "job type"
                raise NotFoundError(
                    f"There is no {what} of {word} {name!r}.",
                    f"There are: {', '.join(sorted(known))}." if known else None,
                )
