"""Parameters that several commands share.

`common_options` are given to every command and to `mlver` itself by the command tree; a command does not declare
them. The others are annotations: `def command(call: Call, revision: Revision) -> None`. The metavars mean
something: shell completion offers revisions for `REF`, artifacts for `NAME`, aliases for `ALIAS`, tags for `TAG`,
folders for `DIR` and files for anything with `PATH` or `FILE` in it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, cast

import click
import typer
from typer.core import TyperOption

from mlver.cli.call import Call
from mlver.cli.output import Mode

Revision = Annotated[str, typer.Argument(metavar="REF", help="A version: v4, best, best~1, NAME, NAME:v4, an id.")]
OptionalRevision = Annotated[
    str | None, typer.Argument(metavar="REF", help="A version: v4, best, best~1, NAME, NAME:v4, an id.")
]
ArtifactName = Annotated[str, typer.Argument(metavar="NAME", help="An artifact.")]


def path_of(text: str) -> Path:
    """Return a path from the command line. An empty one, as an unset variable makes it, is not taken for `.`.

    Raises:
        click.BadParameter: It is empty.
    """
    if not text:
        raise click.BadParameter("the path is empty.")
    return Path(text)


def common_options() -> list[TyperOption]:
    """Return the options that every command has: `-C`, `-q` and `--json`.

    They are eager: relative paths among the other parameters are read in the folder that `-C` names.
    """
    return [
        TyperOption(
            param_decls=["directory", "-C"],
            metavar="DIR",
            help="Run as if mlver had been started in DIR.",
            callback=_enter,
            expose_value=False,
            is_eager=True,
        ),
        TyperOption(
            param_decls=["quiet", "-q", "--quiet"],
            is_flag=True,
            default=False,
            help="Print nothing but the version, path or name.",
            callback=_set_mode,
            expose_value=False,
            is_eager=True,
        ),
        TyperOption(
            param_decls=["json", "--json"],
            is_flag=True,
            default=False,
            help="Print one JSON document.",
            callback=_set_mode,
            expose_value=False,
            is_eager=True,
        ),
    ]


def _enter(call: click.Context, option: click.Parameter, directory: str | None) -> None:
    if directory is None or call.resilient_parsing:
        return
    try:
        os.chdir(directory)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise click.BadParameter(f"cannot enter {directory!r}: {reason}.", ctx=call, param=option) from error


def _set_mode(call: click.Context, option: click.Parameter, wanted: Any) -> None:
    if not wanted:
        return
    mode = Mode.JSON if option.name == "json" else Mode.QUIET
    ours = cast(Call, call)
    if ours.mode not in (Mode.HUMAN, mode):
        raise click.UsageError("--json and --quiet exclude each other.", ctx=call)
    ours.mode = mode
