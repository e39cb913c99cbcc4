"""How lineage is shown: as trees for people, as nodes and edges in JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mlver.cli.output import Output, Piece
from mlver.cli.run_views import status_piece
from mlver.cli.style import Styled
from mlver.cli.text import count
from mlver.lineage.common import Common, Differing, Shared
from mlver.lineage.graph import Direction, Node
from mlver.lineage.tree import TreeRow, tree_rows
from mlver.ops.lineage import LineageResult

_MAX_DEPTH = 24
_MAX_NEIGHBOURS = 20
_TITLES: dict[Direction, str] = {"up": "Rests on", "down": "Followed by"}


def lineage_document(result: LineageResult) -> dict[str, Any]:
    """Return the graph as nodes and edges."""
    return {
        "roots": list(result.roots),
        "nodes": [node_document(node) for node in result.lineage.nodes.values()],
        "edges": [{"source": edge.source, "target": edge.target, "kind": edge.kind} for edge in result.lineage.edges()],
    }


def node_document(node: Node) -> dict[str, Any]:
    """Return a version, a run, or several that were collapsed."""
    return {
        "id": node.id,
        "kind": node.kind,
        "title": node.title,
        "name": node.name or None,
        "type": node.type or None,
        "status": node.status or None,
        "at": node.at or None,
        "manifest": node.manifest,
        "members": list(node.members),
    }


def show_tree(out: Output, result: LineageResult, *, is_whole: bool) -> None:
    """Draw what was asked for as trees: one for what it rests on, one for what follows."""
    lineage = result.lineage
    with out.paged():
        if not result.roots:
            _whole(out, result)
            return
        for position, root in enumerate(result.roots):
            for turn, direction in enumerate(result.directions):
                if position or turn:
                    out.line()
                out.heading(f"{_TITLES[direction]}:")
                limits = (None, None) if is_whole else (_MAX_DEPTH, _MAX_NEIGHBOURS)
                for row in tree_rows(lineage, root, direction, *limits):
                    _row(out, row)


def _whole(out: Output, result: LineageResult) -> None:
    """Draw the whole graph, from what rests on nothing; what is only in a circle comes last."""
    lineage = result.lineage
    drawn: set[str] = set()
    sources = [node for node in lineage.nodes if not lineage.next(node, "up")]
    for source in [*sources, *lineage.nodes]:
        if source in drawn:
            continue
        for row in tree_rows(lineage, source, "down", None, None, drawn):
            _row(out, row)
    if not lineage.nodes:
        out.note("There is nothing yet.")


def _row(out: Output, row: TreeRow) -> None:
    if row.node is None:
        out.line(Styled(row.indent, "muted"), Styled(f"… {row.hidden_count:,} more (--all)", "muted"))
        return
    out.line(Styled(row.indent, "muted"), *node_pieces(row.node), *_remark(row))


def _remark(row: TreeRow) -> Iterator[Piece]:
    if row.is_repeated:
        yield Styled("  (see above)", "muted")
    elif row.hidden_count:
        yield Styled(f"  … {row.hidden_count:,} further (--depth, --all)", "muted")


def node_pieces(node: Node) -> Iterator[Piece]:
    """Yield a node on one line: what it is called, and what it is."""
    if node.kind == "run":
        yield Styled("run ", "keyword")
    yield Styled(node.title, "name")
    if node.members:
        yield f" ({count(len(node.members), node.kind)})"
    if node.type and node.type != node.title:
        yield Styled(f"  {node.type}", "muted")
    if node.status == "unknown":
        yield Styled("  not known here", "warning")
    elif node.status:
        yield "  "
        yield status_piece(node.status)


def common_document(found: Common) -> dict[str, Any]:
    """Return what two versions have in common."""
    return {
        "first": node_document(found.first),
        "second": node_document(found.second),
        "ancestors": _shared_document(found.ancestors),
        "companions": _shared_document(found.companions),
    }


def _shared_document(shared: Shared) -> dict[str, Any]:
    return {
        "both": [node_document(node) for node in shared.both],
        "differing": [
            {
                "artifact": differing.artifact,
                "first": [node.id for node in differing.first],
                "second": [node.id for node in differing.second],
            }
            for differing in shared.differing
        ],
    }


def show_common(out: Output, found: Common) -> None:
    """Say what two versions have in common, and where they differ."""
    _show_shared(out, "Both rest on:", found.ancestors)
    out.line()
    _show_shared(out, "Read with them, by runs that followed:", found.companions)


def _show_shared(out: Output, title: str, shared: Shared) -> None:
    out.heading(title)
    same: dict[str, list[Node]] = {}
    for node in shared.both:
        same.setdefault(node.name if node.kind == "version" else node.id, []).append(node)
    rows = [_shared_row(nodes) for nodes in same.values()]
    rows += [_differing_row(differing) for differing in shared.differing]
    if rows:
        out.fields(rows)
    else:
        out.line(Styled("nothing that is known", "muted"))


def _shared_row(nodes: Sequence[Node]) -> tuple[str, Piece]:
    first = nodes[0]
    if first.kind == "run":
        return f"run {first.title}", Styled("the same", "good")
    return first.name, Styled(f"the same: {_numbers(nodes)}", "good")


def _differing_row(differing: Differing) -> tuple[str, Piece]:
    sides = f"{_numbers(differing.first)} for the first, {_numbers(differing.second)} for the second"
    return differing.artifact, Styled(f"not the same: {sides}", "warning")


def _numbers(nodes: Sequence[Node]) -> str:
    shown = ", ".join(node.id.rpartition(":")[2] for node in nodes[:5])
    return shown if len(nodes) <= 5 else f"{shown}, … ({len(nodes):,})"
