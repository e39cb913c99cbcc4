"""`mlver best`: parse → `mlver.ops.best_version` → the name of one version."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.documents import version_document
from mlver.cli.output import Output
from mlver.cli.views import metrics_text
from mlver.history.records import VersionRecord
from mlver.ops.best_version import best_version

EXAMPLES = (
    Example("mlver best --metric val_acc", "the most accurate version of all, such as resnet50_attn:v3"),
    Example("mlver best --metric loss --type resnet50", "of all artifacts of a type"),
    Example('mlver pull "$(mlver best resnet50_attn --metric val_acc -q)"', "for a script"),
    Example("mlver best --metric 'val_acc - 0.001 * latency' --max", "by an expression"),
)

_Name = Annotated[
    str | None, typer.Argument(metavar="NAME", help="Only versions of this artifact.", show_default=False)
]
_Metric = Annotated[str, typer.Option("--metric", metavar="METRIC", help="A metric, or an expression of several.")]
_Type = Annotated[str | None, typer.Option("--type", "-t", metavar="TYPE", help="Only artifacts of this type.")]
_Max = Annotated[bool, typer.Option("--max", help="More is better.")]
_Min = Annotated[bool, typer.Option("--min", help="Less is better.")]


def command(
    call: Call, metric: _Metric, name: _Name = None, type_: _Type = None, most: _Max = False, least: _Min = False
) -> None:
    """Print the best version by a metric.

    Without --max or --min, the metric's name tells what is better, as in val_acc and loss. Of equally good versions it
    is the one with the lowest number. Wherever a version is asked for, 'NAME@max(val_acc)' means the same.
    """
    if most and least:
        raise typer.BadParameter("--max and --min exclude each other.")
    extreme: Literal["max", "min"] | None = "max" if most else "min" if least else None
    with call.repository() as repository:
        found = best_version(repository, metric, extreme=extreme, artifact=name, type=type_)
    call.out.result(found, document=version_document, brief=lambda version: version.name, human=_human)


def _human(out: Output, version: VersionRecord) -> None:
    out.line(version.name)
    out.note(metrics_text(version.metrics))
