"""`mlver lineage`: parse → `mlver.ops.lineage` → a tree, or the graph in one of several languages."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import click
import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.lineage_views import common_document, lineage_document, show_common, show_tree
from mlver.cli.output import Output
from mlver.lineage.graph import Direction, Grouping
from mlver.ops.lineage import LineageRequest, LineageResult, compare_lineage, lineage

EXAMPLES = (
    Example("mlver lineage resnet50_attn:best", "what made it, and what follows from it"),
    Example("mlver lineage --up --type dataset -q", "which datasets made the latest version"),
    Example("mlver lineage inat:v3 --down --job-type evaluate", "the evaluations that followed from a dataset"),
    Example("mlver lineage resnet:v3 vgg:v1", "what two models have in common, such as their test set"),
    Example("mlver lineage --all --collapse artifact --format svg > lineage.svg", "all artifacts as a picture"),
)

_References = Annotated[
    list[str] | None,
    typer.Argument(metavar="REF...", help="A version or a run; two of them are compared.", show_default=False),
]
_Up = Annotated[bool, typer.Option("--up", help="Only what it rests on.")]
_Down = Annotated[bool, typer.Option("--down", help="Only what follows from it.")]
_Depth = Annotated[
    int | None,
    typer.Option("--depth", metavar="N", min=0, help="At most N steps away; a run is one step, its versions the next."),
]
_Collapse = Annotated[
    list[Any],  # of Grouping: typer knows no lists of literals
    typer.Option(
        "--collapse",
        metavar="WHAT",
        click_type=click.Choice(get_args(Grouping)),
        help="Draw as one: all versions of an artifact or of a type, all runs of a job-type.",
    ),
]
_Expand = Annotated[
    list[str], typer.Option("--expand", metavar="WORD", help="But not this artifact, type or job type.")
]
_Type = Annotated[
    list[str], typer.Option("--type", "-t", metavar="TYPE", help="Only what leads to versions of this type.")
]
_JobType = Annotated[
    list[str], typer.Option("--job-type", metavar="TYPE", help="Only what leads to runs of this job type.")
]
_Format = Annotated[
    Literal["tree", "dot", "mermaid", "svg", "json"],
    typer.Option("--format", metavar="FORMAT", help="tree, dot, mermaid, svg or json."),
]
_All = Annotated[bool, typer.Option("--all", help="The whole graph; trees in full length.")]


def command(
    call: Call,
    references: _References = None,
    up: _Up = False,
    down: _Down = False,
    depth: _Depth = None,
    types: _Type = [],  # noqa: B006 - typer makes the lists anew
    job_types: _JobType = [],  # noqa: B006
    groupings: _Collapse = [],  # noqa: B006
    expanded: _Expand = [],  # noqa: B006
    form: _Format = "tree",
    every: _All = False,
) -> None:
    """Draw where a version or a run came from, and what followed from it.

    Without REF it is the latest version of the current artifact, and with --all everything. With two, it says what both
    rest on, and which versions were read by runs that followed from the one and the other: the same test set?
    """
    references = references or []
    others = (up, down, depth is not None, types, job_types, groupings, expanded, form not in ("tree", "json"))
    _check(references, every, any(others))
    if len(references) == 2:
        _compare(call, references[0], references[1], as_json=form == "json")
        return
    directions: tuple[Direction, ...] = ("up",) if up and not down else ("down",) if down and not up else ("up", "down")
    if not references and not every:
        references = ["latest"]
    request = LineageRequest(references, directions, depth, types, job_types, groupings, expanded)
    with call.repository() as repository:
        result = lineage(repository, request)
    _show(call.out, result, form, is_whole=every or depth is not None)


def _check(references: list[str], every: bool, has_others: bool) -> None:
    if len(references) > 2:
        raise typer.BadParameter("name one version or run, or two to compare.")
    if len(references) == 2 and (every or has_others):
        raise typer.BadParameter("two versions are compared as text or JSON, without other options.")


def _compare(call: Call, first: str, second: str, *, as_json: bool) -> None:
    with call.repository() as repository:
        found = compare_lineage(repository, first, second)
    if as_json:
        call.out.json(common_document(found))
        return
    call.out.result(
        found,
        document=common_document,
        brief=lambda found: [node.id for node in (*found.ancestors.both, *found.companions.both)],
        human=show_common,
    )


def _show(out: Output, result: LineageResult, form: str, *, is_whole: bool) -> None:
    def human(out: Output, result: LineageResult) -> None:
        if form == "dot":
            from mlver.lineage.markup import dot

            out.block(dot(result.lineage, result.roots))
        elif form == "mermaid":
            _mermaid(out, result)
        elif form == "svg":
            from mlver.lineage.svg import svg

            out.block(svg(result.lineage, result.roots))
        else:
            show_tree(out, result, is_whole=is_whole)

    if form == "json":
        out.json(lineage_document(result))
        return
    out.result(result, document=lineage_document, brief=lambda result: list(result.matching), human=human)


def _mermaid(out: Output, result: LineageResult) -> None:
    from mlver.lineage.markup import MERMAID_MAX_EDGES, mermaid

    edge_count = sum(map(len, result.lineage.children.values()))
    out.block(mermaid(result.lineage, result.roots))
    if edge_count > MERMAID_MAX_EDGES:
        out.warn(
            f"Mermaid draws {MERMAID_MAX_EDGES} edges unless its maxEdges says more, and these are {edge_count:,}; "
            "--collapse and --depth make it smaller."
        )
