"""The graph as a picture: one SVG document that needs nothing else, runs no script, and fits light and dark pages."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from xml.sax.saxutils import escape

from mlver.lineage.graph import Edge, Lineage, Node
from mlver.lineage.layout import Layout, arrange
from mlver.lineage.markup import caption

_MARGIN, _GAP, _LEGEND = 24.0, 70.0, 34.0
_NODE_HEIGHT, _CHARACTER, _PADDING = 40.0, 6.8, 24.0
_MAX_CHARACTERS = 38
_HUES = (212, 152, 280, 22, 340, 186, 90, 48)
"""Of types of artifacts; runs are grey, so that both are told apart at a glance, by shape without colour too."""

_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #222; }
  .what { font-size: 10.5px; fill: #666; }
  .edge { fill: none; stroke: #999; stroke-width: 1.2; }
  .tip { fill: #999; }
  .derived { stroke-dasharray: 5 3; }
  .run { fill: #f4f4f4; stroke: #888; }
  .bad { stroke: #c33; }
  .faint { opacity: .55; }
  .root { stroke-width: 3; }
  @media (prefers-color-scheme: dark) {
    text { fill: #eee; } .what { fill: #aaa; } .edge { stroke: #777; } .tip { fill: #777; } .run { fill: #333; }
  }"""

_TIP = (
    '  <defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>'
)


def svg(lineage: Lineage, roots: Collection[str] = ()) -> str:
    """Return the picture; `roots` have a thick border."""
    layout = arrange(lineage)
    types = sorted({node.type for node in lineage.nodes.values() if node.kind == "version"})
    lefts, widths = _columns(lineage, layout)
    width = max(lefts[-1] + widths[-1] if lefts else 0.0, _legend_width(types)) + _MARGIN
    height = max(layout.heights.values(), default=0.0) + _NODE_HEIGHT + 2 * _MARGIN + _LEGEND
    picture = _Picture(lineage, layout, lefts, widths, types, roots)
    lines = [
        _opening(width, height),
        "  <title>Lineage</title>",
        f"  <style>{_STYLE}{_colours(types)}\n  </style>",
        _TIP,
        *picture.edges(),
        *picture.nodes(),
        *_legend(types, height - _LEGEND),
        "</svg>",
    ]
    return "\n".join(lines)


def _opening(width: float, height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img">'
    )


class _Picture:
    """What is drawn where, in pixels."""

    def __init__(
        self,
        lineage: Lineage,
        layout: Layout,
        lefts: Sequence[float],
        widths: Sequence[float],
        types: Sequence[str],
        roots: Collection[str],
    ) -> None:
        self._lineage = lineage
        self._layout = layout
        self._lefts = lefts
        self._widths = widths
        self._types = types
        self._roots = roots
        self._layer = {node: number for number, layer in enumerate(layout.layers) for node in layer}

    def nodes(self) -> Iterator[str]:
        """Yield boxes for versions and rounded ones for runs, with a label and (for the mouse) their whole names."""
        for node in self._lineage.nodes.values():
            left, middle = self._lefts[self._layer[node.id]], self._middle(node.id)
            wide = self._widths[self._layer[node.id]]
            title, what = caption(node)
            rounding = _NODE_HEIGHT / 2 if node.kind == "run" else 4
            yield (
                f"  <g><title>{_text(f'{title} {what} {node.id}')}</title>"
                f'<rect class="{self._classes(node)}" x="{left:.1f}" y="{middle - _NODE_HEIGHT / 2:.1f}" '
                f'width="{wide:.1f}" height="{_NODE_HEIGHT:.0f}" rx="{rounding:.0f}"/>'
                f'<text x="{left + wide / 2:.1f}" y="{middle - 3:.1f}" text-anchor="middle">{_text(_cut(title))}</text>'
                f'<text class="what" x="{left + wide / 2:.1f}" y="{middle + 12:.1f}" text-anchor="middle">'
                f"{_text(_cut(what))}</text></g>"
            )

    def edges(self) -> Iterator[str]:
        """Yield curves from right edges to left edges."""
        for edge, bends in self._layout.routes.items():
            derived = " derived" if edge.kind == "derived" else ""
            yield f'  <path class="edge{derived}" marker-end="url(#tip)" d="{self._curve(edge, bends)}"/>'

    def _curve(self, edge: Edge, bends: Sequence[tuple[int, float]]) -> str:
        at = self._layer[edge.source]
        points = [(self._lefts[at] + self._widths[at], self._middle(edge.source))]
        for layer, height in bends:
            y = self._pixel(height)
            # Straight across the column, so that it does not pass over the boxes above and below.
            points += [(self._lefts[layer], y), (self._lefts[layer] + self._widths[layer], y)]
        points.append((self._lefts[self._layer[edge.target]], self._middle(edge.target)))
        path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
        for (x0, y0), (x1, y1) in pairwise(points):
            bend = max(abs(x1 - x0) / 2, 20.0)
            path += f"C{x0 + bend:.1f} {y0:.1f} {x1 - bend:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
        return path

    def _middle(self, node: str) -> float:
        return self._pixel(self._layout.heights[node])

    @staticmethod
    def _pixel(height: float) -> float:
        return height + _MARGIN + _NODE_HEIGHT / 2

    def _classes(self, node: Node) -> str:
        classes = ["run" if node.kind == "run" else f"t{self._types.index(node.type)}"]
        if node.status in ("failed", "killed", "lost"):
            classes.append("bad")
        if node.status in ("removed", "unknown"):
            classes.append("faint")
        return " ".join([*classes, "root"] if node.id in self._roots else classes)


def _columns(lineage: Lineage, layout: Layout) -> tuple[list[float], list[float]]:
    """Return where each column begins, and how wide it is."""
    lefts: list[float] = []
    widths: list[float] = []
    at = _MARGIN
    for layer in layout.layers:
        labels = [len(_cut(line)) for node in layer for line in caption(lineage.nodes[node])]
        widths.append(max(labels, default=4) * _CHARACTER + _PADDING)
        lefts.append(at)
        at += widths[-1] + _GAP
    return lefts, widths


def _colours(types: Sequence[str]) -> str:
    light = "".join(
        f"\n  .t{number} {{ fill: hsl({_hue(number)} 75% 92%); stroke: hsl({_hue(number)} 50% 45%); }}"
        for number in range(len(types))
    )
    dark = " ".join(f".t{number} {{ fill: hsl({_hue(number)} 40% 22%); }}" for number in range(len(types)))
    return f"{light}\n  @media (prefers-color-scheme: dark) {{ {dark} }}"


def _hue(number: int) -> int:
    return _HUES[number % len(_HUES)]


def _legend(types: Sequence[str], top: float) -> Iterator[str]:
    """Yield what the colours and shapes mean, in a row at the bottom."""
    yield f'  <g transform="translate({_MARGIN:.0f} {top:.0f})">'
    at = 0.0
    for number, name in enumerate([*types, "run"]):
        is_run = number == len(types)
        label = name if is_run else name or "not known here"
        look = 'class="run" rx="7"' if is_run else f'class="t{number}" rx="3"'
        yield f'    <rect {look} x="{at:.0f}" y="0" width="22" height="14"/>'
        yield f'    <text class="what" x="{at + 28:.0f}" y="11">{_text(_cut(label))}</text>'
        at += _legend_entry(label)
    yield "  </g>"


def _legend_width(types: Sequence[str]) -> float:
    return _MARGIN + sum(map(_legend_entry, [*types, "run"]))


def _legend_entry(label: str) -> float:
    return 28 + len(_cut(label)) * _CHARACTER + 20


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 1]}…"


def _text(text: str) -> str:
    """Escape for XML, which has no control characters at all."""
    return escape("".join(char if char.isprintable() else "�" for char in text))
