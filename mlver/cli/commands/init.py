"""`mlver init`: parse → `mlver.ops.init` → say where the repository is. Also the pattern for the other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.location import new_repository_folder
from mlver.cli.options import path_of
from mlver.cli.output import Output
from mlver.ops.init import InitResult, init_repository

EXAMPLES = (
    Example("mlver init", "make this folder a repository"),
    Example("mlver init models", "make a folder and a repository in it"),
)

_Folder = Annotated[
    Path | None,
    typer.Argument(metavar="DIR", help="The folder; it is made if need be.", show_default=False, parser=path_of),
]
_TrustHooks = Annotated[
    bool, typer.Option("--trust-hooks", help="Run the hooks of a repository that was copied or unpacked here.")
]


def command(call: Call, folder: _Folder = None, trust_hooks: _TrustHooks = False) -> None:
    """Make a folder a repository.

    Everything mlver keeps goes into `.mlver` in that folder, as with git. Doing it again changes nothing. Without
    DIR it is this folder, or the one that MLVER_DIR says. With --trust-hooks, look at `.mlver/hooks` first.
    """
    if folder is None:
        folder = new_repository_folder()
    call.out.result(init_repository(folder, trust_hooks=trust_hooks), document=_document, brief=_brief, human=_human)
    if trust_hooks:
        call.out.note("Its hooks are run from here on.")


def _document(result: InitResult) -> dict[str, Any]:
    return {"path": result.path, "created": result.created}


def _brief(result: InitResult) -> str:
    return result.path


def _human(out: Output, result: InitResult) -> None:
    out.line("Made a repository: " if result.created else "It is a repository already: ", result.path)
    if result.created:
        out.hint("Record a first version with: mlver add PATH --name NAME --type TYPE")
