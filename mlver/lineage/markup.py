"""The graph in the languages of Graphviz and Mermaid. Every name is escaped: anyone may have chosen it.

Source: https://graphviz.org/doc/info/lang.html (ID), https://mermaid.js.org/syntax/flowchart.html (entity codes).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from mlver.lineage.graph import Lineage, Node

MERMAID_MAX_EDGES = 500
"""What Mermaid draws unless its configuration says otherwise."""


def caption(node: Node) -> tuple[str, str]:
    """Return the two lines that a node is labelled with: what it is called, and what it is."""
    words = [node.type, node.status if node.status not in ("finished", "") else ""]
    title = node.title
    if node.members:
        title = f"{title} ({len(node.members):,} {node.kind}s)"
    return title, ", ".join(word for word in words if word) or node.kind


def dot(lineage: Lineage, roots: Collection[str] = ()) -> str:
    """Return the graph for Graphviz; `roots` are drawn bold."""
    return "\n".join(["digraph lineage {", *_dot_lines(lineage, roots), "}"])


def _dot_lines(lineage: Lineage, roots: Collection[str]) -> Iterator[str]:
    yield "  rankdir=LR;"
    yield '  node [fontname="sans-serif", fontsize=11, style="filled,rounded", fillcolor="#f5f5f5", shape=box];'
    yield '  edge [color="#808080"];'
    for node in lineage.nodes.values():
        look = 'shape=ellipse, style=filled, fillcolor="#fff3d6"' if node.kind == "run" else 'fillcolor="#e3eefc"'
        weight = ", penwidth=2.5" if node.id in roots else ""
        first, second = (_dot_text(line) for line in caption(node))
        yield f'  "{_dot_text(node.id)}" [label="{first}\\n{second}", {look}{weight}];'
    for edge in lineage.edges():
        dashed = " [style=dashed]" if edge.kind == "derived" else ""
        yield f'  "{_dot_text(edge.source)}" -> "{_dot_text(edge.target)}"{dashed};'


def _dot_text(text: str) -> str:
    """Escape for a quoted ID, in which a label's backslashes mean something too."""
    return _one_line(text).replace("\\", "\\\\").replace('"', '\\"')


def mermaid(lineage: Lineage, roots: Collection[str] = ()) -> str:
    """Return the graph for Mermaid, as Markdown of GitHub and others shows it; `roots` are drawn bold."""
    return "\n".join(["flowchart LR", *_mermaid_lines(lineage, roots)])


def _mermaid_lines(lineage: Lineage, roots: Collection[str]) -> Iterator[str]:
    keys = {node: f"n{position}" for position, node in enumerate(lineage.nodes)}
    for node in lineage.nodes.values():
        label = "<br/>".join(_mermaid_text(line) for line in caption(node))
        yield f'  {keys[node.id]}(["{label}"]):::run' if node.kind == "run" else f'  {keys[node.id]}["{label}"]'
    for edge in lineage.edges():
        arrow = "-.->" if edge.kind == "derived" else "-->"
        yield f"  {keys[edge.source]} {arrow} {keys[edge.target]}"
    yield "  classDef run fill:#fff3d6,stroke:#b58900,color:#222"
    yield from (f"  style {keys[root]} stroke-width:3px" for root in roots if root in keys)


def _mermaid_text(text: str) -> str:
    """Escape all that could end a label, begin another, or be HTML: every character but plain ones becomes a code."""
    return "".join(char if char.isalnum() or char in " .,:_-()/" else f"#{ord(char)};" for char in _one_line(text))


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "�" for char in text)
