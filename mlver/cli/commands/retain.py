"""`mlver retain`: which versions are kept."""

from __future__ import annotations

from typing import Annotated, Any

import click
import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Column, Output
from mlver.ops.retention.rules import Policy, describe
from mlver.ops.retention.settings import Scope, policies_for, read_policies, set_policy

EXAMPLES = (
    Example("mlver retain --last 5 --best '3 val_acc'", "of every artifact, keep these"),
    Example("mlver retain --type dataset --all", "but keep all datasets"),
    Example("mlver retain resnet50_attn --daily 2w --weekly 1y", "one a day for two weeks, one a week for a year"),
    Example("mlver retain resnet50_attn", "which rules count for an artifact"),
    Example("mlver retain --clear", "take the repository's rules away again"),
)

_Name = Annotated[str | None, typer.Argument(metavar="NAME", help="For one artifact.", show_default=False)]
_Type = Annotated[str | None, typer.Option("--type", "-t", metavar="TYPE", help="For all artifacts of a type.")]
_Last = Annotated[int | None, typer.Option("--last", metavar="N", min=0, help="Keep the newest N.")]
_Best = Annotated[
    list[str], typer.Option("--best", metavar="'K METRIC'", help="Keep the best K by a metric; min or max behind it.")
]
_Daily = Annotated[str | None, typer.Option("--daily", metavar="DURATION", help="Keep one a day for so long.")]
_Weekly = Annotated[str | None, typer.Option("--weekly", metavar="DURATION", help="Keep one a week for so long.")]
_Younger = Annotated[str | None, typer.Option("--younger", metavar="DURATION", help="Keep all younger than that.")]
_Tagged = Annotated[bool | None, typer.Option("--tagged/--not-tagged", help="Keep what bears a tag, or do not.")]
_Sources = Annotated[
    bool | None, typer.Option("--sources/--no-sources", help="Keep what versions were made from that are kept.")
]
_All = Annotated[bool, typer.Option("--all", help="Keep everything.")]
_Clear = Annotated[bool, typer.Option("--clear", help="Take the rules away.")]


def command(
    call: Call,
    name: _Name = None,
    artifact_type: _Type = None,
    last: _Last = None,
    best: _Best = [],  # noqa: B006 - typer makes the list anew
    daily: _Daily = None,
    weekly: _Weekly = None,
    younger: _Younger = None,
    tagged: _Tagged = None,
    sources: _Sources = None,
    everything: _All = False,
    clear: _Clear = False,
) -> None:
    """Show or set which versions are kept.

    A version that no rule keeps is marked removed by the next mlver gc. What bears an alias is always kept, and so is
    the latest; what bears a tag is kept unless it is said otherwise. With --sources, what a version that is kept was
    made from is kept too, of whatever artifact: by what runs used and made, and by mlver add --uses. The rules of an
    artifact count alone, or else those of its type, or else those of the repository. Where there are none, everything
    is kept. They are in .mlver/config.toml, and setting them replaces those of the same artifact, type or repository.
    Where none are given, those are shown that count: all, or those for NAME or TYPE.
    """
    if name is not None and artifact_type is not None:
        raise click.UsageError("NAME and --type exclude each other.", ctx=call)
    given = {
        "all": everything or None,
        "tagged": tagged,
        "last": last,
        "best": best or None,
        "daily": daily,
        "weekly": weekly,
        "younger": younger,
        "sources": sources,
    }
    rules = {key: value for key, value in given.items() if value is not None}
    if clear and rules:
        raise click.UsageError("--clear and rules exclude each other.", ctx=call)
    scope = Scope(name, artifact_type)
    with call.repository() as repository:
        if rules or clear:
            set_policy(repository, scope, None if clear else rules)
            policies = read_policies(repository)
        else:
            policies = policies_for(repository, scope)
        repository.index.refresh()
        if artifact_type not in (None, *(artifact.type for artifact in repository.index.artifacts())):
            call.out.warn(f"No artifact is of type {artifact_type!r} yet.")
    call.out.result(policies, document=_document, brief=lambda found: [scope.name for scope in found], human=_human)


def _document(policies: dict[Scope, Policy]) -> dict[str, Any]:
    return {
        "policies": [
            {
                "artifact": scope.artifact,
                "type": scope.type,
                "all": policy.everything,
                "tagged": policy.tagged,
                "last": policy.last,
                "best": [
                    {"count": best.amount, "metric": best.metric, "better": best.direction} for best in policy.best
                ],
                "daily_seconds": policy.daily_seconds,
                "weekly_seconds": policy.weekly_seconds,
                "younger_seconds": policy.younger_seconds,
                "sources": policy.sources,
            }
            for scope, policy in policies.items()
        ]
    }


def _human(out: Output, policies: dict[Scope, Policy]) -> None:
    rows = [[scope.name, "; ".join(describe(policy))] for scope, policy in policies.items()]
    out.table([Column("FOR"), Column("KEEPS", elastic=True)], rows)
    if not policies:
        out.note("Everything is kept, until rules are set.")
    else:
        out.hint("See what goes by these rules with: mlver gc --plan")
