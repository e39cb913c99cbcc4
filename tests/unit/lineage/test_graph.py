"""The graph, walked, collapsed and drawn; with circles, which two machines may have made of it."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mlver.history.records import Graph, RunNode, VersionNode
from mlver.ids import ManifestId, RunId
from mlver.lineage.common import common
from mlver.lineage.graph import Lineage, collapse, lineage_of, on_the_way, part, reach
from mlver.lineage.layout import arrange
from mlver.lineage.markup import dot, mermaid
from mlver.lineage.svg import svg
from mlver.lineage.tree import tree_rows

HOSTILE = '</text><script>x</script>"];\n--> \x1b[31m&amp; \\'


def made_of(*runs: tuple[str, str, str], derived: tuple[tuple[str, str], ...] = (), job: str = "train") -> Lineage:
    """Return a graph of runs `(name, used, made)`, both lists of words such as `a0 b1`; a letter is a type too."""
    words = {word for _, used, made in runs for word in (*used.split(), *made.split())} | {
        word for pair in derived for word in pair
    }
    versions = {
        (word[0], int(word[1:])): VersionNode(word[0], f"of-{word[0]}", int(word[1:]), ManifestId("m"), "2026", False)
        for word in sorted(words)
    }
    graph = Graph(versions, {}, [], [], [])
    for position, (name, used, made) in enumerate(runs):
        run = RunId(name)
        graph.runs[run] = RunNode(run, None, job, "finished", f"2026-01-{position:02}")
        graph.used.extend(((word[0], int(word[1:])), run) for word in used.split())
        graph.made.extend((run, (word[0], int(word[1:]))) for word in made.split())
    graph.derived.extend(((one[0], int(one[1:])), (other[0], int(other[1:]))) for one, other in derived)
    return lineage_of(graph)


CIRCLE = made_of(("one", "a0 b0", "b1"), ("two", "b1", "a0"))


def test_steps() -> None:
    lineage = made_of(("one", "a0 a1", "b0"), ("two", "b0", "c0"), derived=(("c0", "d0"),))
    assert reach(lineage, ["b:v0"], "up") == {"b:v0": 0, "run:one": 1, "a:v0": 2, "a:v1": 2}
    assert reach(lineage, ["b:v0"], "down", 3) == {"b:v0": 0, "run:two": 1, "c:v0": 2, "d:v0": 3}
    assert reach(lineage, ["b:v0"], "down", 0) == {"b:v0": 0}
    assert reach(CIRCLE, ["a:v0"], "up").keys() == {"a:v0", "run:two", "b:v1", "run:one", "b:v0"}
    kinds = {(edge.source, edge.target): edge.kind for edge in lineage.edges()}
    assert kinds[("a:v0", "run:one")] == "used"
    assert kinds[("run:one", "b:v0")] == "made"
    assert kinds[("c:v0", "d:v0")] == "derived"


def test_only_the_ways_to_what_is_wanted() -> None:
    lineage = made_of(("one", "a0", "b0"), ("two", "a0", "c0"), ("three", "c0", "d0"))
    assert on_the_way(lineage, ["a:v0"], "down", ["c:v0"]) == {"a:v0", "run:two", "c:v0"}
    assert on_the_way(lineage, ["a:v0"], "down", ["nothing"]) == {"a:v0"}


def test_collapsing_keeps_what_led_where() -> None:
    lineage = made_of(("one", "a0", "b0"), ("two", "a1", "b1"), ("three", "b0 b1", "c0"))
    drawn = collapse(lineage, ["artifact", "job-type"])
    assert {(edge.source, edge.target) for edge in drawn.edges()} == {
        ("artifact:a", "job-type:train"),
        ("job-type:train", "artifact:b"),
        ("artifact:b", "job-type:train"),
        ("job-type:train", "c:v0"),
    }
    assert drawn.nodes["artifact:a"].members == ("a:v0", "a:v1")
    assert collapse(lineage, ["artifact"], expanded=["b"]).nodes.keys() >= {"b:v0", "b:v1", "artifact:a"}
    assert "a:v1" in collapse(lineage, ["type"], apart=["a:v1"]).nodes
    assert collapse(lineage, []).nodes == lineage.nodes


def test_a_tree_names_again_what_it_has_drawn() -> None:
    lineage = made_of(("one", "a0", "b0 b1"), ("two", "b0 b1", "c0"))
    rows = [
        f"{row.indent}{row.node.title if row.node else row.hidden_count}{'*' * row.is_repeated}"
        for row in tree_rows(lineage, "a:v0", "down")
    ]
    assert rows == [
        *("a:v0", "└─ one", "   ├─ b:v0", "   │  └─ two", "   │     └─ c:v0", "   └─ b:v1", "      └─ two*"),
    ]
    assert len(list(tree_rows(CIRCLE, "a:v0", "up"))) == 6, "once around: the beginning is named again"
    cut = list(tree_rows(lineage, "a:v0", "down", 1, None))
    assert (cut[-1].node is not None, cut[-1].hidden_count) == (True, 2)
    few = list(tree_rows(lineage, "run:one", "down", 1, 1))
    assert few[-1] == ("└─ ", None, False, 1)


def test_what_two_have_in_common() -> None:
    lineage = made_of(
        ("train1", "d0", "m0"), ("train2", "d1", "m1"), ("eval1", "m0 t3", "e0"), ("eval2", "m1 t3 x0", "e1"),
        ("compare", "e0 e1 t3", "r0"), ("other", "m0 x1", "y0"),
    )  # fmt: skip
    found = common(lineage, "m:v0", "m:v1")
    assert [node.id for node in found.ancestors.both] == []
    assert [(each.artifact, each.first[0].id, each.second[0].id) for each in found.ancestors.differing] == [
        ("d", "d:v0", "d:v1")
    ]
    assert [node.id for node in found.companions.both] == ["t:v3"], "each other's evaluations are none"
    assert [each.artifact for each in found.companions.differing] == ["x"]
    assert [node.id for node in common(lineage, "d:v0", "m:v0").ancestors.both] == ["d:v0"]


GRAPHS = st.lists(
    st.tuples(*[st.lists(st.sampled_from("abcd"), max_size=3).map(lambda names: " ".join(f"{n}0" for n in names))] * 2),
    max_size=8,
).map(lambda runs: made_of(*((f"{number:016x}", used, made) for number, (used, made) in enumerate(runs))))


@given(GRAPHS)
def test_a_drawing_has_everything_and_nothing_lies_on_another(lineage: Lineage) -> None:
    layout = arrange(lineage)
    assert sorted(node for layer in layout.layers for node in layer) == sorted(lineage.nodes)
    for layer in layout.layers:
        heights = [layout.heights[node] for node in layer]
        assert all(upper + 50 <= lower for upper, lower in pairwise(heights))
    assert set(layout.routes) == set(lineage.edges())
    picture = ET.fromstring(svg(lineage))
    assert len(picture.findall(".//{http://www.w3.org/2000/svg}g/{http://www.w3.org/2000/svg}title")) == len(
        lineage.nodes
    )
    assert mermaid(lineage).count("-->") == len(set(lineage.edges()))
    assert dot(lineage).count(" -> ") == len(set(lineage.edges()))


@given(GRAPHS)
def test_without_circles_everything_points_to_the_right(lineage: Lineage) -> None:
    layer = {node: number for number, nodes in enumerate(arrange(lineage).layers) for node in nodes}
    for node in lineage.nodes:
        below = reach(lineage, lineage.next(node, "down"), "down")
        if node not in below:
            assert all(
                layer[child] > layer[node]
                for child in lineage.next(node, "down")
                if child not in reach(lineage, lineage.next(child, "down"), "down")
            )


@given(GRAPHS, st.sampled_from(["up", "down"]))
def test_a_tree_has_each_node_that_can_be_reached(lineage: Lineage, direction: str) -> None:
    for root in lineage.nodes:
        rows = list(tree_rows(lineage, root, direction))  # type: ignore[arg-type]
        drawn = [row.node.id for row in rows if row.node is not None and not row.is_repeated]
        assert set(drawn) == set(reach(lineage, [root], direction))  # type: ignore[arg-type]
        inner = [node for node in drawn if lineage.next(node, direction)]  # type: ignore[arg-type]
        assert len(inner) == len(set(inner)), "what has something below it is drawn once"


@pytest.mark.parametrize("language", [svg, dot, mermaid])
def test_names_of_others_are_only_names(language: object) -> None:
    node = RunNode(RunId("0" * 16), HOSTILE, HOSTILE, "finished", "2026")
    text = language(lineage_of(Graph({}, {node.id: node}, [], [], [])))  # type: ignore[operator]
    assert "\x1b" not in text
    assert ("<script>" in text) == (language is dot), "which has no HTML"
    if language is svg:
        ET.fromstring(text)
    elif language is dot:
        label = re.search(r'label="((?:[^"\\]|\\.)*)"', text)
        assert label is not None
        assert "script" in label[1], "all of it is within the quotes"
    else:
        assert '"]' not in text.replace('"])', "")


def test_a_part_has_the_edges_within() -> None:
    lineage = made_of(("one", "a0", "b0"), ("two", "b0", "c0"))
    inner = part(lineage, {"a:v0", "run:one", "c:v0"})
    assert [(edge.source, edge.target) for edge in inner.edges()] == [("a:v0", "run:one")]
